package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

var options = storage.Options{Keys: storage.NewKeys(storage.Key{ID: "k1", Secret: [32]byte{1}})}

func open(t *testing.T, path string) *storage.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, options)
	require.NoError(t, err, path)
	t.Cleanup(func() { db.Close() })
	return db
}

func lent(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func TestAFileIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "acme.db"))
	put(t, t.Context(), db, "a")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), entry.Name())
		names = append(names, entry.Name())
	}
	assert.Equal(t, []string{"acme.db", "acme.db-shm", "acme.db-wal"}, names)
	require.NoError(t, db.Close())
	assert.Equal(t, []string{"a"}, all(t, open(t, filepath.Join(dir, "acme.db"))), "it is there when it is opened again")
}

var (
	putRole  = store.SQL("test.put", `INSERT INTO {p}roles (role) VALUES ($1)`)
	allRoles = store.SQL("test.all", `SELECT role FROM {p}roles ORDER BY role`)
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

// pragma reads a setting where reads run, or in a transaction where writes do.
func pragma(t *testing.T, db *storage.DB, name string) (reader, writer string) {
	t.Helper()
	b := db.Backend(store.Key{})
	statement := store.SQL("test.pragma", "SELECT * FROM pragma_"+name)
	_, err := b.Row(t.Context(), statement, nil, &reader)
	require.NoError(t, err)
	require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
		_, err := b.Row(ctx, statement, nil, &writer)
		return err
	}))
	return reader, writer
}

func TestAFileIsOpenedWithItsSettings(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "acme.db"))
	for name, want := range map[string][2]string{
		"journal_mode": {"wal", "wal"}, "synchronous": {"2", "2"}, "foreign_keys": {"1", "1"}, "busy_timeout": {"10000", "10000"},
		"query_only": {"1", "0"},
	} {
		reader, writer := pragma(t, db, name)
		assert.Equal(t, want, [2]string{reader, writer}, name)
	}
	memory, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	_, writer := pragma(t, memory, "foreign_keys")
	assert.Equal(t, "1", writer)
}

func TestAPathMayHoldAnything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "a?b=c&d.db", "a#b.db", "a%20b.db", "ä ✓.db", `a"'b.db`, "a;b,c.db", "noextension"} {
		path := filepath.Join(dir, name)
		put(t, t.Context(), open(t, path), "a")
		info, err := os.Stat(path)
		require.NoError(t, err, name)
		assert.NotZero(t, info.Size(), name)
	}
	open(t, "/"+filepath.Join(dir, "slashes.db"))
	here, err := os.Getwd()
	require.NoError(t, err)
	relative, err := filepath.Rel(here, filepath.Join(dir, "a b.db"))
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, all(t, open(t, relative)))
}

func TestWhatCannotBeOpenedIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.db")
	require.NoError(t, os.WriteFile(broken, []byte(strings.Repeat("no database ", 1000)), 0o600))
	for path, want := range map[string]string{
		"":                                  `sqlite: "": Open wants the path of a file`,
		":memory:":                          `sqlite: ":memory:": Open wants the path of a file; OpenInMemory opens a database in memory`,
		"file:acme.db":                      `sqlite: "file:acme.db": Open wants the path of a file`,
		filepath.Join(dir, "no", "acme.db"): "sqlite: create " + filepath.Join(dir, "no", "acme.db") + ": no such file or directory",
		broken:                              "sqlite: " + broken + ": storage: ",
		dir:                                 "sqlite: " + dir + ": storage: ",
	} {
		_, err := sqlite.Open(t.Context(), path, options)
		require.ErrorContains(t, err, want)
	}
	_, err := sqlite.Open(t.Context(), filepath.Join(dir, "acme.db"), storage.Options{})
	require.ErrorContains(t, err, "storage: Options.Keys is not set")
	_, err = sqlite.Open(t.Context(), filepath.Join(dir, "acme.db"), storage.Options{Keys: options.Keys, TablePrefix: "1"})
	require.ErrorContains(t, err, `TablePrefix "1"`)
}

func TestSkippedMigrationsMakeNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.db")
	opts := options
	opts.SkipMigrations = true
	_, err := sqlite.Open(t.Context(), path, opts)
	require.ErrorContains(t, err, "sqlite: "+path+": ")
	require.NoFileExists(t, path)

	_, err = lent(t, sqlite.DSN(path)).ExecContext(t.Context(), sqlite.Schema(""))
	require.NoError(t, err)
	db, err := sqlite.Open(t.Context(), path, opts)
	require.NoError(t, err)
	defer db.Close()
	put(t, t.Context(), db, "a")
}

func TestDatabasesInMemoryDoNotMeet(t *testing.T) {
	t.Parallel()
	one, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	defer one.Close()
	two, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	defer two.Close()
	put(t, t.Context(), one, "a")
	assert.Empty(t, all(t, two))
	assert.Equal(t, []string{"a"}, all(t, one))
}

// Without foreign keys rows would outlive their users; without a busy timeout every second writer would fail.
func TestALentHandleIsChecked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.db")
	for dsn, want := range map[string]string{
		"file:" + path: "sqlite: the handle has foreign_keys off: open it with _pragma=foreign_keys(1) in its data source name, or with that of DSN",
		"file:" + path + "?_pragma=foreign_keys(1)": "sqlite: the handle has busy_timeout off: open it with _pragma=busy_timeout(10000) " +
			"in its data source name, or with that of DSN",
		"file:" + path + "?_pragma=busy_timeout(1)": "sqlite: the handle has foreign_keys off: ",
	} {
		_, err := sqlite.New(t.Context(), lent(t, dsn), options)
		require.ErrorContains(t, err, want)
	}
	for _, dsn := range []string{sqlite.DSN(path), "file:" + path + "?_pragma=foreign_keys(1)&_pragma=busy_timeout(500)"} {
		handle := lent(t, dsn)
		db, err := sqlite.New(t.Context(), handle, options)
		require.NoError(t, err)
		put(t, t.Context(), db, dsn)
		require.NoError(t, db.Close())
		require.NoError(t, handle.PingContext(t.Context()), "the handle is the host's")
	}
	_, err := sqlite.New(t.Context(), nil, options)
	require.EqualError(t, err, "sqlite: New wants a handle, not nil")
	_, err = sqlite.New(t.Context(), lent(t, sqlite.DSN(path)), storage.Options{})
	require.ErrorContains(t, err, "storage: Options.Keys is not set")
	closed := lent(t, sqlite.DSN(path))
	require.NoError(t, closed.Close())
	_, err = sqlite.New(t.Context(), closed, options)
	require.ErrorContains(t, err, "sqlite: PRAGMA foreign_keys: ")
}

// The host's rows and ours commit together, or not at all.
func TestAHostLendsItsTransaction(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"immediate": sqlite.DSN(filepath.Join(t.TempDir(), "acme.db")),
		"deferred":  strings.Replace(sqlite.DSN(filepath.Join(t.TempDir(), "acme.db")), "_txlock=immediate&", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handle := lent(t, dsn)
			db, err := sqlite.New(t.Context(), handle, options)
			require.NoError(t, err)
			_, err = handle.ExecContext(t.Context(), "CREATE TABLE orders (id TEXT)")
			require.NoError(t, err)
			for i, end := range []func(*sql.Tx) error{(*sql.Tx).Rollback, (*sql.Tx).Commit} {
				tx, err := handle.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), "INSERT INTO orders VALUES ('o')")
				require.NoError(t, err)
				put(t, db.WithTx(t.Context(), tx), db, "buyer")
				assert.Empty(t, all(t, db), "beside")
				require.NoError(t, end(tx))
				var orders int
				require.NoError(t, handle.QueryRowContext(t.Context(), "SELECT count(*) FROM orders").Scan(&orders))
				assert.Equal(t, i, orders)
				assert.Len(t, all(t, db), i)
			}
		})
	}
}

func TestTwoInstancesShareAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.db")
	one := open(t, path)
	opts := options
	opts.TablePrefix = "other_"
	two, err := sqlite.Open(t.Context(), path, opts)
	require.NoError(t, err)
	defer two.Close()
	for i := range 20 {
		put(t, t.Context(), one, fmt.Sprint(i))
	}
	put(t, t.Context(), two, "a")
	assert.Len(t, all(t, one), 20)
	assert.Equal(t, []string{"a"}, all(t, two))
}
