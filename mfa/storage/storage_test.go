package storage_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage"
)

// newBackend is a database in memory with these options.
func newBackend(t *testing.T, cfg store.Config) *store.Backend {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	cfg.Dialect, cfg.Write = store.SQLite, db
	b, err := store.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestAHandleIsItsBackend(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		handle := storage.FromBackend(db.Backend)
		assert.Same(t, db.Backend, handle.Backend(store.Key{}))
		tx, err := db.Handle.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		ctx := handle.WithTx(t.Context(), tx)
		lent, ok := handle.Tx(ctx)
		assert.True(t, ok)
		assert.Same(t, tx, lent)
		_, ok = handle.Tx(t.Context())
		assert.False(t, ok)
		assert.ErrorIs(t, db.Backend.RefuseInTx(ctx), storage.ErrInsideTx)
		require.NoError(t, tx.Rollback())
		require.NoError(t, handle.ReencryptSecrets(t.Context()))
		require.NoError(t, handle.Close())
		require.Error(t, handle.ReencryptSecrets(t.Context()))
	})
}
