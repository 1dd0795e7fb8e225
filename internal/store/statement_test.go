package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

func TestStatementsCountAndReturnRows(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		put(t, ctx, b, "a", "1")
		put(t, ctx, b, "b", "1")

		n, err := b.Exec(ctx, setText, "nobody", "2")
		require.NoError(t, err)
		assert.Zero(t, n)
		n, err = b.Exec(ctx, setText, "a", "2")
		require.NoError(t, err)
		assert.EqualValues(t, 1, n)
		assert.Equal(t, "2", get(t, ctx, b, "a"))
		assert.Equal(t, "(none)", get(t, ctx, b, "nobody"))

		found, err := b.Row(ctx, getText, []any{"a"})
		require.NoError(t, err)
		assert.True(t, found, "a row may be looked for without being read")
		var first string
		found, err = b.Row(ctx, allKeys, nil, &first)
		require.NoError(t, err)
		assert.True(t, found)
		assert.Equal(t, "a", first, "of several rows the first is read")
	})
}

func TestAWriteReturnsRows(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		for want := 1; want <= 3; want++ {
			var failures int
			found, err := b.Row(ctx, count, []any{"k"}, &failures)
			require.NoError(t, err)
			require.True(t, found)
			assert.Equal(t, want, failures)
		}
		var value string
		found, err := b.Row(ctx, putOnce, []any{"a", "first"}, &value)
		require.NoError(t, err)
		require.True(t, found)
		found, err = b.Row(ctx, putOnce, []any{"a", "second"}, &value)
		require.NoError(t, err)
		assert.False(t, found, "what is there already is not written")
		assert.Equal(t, "first", get(t, ctx, b, "a"))
	})
}

var (
	putDevice = store.SQL("test.device.put", `INSERT INTO {p}totp_devices
		(device_id, user_id, name, secret_box, period, skew, verified, last_counter, created_at) VALUES ($1, 'u', $2, '', 30, 1, $3, $4, 0)`)
	getDevice = store.SQL("test.device.get", `SELECT name, verified, last_counter FROM {p}totp_devices
		WHERE device_id = $1 AND verified = $2 AND last_counter < CAST($3 AS BIGINT) + 1`)
	putSession = store.SQL("test.session.put", `INSERT INTO {p}sessions (tenant_id, session_handle, user_id, refresh_hash, prev_refresh_hash,
		rotated_at, generation, session_data, payload, use_static_key, created_at, expires_at, expires_day)
		VALUES ('public', $1, 'u', $2, $3, $4, 0, '{}', '{}', $5, 0, 0, 0)`)
	getSession = store.SQL("test.session.get", `SELECT refresh_hash, prev_refresh_hash, rotated_at, use_static_key FROM {p}sessions
		WHERE session_handle = $1 AND refresh_hash = $2`)
)

// Types come back as they went in, on both databases and through every way in which a driver may pass parameters.
func TestValuesKeepTheirTypes(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		type name string
		for i, text := range []name{"plain", "", "müller ✓ 😀", `'"\ $1 {p} %s`, "line\nbreak\ttab"} {
			for _, verified := range []bool{true, false} {
				id, counter := fmt.Sprint(i, verified), int64(math.MaxInt64/(i+2))
				_, err := b.Exec(ctx, putDevice, id, string(text)+id, verified, counter)
				require.NoError(t, err)
				var back name
				var backVerified bool
				var backCounter int64
				found, err := b.Row(ctx, getDevice, []any{id, verified, counter}, &back, &backVerified, &backCounter)
				require.NoError(t, err)
				require.True(t, found)
				assert.Equal(t, text+name(id), back)
				assert.Equal(t, verified, backVerified)
				assert.Equal(t, counter, backCounter)
			}
		}
		for i, hash := range [][]byte{{}, {0}, {0xff, 0, '\'', '\\'}, []byte(strings.Repeat("x", 4096))} {
			handle := fmt.Sprint(i)
			_, err := b.Exec(ctx, putSession, handle, hash, nil, nil, i == 0)
			require.NoError(t, err)
			var back, none []byte
			var rotated sql.NullInt64
			var static bool
			found, err := b.Row(ctx, getSession, []any{handle, hash}, &back, &none, &rotated, &static)
			require.NoError(t, err)
			require.True(t, found)
			assert.Equal(t, hash, append([]byte{}, back...))
			assert.Nil(t, none, "NULL is no bytes")
			assert.False(t, rotated.Valid)
			assert.Equal(t, i == 0, static)
		}
	})
}

