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
	Name    string  // sqlite, memory or postgres
	Handle  *sql.DB // that transactions run on
	open    func(keys *store.Ring) (*store.Backend, *Probe, *sql.DB)
	t       testing.TB
}

// Names of the databases that Each runs on.
var Names = []string{"sqlite", "memory", "postgres"}

// Each runs the test on every database, in parallel.
func Each(t *testing.T, test func(t *testing.T, db *DB)) {
	for _, name := range Names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Open(t, name))
		})
	}
}

// Shared runs the test on the databases that several processes can open: the file and PostgreSQL.
func Shared(t *testing.T, test func(t *testing.T, db *DB)) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Open(t, name))
		})
	}
}

var prefixes atomic.Int64

// Open opens an empty database that ends with the test.
func Open(t testing.TB, name string) *DB {
	t.Helper()
	var cfg store.Config
	var connect func() driver.Connector
	switch name {
	case "sqlite":
		path := filepath.Join(t.TempDir(), "test.db")
		connect = func() driver.Connector { return sqliteConnector(sqlite.DSN(path)) }
		cfg = store.Config{Dialect: store.SQLite, Prefix: "st_"}
	case "memory":
		connect = func() driver.Connector {
			return sqliteConnector("file::memory:?_txlock=immediate&_pragma=foreign_keys(1)")
		}
		cfg = store.Config{Dialect: store.SQLite, Prefix: "st_"}
	case "postgres":
		dsn := PostgresDSN(t)
		connect = func() driver.Connector { return postgresConnector(t, dsn) }
		cfg = store.Config{Dialect: store.Postgres, Prefix: fmt.Sprintf("t%d_", prefixes.Add(1))}
	default:
		t.Fatalf("no database %q", name)
	}
	db := &DB{Name: name, t: t}
	db.open = func(keys *store.Ring) (*store.Backend, *Probe, *sql.DB) {
		probe := &Probe{}
		c := cfg
		c.Keys = keys
		c.Write = sql.OpenDB(probe.wrap(connect()))
		switch name {
		case "sqlite":
			c.Write.SetMaxOpenConns(1)
			c.Read = sql.OpenDB(probe.wrap(connect()))
			c.Read.SetMaxOpenConns(4)
			c.Read.SetMaxIdleConns(4)
		case "memory":
			c.Write.SetMaxOpenConns(1)
		case "postgres":
			c.Write.SetMaxOpenConns(8)
			c.Write.SetMaxIdleConns(8)
		}
		b, err := store.Open(context.Background(), c)
		require.NoError(t, err)
		t.Cleanup(func() { b.Close() })
		probe.Reset()
		return b, probe, c.Write
	}
	return db.Again(Keys(t, "k1"))
}

// Again opens the same database once more, as another process does, with these keys. Memory cannot be shared.
func (db *DB) Again(keys *store.Ring) *DB {
	if db.Backend != nil && db.Name == "memory" {
		db.t.Fatal("a database in memory cannot be opened twice")
	}
	again := *db
	again.Backend, again.Probe, again.Handle = db.open(keys)
	again.DB = storage.FromBackend(again.Backend)
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

func sqliteConnector(dsn string) driver.Connector {
	return dsnConnector{dsn, &sqlitedriver.Driver{}}
}

type dsnConnector struct {
	dsn    string
	driver driver.Driver
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

func postgresConnector(t testing.TB, dsn string) driver.Connector {
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	return stdlib.GetConnector(*cfg)
}

// Require skips the test, or fails it if MFA_TEST_REQUIRE names what is missing.
func Require(t testing.TB, what, missing string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("MFA_TEST_REQUIRE"), ","), what) {
		t.Fatalf("%s is required by MFA_TEST_REQUIRE: %s", what, missing)
	}
	t.Skipf("without %s: %s", what, missing)
}
