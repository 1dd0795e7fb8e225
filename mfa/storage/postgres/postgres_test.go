package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/postgres"
)

func options() storage.Options {
	return storage.Options{
		Keys:        storage.NewKeys(storage.Key{ID: "k1", Secret: [32]byte{1}}),
		TablePrefix: storetest.NewPrefix(),
	}
}

var (
	putRole  = store.SQL("test.put", `INSERT INTO {p}roles (role) VALUES ($1)`)
	allRoles = store.SQL("test.all", `SELECT role FROM {p}roles ORDER BY role`)
	count    = store.SQL("test.count", `INSERT INTO {p}limits AS l (scope, key, times, failures, blocked_until, expires_day)
		VALUES ('test', '', '', 1, 0, 0) ON CONFLICT (scope, key) DO UPDATE SET failures = l.failures + 1 RETURNING failures`)
)

func put(t *testing.T, ctx context.Context, db *storage.DB, role string) {
	t.Helper()
	_, err := db.Backend(store.Key{}).Exec(ctx, putRole, role)
	require.NoError(t, err)
}

func all(t *testing.T, db *storage.DB) []string {
	t.Helper()
	roles, err := store.Rows(t.Context(), db.Backend(store.Key{}), allRoles, nil, store.Text)
	require.NoError(t, err)
	return roles
}

// Behind a pooler in transaction mode one of these ways to run statements is asked for in the DSN; all of them run everything.
func TestAPoolOfItsOwn(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgresDSN(t)
	for _, mode := range []string{"", "cache_describe", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			source := dsn
			if mode != "" {
				source += " default_query_exec_mode=" + mode
			}
			db, err := postgres.Open(t.Context(), source, options())
			require.NoError(t, err)
			put(t, t.Context(), db, "it's ü")
			assert.Equal(t, []string{"it's ü"}, all(t, db))

			b := db.Backend(store.Key{})
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					assert.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
						_, err := b.Row(ctx, count, nil)
						return err
					}))
				})
			}
			wg.Wait()
			var n int
			_, err = b.Row(t.Context(), count, nil, &n)
			require.NoError(t, err)
			assert.Equal(t, 101, n)

			require.NoError(t, db.Close())
			_, err = b.Row(t.Context(), count, nil, &n)
			require.ErrorContains(t, err, "closed")
		})
	}
}

// A server may have another isolation level for default: under it lock-then-read would read old rows, and transactions would fail.
func TestTheIsolationLevelIsAskedFor(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), storetest.PostgresDSN(t)+" options='-c default_transaction_isolation=serializable'", options())
	require.NoError(t, err)
	defer db.Close()
	b := db.Backend(store.Key{})
	require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
		var level string
		_, err := b.Row(ctx, store.SQL("test.level", `SELECT current_setting('transaction_isolation')`), nil, &level)
		assert.Equal(t, "read committed", level)
		return err
	}))
}

func TestWhatCannotBeOpenedIsSaidWithoutThePassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://acme:hunter2@127.0.0.1:1/acme?connect_timeout=5", "host=/nonexistent user=acme password=hunter2",
		"postgres://acme:hunter2@127.0.0.1:notaport/acme", "user=acme password=hunter2 port=x", "postgres://acme:hunter2@[::1/acme",
		"user=acme password=hunter2 oops",
	} {
		_, err := postgres.Open(t.Context(), dsn, options())
		require.Error(t, err, dsn)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	_, err := postgres.Open(t.Context(), "host=/nonexistent", storage.Options{})
	require.ErrorContains(t, err, "storage: Options.Keys is not set")
	_, err = postgres.New(t.Context(), nil, options())
	require.EqualError(t, err, "postgres: New wants a handle, not nil")
	_, err = postgres.New(t.Context(), &sql.DB{}, storage.Options{})
	require.ErrorContains(t, err, "storage: Options.Keys is not set")
}

func TestAHostLendsItsPoolAndTransaction(t *testing.T) {
	t.Parallel()
	handle, err := sql.Open("pgx", storetest.PostgresDSN(t))
	require.NoError(t, err)
	defer handle.Close()
	handle.SetMaxOpenConns(3)
	opts := options()
	db, err := postgres.New(t.Context(), handle, opts)
	require.NoError(t, err)
	orders := opts.TablePrefix + "orders_of_the_host"
	_, err = handle.ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE %s (id TEXT)", orders))
	require.NoError(t, err)
	for i, end := range []func(*sql.Tx) error{(*sql.Tx).Rollback, (*sql.Tx).Commit} {
		tx, err := handle.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO %s VALUES ('o')", orders))
		require.NoError(t, err)
		put(t, db.WithTx(t.Context(), tx), db, "buyer")
		assert.Empty(t, all(t, db), "beside")
		require.NoError(t, end(tx))
		var n int
		require.NoError(t, handle.QueryRowContext(t.Context(), "SELECT count(*) FROM "+orders).Scan(&n))
		assert.Equal(t, i, n)
		assert.Len(t, all(t, db), i)
	}
	require.NoError(t, db.Close())
	require.NoError(t, handle.PingContext(t.Context()), "the handle is the host's")
	assert.Equal(t, 3, handle.Stats().MaxOpenConnections)
}

func TestTheHostsOwnToolRunsTheSchema(t *testing.T) {
	t.Parallel()
	dsn, opts := storetest.PostgresDSN(t), options()
	opts.SkipMigrations = true
	_, err := postgres.Open(t.Context(), dsn, opts)
	require.ErrorContains(t, err, "run the text of Schema")
	handle, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	defer handle.Close()
	_, err = handle.ExecContext(t.Context(), postgres.Schema(opts.TablePrefix))
	require.NoError(t, err)
	db, err := postgres.Open(t.Context(), dsn, opts)
	require.NoError(t, err)
	defer db.Close()
	put(t, t.Context(), db, "a")
}
