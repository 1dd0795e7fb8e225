// Package postgres keeps the library's tables in PostgreSQL, 13 or later, through pgx.
//
//	db, err := postgres.Open(ctx, "postgres://acme@db.internal/acme", storage.Options{Keys: keys})
//
// Any number of processes on any number of machines may share the database. Nothing of the library outlives a transaction on a connection, so a
// pooler in transaction mode may stand between.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
)

// Open opens a pool of its own, of 4 connections per CPU, and brings the tables up to date. The DSN is a URL or "key=value ..." as pgx takes it;
// behind a pooler in transaction mode it needs default_query_exec_mode=cache_describe.
func Open(ctx context.Context, dsn string, opts storage.Options) (*storage.DB, error) {
	cfg, err := opts.Config(store.Key{}, true)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	size := 4 * runtime.GOMAXPROCS(0)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxLifetime(30 * time.Minute)
	cfg.Dialect, cfg.Write = store.Postgres, db
	return open(ctx, cfg)
}

// New uses the host's pool, of any driver that takes $1 parameters and gives SQLSTATE codes, and changes no setting of it. Close leaves it open.
func New(ctx context.Context, db *sql.DB, opts storage.Options) (*storage.DB, error) {
	if db == nil {
		return nil, errors.New("postgres: New wants a handle, not nil")
	}
	cfg, err := opts.Config(store.Key{}, true)
	if err != nil {
		return nil, err
	}
	cfg.Dialect, cfg.Write, cfg.Lent = store.Postgres, db, true
	return open(ctx, cfg)
}

func open(ctx context.Context, cfg store.Config) (*storage.DB, error) {
	b, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return storage.FromBackend(b), nil
}

// Schema is the SQL text that [Open] and [New] run, each step under a line "-- version n", for a host with a tool of its own
// ([storage.Options.SkipMigrations]). "" is the default prefix; Schema panics on a prefix that they refuse.
func Schema(tablePrefix string) string { return store.SchemaText(store.Postgres, tablePrefix) }
