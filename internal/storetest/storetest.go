// Package storetest gives tests a database: a file, memory and PostgreSQL, with a probe in the driver that counts, records and fails statements.
package storetest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	sqlitedriver "modernc.org/sqlite"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// DB is a database of one test, opened with a fixed key.
type DB struct {
	*storage.DB
	Backend *store.Backend
	Probe   *Probe
	Name    string  // sqlite, memory, postgres, or one of Variants
	Prefix  string  // of its tables
	Handle  *sql.DB // that transactions run on
	DSN     string
	t       testing.TB
}

// Names of the databases that Each runs on.
var Names = []string{"sqlite", "memory", "postgres"}

// Variants are the same databases in other hands: lent by a host whose transactions begin deferred, and through
// the ways in which pgx runs statements behind a pooler.
var Variants = []string{"sqlite-lent", "postgres-lent", "postgres-cache_describe", "postgres-exec", "postgres-simple_protocol"}

// Each runs the test on every database, in parallel.
func Each(t *testing.T, test func(t *testing.T, db *DB)) { on(t, Names, test) }

// EachVariant is Each with the variants too: for the seam itself.
func EachVariant(t *testing.T, test func(t *testing.T, db *DB)) {
	on(t, slices.Concat(Names, Variants), test)
}

// Shared runs the test on the databases that several processes can open: the file and PostgreSQL.
func Shared(t *testing.T, test func(t *testing.T, db *DB)) {
	on(t, []string{"sqlite", "postgres"}, test)
}

func on(t *testing.T, names []string, test func(t *testing.T, db *DB)) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Open(t, name))
		})
	}
}

var prefixes atomic.Int64

// NewPrefix is a table prefix that no other test of this program has.
func NewPrefix() string { return fmt.Sprintf("t%d_", prefixes.Add(1)) }

// Open opens an empty database that ends with the test.
func Open(t testing.TB, name string) *DB {
	t.Helper()
	db := &DB{Name: name, Prefix: "st_", t: t}
	switch name {
	case "sqlite", "sqlite-lent":
		db.DSN = sqlite.DSN(filepath.Join(t.TempDir(), "test.db")) + unsafe
		if name == "sqlite-lent" {
			db.DSN = strings.Replace(db.DSN, "_txlock=immediate&", "", 1)
		}
	case "memory":
		db.DSN = "file::memory:?_txlock=immediate&_pragma=foreign_keys(1)"
	default:
		db.DSN, db.Prefix = PostgresDSN(t), NewPrefix()
		if mode := strings.TrimPrefix(name, "postgres-"); mode != "postgres" && mode != "lent" {
			db.DSN += " default_query_exec_mode=" + mode
		}
	}
	return db.Again(Keys(t, "k1"))
}

// unsafe is for tests, which do not outlive a power loss.
const unsafe = "&_pragma=synchronous(OFF)"

// open makes the handles as the packages sqlite and postgres do, with a probe in them.
func (db *DB) open(keys *store.Ring) {
	db.t.Helper()
	db.Probe = &Probe{}
	cfg := store.Config{
		Dialect: store.SQLite,
		Write:   sql.OpenDB(db.Probe.wrap(dial(db.t, db.DSN))),
		Prefix:  db.Prefix,
		Keys:    keys,
		Lent:    strings.HasSuffix(db.Name, "-lent"),
	}
	switch db.Name {
	case "sqlite":
		cfg.Write.SetMaxOpenConns(1)
		cfg.Read = sql.OpenDB(db.Probe.wrap(dial(db.t, db.DSN+"&_pragma=query_only(1)")))
		cfg.Read.SetMaxOpenConns(4)
		cfg.Read.SetMaxIdleConns(4)
	case "memory":
		cfg.Write.SetMaxOpenConns(1)
	case "sqlite-lent":
	default:
		cfg.Dialect = store.Postgres
		cfg.Write.SetMaxOpenConns(8)
		cfg.Write.SetMaxIdleConns(8)
	}
	b, err := store.Open(context.Background(), cfg)
	require.NoError(db.t, err)
	db.t.Cleanup(func() {
		b.Close()
		cfg.Write.Close()
	})
	db.Probe.Reset()
	db.Backend, db.DB, db.Handle = b, storage.FromBackend(b), cfg.Write
}

// Again opens the same database once more, as another process does, with these keys. Memory cannot be shared.
func (db *DB) Again(keys *store.Ring) *DB {
	db.t.Helper()
	if db.Backend != nil && db.Name == "memory" {
		db.t.Fatal("a database in memory cannot be opened twice")
	}
	again := *db
	again.open(keys)
	return &again
}

// Keys makes a ring whose keys are derived from their ids.
func Keys(t testing.TB, ids ...string) *store.Ring {
	t.Helper()
	secrets := make([][32]byte, len(ids))
	for i, id := range ids {
		copy(secrets[i][:], strings.Repeat(id, 32))
	}
	ring, err := store.NewRing(ids, secrets)
	require.NoError(t, err)
	return ring
}

func dial(t testing.TB, dsn string) driver.Connector {
	if strings.HasPrefix(dsn, "file:") {
		return fileConnector{dsn, &sqlitedriver.Driver{}}
	}
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	return stdlib.GetConnector(*cfg)
}

type fileConnector struct {
	dsn    string
	driver driver.Driver
}

func (c fileConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c fileConnector) Driver() driver.Driver                        { return c.driver }

// Require skips the test, or fails it if MFA_TEST_REQUIRE names what is missing.
func Require(t testing.TB, what, missing string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("MFA_TEST_REQUIRE"), ","), what) {
		t.Fatalf("%s is required by MFA_TEST_REQUIRE: %s", what, missing)
	}
	t.Skipf("without %s: %s", what, missing)
}
