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
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
)

const readers = 4

// Open opens or makes the file, in WAL mode with synchronous=FULL, and brings its tables up to date.
func Open(ctx context.Context, path string, opts storage.Options) (*storage.DB, error) {
	if path == "" || strings.Contains(path, ":memory:") {
		return nil, errors.New("sqlite: Open wants the path of a file; OpenInMemory opens a database in memory")
	}
	cfg, err := opts.Config(store.Key{}, true)
	if err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", DSN(path))
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	write.SetMaxOpenConns(1) // its queue is fair, SQLite's own waiting is not
	read, err := sql.Open("sqlite", DSN(path)+"&_pragma=query_only(1)")
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	cfg.Dialect, cfg.Write, cfg.Read = store.SQLite, write, read
	return open(ctx, cfg)
}

// OpenInMemory opens a database of its own that ends with Close. It needs no keys. It has one connection: a call inside a transaction with
// another ctx than that of the transaction waits for itself.
func OpenInMemory(ctx context.Context) (*storage.DB, error) {
	cfg, err := storage.Options{}.Config(store.Key{}, false)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file::memory:?"+settings)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	db.SetConnMaxIdleTime(0)
	db.SetConnMaxLifetime(0)
	cfg.Dialect, cfg.Write = store.SQLite, db
	return open(ctx, cfg)
}

// New uses the host's handle, which must have foreign keys on and a busy timeout, as [DSN] has. Close leaves it open.
func New(ctx context.Context, db *sql.DB, opts storage.Options) (*storage.DB, error) {
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
			return nil, fmt.Errorf("sqlite: %w", err)
		}
		if value == 0 {
			return nil, fmt.Errorf("sqlite: the handle has %s off; open it with %s in its data source name, or with that of DSN", pragma.name, pragma.parameter)
		}
	}
	cfg.Dialect, cfg.Write, cfg.Lent = store.SQLite, db, true
	return open(ctx, cfg)
}

func open(ctx context.Context, cfg store.Config) (*storage.DB, error) {
	b, err := store.Open(ctx, cfg)
	if err != nil {
		if !cfg.Lent {
			cfg.Write.Close()
			if cfg.Read != nil {
				cfg.Read.Close()
			}
		}
		return nil, err
	}
	return storage.FromBackend(b), nil
}

const settings = "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"

// DSN is a data source name for sql.Open("sqlite", ...) with all the settings that [New] asks for.
func DSN(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings
}

// Schema is the SQL text that [Open] and [New] run, each step under a line "-- version n", for a host with a tool of its own
// ([storage.Options.SkipMigrations]).
func Schema(tablePrefix string) string { return store.SchemaText(store.SQLite, tablePrefix) }
