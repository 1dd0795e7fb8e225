package store_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// begin opens a transaction as a host does; it may not be the first to write on a handle that begins deferred.
func begin(t *testing.T, db *storetest.DB) *sql.Tx {
	t.Helper()
	tx, err := db.Handle.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func TestCallsJoinTheTransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "1") // and is prepared outside
		for _, commit := range []bool{false, true} {
			tx := begin(t, db)
			ctx := b.WithTx(t.Context(), tx)
			lent, ok := b.TxOf(ctx)
			require.True(t, ok)
			require.Same(t, tx, lent)

			db.Probe.Reset()
			put(t, ctx, b, "b", "1")
			require.NoError(t, b.Tx(ctx, func(ctx context.Context) error {
				put(t, ctx, b, "c", "1")
				return nil
			}))
			assert.Equal(t, "1", get(t, ctx, b, "c"))
			assert.Zero(t, db.Probe.Commits())
			done := false
			b.AfterCommit(ctx, func(ctx context.Context) { done = b.InTx(ctx) })
			assert.True(t, done, "nobody tells us when it commits")
			if commit {
				require.NoError(t, tx.Commit())
				assert.Equal(t, []string{"a", "b", "c"}, keys(t, b))
			} else {
				require.NoError(t, tx.Rollback())
				assert.Equal(t, []string{"a"}, keys(t, b))
			}
			_, err := b.Exec(ctx, setText, "a", "2")
			require.ErrorIs(t, err, sql.ErrTxDone, "a ctx that outlived its transaction writes nowhere")
		}
	})
}

// The host's transaction is the host's: nothing in it is tried again, and an error in it does not end it for us.
func TestNothingIsTriedAgainInTheTransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		ctx := b.WithTx(t.Context(), begin(t, db))
		calls := 0
		db.Probe.FailAtWith(1, inTheWay[0])
		err := b.Tx(ctx, func(ctx context.Context) error {
			calls++
			_, err := b.Exec(ctx, putText, "a", "1")
			return err
		})
		require.ErrorIs(t, err, inTheWay[0])
		assert.Equal(t, 1, calls)
		put(t, ctx, b, "b", "1")
	})
}

func TestATransactionIsBoundToItsDatabase(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		other := storetest.Open(t, db.Name)
		again := db.Again(storetest.Keys(t, "k1"))
		ctx := db.Backend.WithTx(t.Context(), begin(t, db))
		assert.True(t, db.Backend.InTx(ctx))
		assert.False(t, again.Backend.InTx(ctx), "not even the same database, opened twice")
		assert.False(t, other.Backend.InTx(ctx))
		_, ok := other.Backend.TxOf(ctx)
		assert.False(t, ok)
		put(t, ctx, other.Backend, "a", "1")
		assert.Equal(t, []string{"a"}, keys(t, other.Backend))
		assert.Equal(t, "(none)", get(t, ctx, db.Backend, "a"))
	})
}

// A host may begin its transaction on a handle of its own to the same database.
func TestATransactionOfAnotherHandleServesToo(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "1")
		ctx := b.WithTx(t.Context(), begin(t, db.Again(storetest.Keys(t, "k1"))))
		put(t, ctx, b, "b", "1")
		assert.Equal(t, "1", get(t, ctx, b, "b"))
		assert.Equal(t, "(none)", get(t, t.Context(), b, "b"))
	})
}

// Transactions of a lent file begin deferred. Each takes the write lock first, or an upgrade would fail whenever another has written meanwhile.
func TestALentFileIsWrittenByManyAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite-lent")
	b := db.Backend
	db.Probe.Reset()
	require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
		assert.Equal(t, "(none)", get(t, ctx, b, "a"))
		return nil
	}))
	assert.Equal(t, []string{
		"DELETE FROM st_migrations WHERE version < 0",
		"SELECT metadata FROM st_user_metadata WHERE user_id = $1",
	}, db.Probe.Statements())

	put(t, t.Context(), b, "a", "")
	hundred(t, func() error {
		return b.Tx(t.Context(), func(ctx context.Context) error {
			value := get(t, ctx, b, "a") // a read first, then the write
			_, err := b.Exec(ctx, setText, "a", value+"x")
			return err
		})
	})
	assert.Len(t, get(t, t.Context(), b, "a"), 100)
}

// Closing leaves a lent handle as it was: open, and without statements that are still prepared on it.
func TestALentHandleIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite-lent", "postgres-lent"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, name)
			put(t, t.Context(), db.Backend, "a", "1")
			settings := db.Handle.Stats().MaxOpenConnections
			assert.Equal(t, name == "sqlite-lent", store.Prepared(db.Backend, putText))
			require.NoError(t, db.Backend.Close())
			assert.False(t, store.Prepared(db.Backend, putText))
			require.NoError(t, db.Handle.PingContext(t.Context()))
			assert.Equal(t, settings, db.Handle.Stats().MaxOpenConnections)
			assert.Equal(t, 1, db.Again(storetest.Keys(t, "k1")).Rows("user_metadata"))
			require.NoError(t, db.Backend.Close(), "twice is no error")
		})
	}
	db := storetest.Open(t, "sqlite")
	require.NoError(t, db.Backend.Close())
	_, err := db.Backend.Exec(t.Context(), setText, "a", "1")
	require.ErrorContains(t, err, "closed", "a handle of ours is closed")
}

// Whoever finds the file locked for longer than its busy timeout comes again.
func TestALockedFileIsTriedAgain(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite-lent")
	db.DSN = strings.Replace(db.DSN, "busy_timeout(10000)", "busy_timeout(1)", 1)
	impatient := db.Again(storetest.Keys(t, "k1"))
	for name, write := range map[string]func() error{
		"in a transaction": func() error {
			return impatient.Backend.Tx(t.Context(), func(ctx context.Context) error {
				_, err := impatient.Backend.Row(ctx, count, []any{"k"})
				return err
			})
		},
		"alone": func() error {
			_, err := impatient.Backend.Row(t.Context(), count, []any{"k"})
			return err
		},
	} {
		other := begin(t, db)
		put(t, db.Backend.WithTx(t.Context(), other), db.Backend, name, "") // takes the lock
		tries := 0
		impatient.Probe.Before(func(string) {
			if tries++; tries == 3 {
				assert.NoError(t, other.Rollback())
			}
		})
		require.NoError(t, write(), name)
		assert.GreaterOrEqual(t, tries, 3, name)
	}
	var failures int
	_, err := impatient.Backend.Row(t.Context(), count, []any{"k"}, &failures)
	require.NoError(t, err)
	assert.Equal(t, 3, failures)
}
