package totp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// F-06, G-02, E-01: after its creation a secret is nowhere: not in the tables, lists, events, errors or the log.
func TestSecretIsGivenOutOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var told strings.Builder
		b := newBundle(t, db, func(_ *Config, p *parts) {
			p.env.OnEvent = func(_ context.Context, e env.Event) { fmt.Fprintf(&told, "%+v\n", e) }
		})
		note := func(v any, err error) {
			text, _ := json.Marshal(v)
			fmt.Fprintf(&told, "%+v %s %+v\n", v, text, err)
		}
		ctx := t.Context()
		secret := b.enrol("u", "phone")
		open := b.create("u", "open").Secret
		b.after(time.Minute)
		note(b.ListDevices(ctx, "u"))
		note(b.verify("u", "open", b.wrong(secret, open)))
		note(nil, b.check("u", b.code(secret)))
		note(nil, b.check("u", b.code(secret)))
		note(b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "u", DeviceName: "open"}, open}))
		note(b.CreateDevice(ctx, CreateDeviceInput{UserID: "u", DeviceName: "phone"}))
		note(nil, b.UpdateDevice(ctx, "u", "phone", "tablet"))
		note(b.RemoveDevice(ctx, "u", "tablet"))

		all := told.String() + b.log.String() + db.Dump()
		require.Contains(t, all, "replayed")
		for _, s := range []string{secret, open} {
			raw, err := decodeSecret(s)
			require.NoError(t, err)
			for _, form := range []string{s, strings.ToLower(s), string(raw), hex.EncodeToString(raw), b.code(s), "otpauth"} {
				assert.NotContains(t, all, form)
			}
		}
	})
}

// E-01: a secret cannot be moved to another row or another user.
func TestSecretOfAnotherRow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		mine := b.enrol("u", "phone")
		b.enrol("victim", "phone")
		b.after(time.Minute)
		box := boxOf(t, db, "u")
		run(t, db, `UPDATE {p}totp_devices SET secret_box = $1 WHERE user_id = 'victim'`, box)
		before := db.Dump("limits")
		err := b.check("victim", b.code(mine))
		require.ErrorContains(t, err, "does not open it")
		assert.Equal(t, before, db.Dump("limits"))

		// The other device of the same user neither, and one that cannot be opened is no reason to look at the others only.
		b.enrol("u", "tablet")
		b.after(time.Minute)
		run(t, db, `UPDATE {p}totp_devices SET secret_box = $1 WHERE user_id = 'u' AND name = 'tablet'`, box)
		require.ErrorContains(t, b.check("u", b.code(mine)), "does not open it")
	})
}

func boxOf(t *testing.T, db *storetest.DB, userID string) string {
	rows, err := db.Backend.Query(t.Context(), `SELECT secret_box FROM {p}totp_devices WHERE user_id = $1`, userID)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	return rows[0][0].Value.(string)
}

// E-02: rows move to the newest key on use, and by ReencryptSecrets; nothing is ever unreadable.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		old := newBundle(t, db)
		secret := old.enrol("u", "phone")
		open := old.create("v", "phone").Secret
		require.True(t, strings.HasPrefix(boxOf(t, db, "u"), "k1."))

		rotated := newBundle(t, db.Again(storetest.Keys(t, "k2", "k1")))
		assert.Equal(t, invalid(1), rotated.check("u", rotated.wrong(secret)))
		assert.True(t, strings.HasPrefix(boxOf(t, db, "u"), "k1."), "a wrong code changes nothing")
		require.NoError(t, rotated.check("u", rotated.code(secret)))
		assert.True(t, strings.HasPrefix(boxOf(t, db, "u"), "k2."))
		_, err := rotated.verify("v", "phone", rotated.code(open))
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(boxOf(t, db, "v"), "k2."))
		box := boxOf(t, db, "u")
		rotated.after(30 * time.Second)
		require.NoError(t, rotated.check("u", rotated.code(secret)))
		assert.Equal(t, box, boxOf(t, db, "u"), "one that is not stale stays as it is")

		require.NoError(t, db.Again(storetest.Keys(t, "k3", "k2")).ReencryptSecrets(t.Context()))
		last := newBundle(t, db.Again(storetest.Keys(t, "k3")))
		last.after(time.Hour)
		require.NoError(t, last.check("u", last.code(secret)))
		require.NoError(t, last.check("v", last.code(open)))
	})
}

// E-03: a key that is missing is an error, never 'no such device'.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		secret := newBundle(t, db).enrol("u", "phone")
		b := newBundle(t, db.Again(storetest.Keys(t, "k9")))
		before := db.Dump()
		assert.ErrorContains(t, b.check("u", b.code(secret)), `no key "k1"`)
		assert.ErrorContains(t, b.check("u", b.wrong(secret)), `no key "k1"`)
		assert.Equal(t, before, db.Dump())
		assert.Equal(t, []string{"phone"}, b.names("u"))
	})
}