// I-02: text is a parameter everywhere and comes back as it was.
func TestHostileTextIsData(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		for _, hostile := range []string{`'; DROP TABLE st_tenants; --`, `" OR 1=1 --`, `\'; SELECT 1`, `{p}{lock}$1$2`, `%s%d`, `?1 :a @b`} {
			put(t, ctx, b, hostile, hostile)
			assert.Equal(t, hostile, get(t, ctx, b, hostile))
			n, err := b.Exec(ctx, swap, hostile, hostile, "done")
			require.NoError(t, err)
			assert.EqualValues(t, 1, n)
		}
		assert.Equal(t, 1, db.Rows("tenants"))
	})
}

func TestTextIsOrderedByItsBytes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		want := []string{"", "-", "A", "Z", "_", "a", "aa", "b", "ß", "é", "😀"}
		for i := range want {
			put(t, t.Context(), db.Backend, want[(i*7+3)%len(want)], "")
		}
		assert.Equal(t, want, keys(t, db.Backend))
	})
}

func TestErrorsNameTheStatementAndSayWhatWasViolated(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		put(t, ctx, b, "a", "1")
		_, err := b.Exec(ctx, putText, "a", "secret value")
		require.ErrorContains(t, err, "storage: test.put: ")
		assert.NotContains(t, err.Error(), "secret value")
		assert.True(t, b.IsUnique(err))
		assert.False(t, b.IsForeignKey(err))

		_, err = b.Exec(ctx, store.SQL("test.role", `INSERT INTO {p}role_permissions (role, permission) VALUES ('nobody', 'read')`))
		require.ErrorContains(t, err, "storage: test.role: ")
		assert.True(t, b.IsForeignKey(err))
		assert.False(t, b.IsUnique(err))

		// The unique keys of a table without row ids, and of an index.
		for _, insert := range []string{`INSERT INTO {p}roles (role) VALUES ($1)`, `INSERT INTO {p}refresh_keys (key_id, follows, created_at, key_box)
			VALUES ('k' || (SELECT count(*) FROM {p}refresh_keys), $1, 0, '')`} {
			statement := store.SQL("test.unique", insert)
			_, err = b.Exec(ctx, statement, "once")
			require.NoError(t, err)
			_, err = b.Exec(ctx, statement, "once")
			require.Error(t, err)
			assert.True(t, b.IsUnique(err), "%v", err)
		}

		_, err = b.Exec(ctx, store.SQL("test.broken", `UPDATE {p}nothing SET x = 1`))
		require.ErrorContains(t, err, "storage: test.broken: ")
		assert.False(t, b.IsUnique(err) || b.IsForeignKey(err))
		assert.False(t, b.IsUnique(nil) || b.IsForeignKey(errors.New("another")))
	})
}

func TestARowThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		ctx, b := t.Context(), db.Backend
		put(t, ctx, b, "a", "no number")
		var n int
		_, err := b.Row(ctx, getText, []any{"a"}, &n)
		require.ErrorContains(t, err, "storage: test.get: ")
		failed := errors.New("scan failed")
		all, err := store.Rows(ctx, b, allKeys, nil, func(func(...any) error) (string, error) { return "x", failed })
		require.ErrorIs(t, err, failed)
		assert.Nil(t, all)
		assert.Equal(t, "no number", get(t, ctx, b, "a"), "the connection is free again")
	})
}

// A statement that is used first by many at once is prepared for all of them.
func TestManyUseAStatementForTheFirstTime(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		put(t, t.Context(), db.Backend, "a", "1")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				var value string
				found, err := db.Backend.Row(t.Context(), getText, []any{"a"}, &value)
				assert.NoError(t, err)
				assert.True(t, found)
				assert.Equal(t, "1", value)
			})
		}
		wg.Wait()
	})
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "before")
		require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
			_, err := b.Exec(ctx, setText, "a", "after")
			require.NoError(t, err)
			assert.Equal(t, "after", get(t, ctx, b, "a"), "inside")
			for range 10 { // more than there are readers: each is given back
				assert.Equal(t, "before", get(t, t.Context(), b, "a"), "beside")
			}
			return nil
		}))
		assert.Equal(t, "after", get(t, t.Context(), b, "a"))
	})
}
