// Package sqlite keeps the library's tables in an SQLite file or in memory, through modernc.org/sqlite: no cgo.
//
//	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
//
// A file is written by one connection and read by four, in WAL mode with synchronous=FULL: a code that was used stays used after a power loss.
// One machine is enough for it; several processes on that machine may share the file.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/stepup-auth/stepup/internal/secretfile"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
)

const readers = 4

// Open opens the file, in WAL mode with synchronous=FULL, and brings its tables up to date. A file that is not there is made, readable by its owner
// only, as are the files that SQLite keeps beside it; with [storage.Options.SkipMigrations] it is an error.
func Open(ctx context.Context, path string, opts storage.Options) (*storage.DB, error) {
	if path == "" || strings.Contains(path, ":memory:") || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("sqlite: %q: Open wants the path of a file; OpenInMemory opens a database in memory, New takes a handle", path)
	}
	cfg, err := opts.Config(store.Key{}, true)
	if err != nil {
		return nil, err
	}
	dsn := DSN(path)
	if opts.SkipMigrations {
		dsn += "&mode=rw"
	} else if err := secretfile.Create(path, nil); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	cfg.Dialect = store.SQLite
	if cfg.Write, err = pool(dsn, 1); err != nil { // its queue is fair, SQLite's own waiting is not
		return nil, err
	}
	if cfg.Read, err = pool(dsn+"&_pragma=query_only(1)", readers); err != nil {
		cfg.Write.Close()
		return nil, err
	}
	db, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return db, nil
}

// OpenInMemory opens a database of its own that ends with Close. It needs no keys. It has one connection: a call inside a transaction with
// another ctx than that of the transaction waits for itself.
func OpenInMemory(ctx context.Context) (*storage.DB, error) {
	cfg, err := storage.Options{}.Config(store.Key{}, false)
	if err != nil {
		return nil, err
	}
	cfg.Dialect = store.SQLite
	if cfg.Write, err = pool("file::memory:?"+settings, 1); err != nil {
		return nil, err
	}
	return open(ctx, cfg)
}

// pool keeps its connections for good: in memory the connection is the database.
func pool(dsn string, size int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// New uses the host's handle, of the driver modernc.org/sqlite, which must have foreign keys on and a busy timeout, as [DSN] has. It changes no
// setting of it, and Close leaves it open. Transactions of the library then begin with a write that changes nothing, since such a handle may begin
// them deferred.
func New(ctx context.Context, db *sql.DB, opts storage.Options) (*storage.DB, error) {
	if db == nil {
		return nil, errors.New("sqlite: New wants a handle, not nil")
	}
	cfg, err := opts.Config(store.Key{}, true)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []struct{ name, parameter string }{
		{"foreign_keys", "_pragma=foreign_keys(1)"},
		{"busy_timeout", "_pragma=busy_timeout(10000)"},
	} {
		var value int
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(&value); err != nil {
			return nil, fmt.Errorf("sqlite: PRAGMA %s: %w", pragma.name, err)
		}
		if value == 0 {
			return nil, fmt.Errorf("sqlite: the handle has %s off: open it with %s in its data source name, or with that of DSN",
				pragma.name, pragma.parameter)
		}
	}
	cfg.Dialect, cfg.Write, cfg.Lent = store.SQLite, db, true
	return open(ctx, cfg)
}

func open(ctx context.Context, cfg store.Config) (*storage.DB, error) {
	b, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return storage.FromBackend(b), nil
}

const settings = "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"

// DSN is a data source name for sql.Open("sqlite", ...) with all the settings that [New] asks for.
func DSN(path string) string {
	name := (&url.URL{Path: path}).EscapedPath()
	if strings.HasPrefix(name, "/") {
		name = "//" + name // or what follows two slashes would be read as a host
	}
	return "file:" + name + "?" + settings
}

// Schema is the SQL text that [Open] and [New] run, each step under a line "-- version n", for a host with a tool of its own
// ([storage.Options.SkipMigrations]). "" is the default prefix; Schema panics on a prefix that they refuse.
func Schema(tablePrefix string) string { return store.SchemaText(store.SQLite, tablePrefix) }
