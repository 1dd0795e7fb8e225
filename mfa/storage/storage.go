// Package storage holds the handle of an open database.
//
// The packages sqlite and postgres below it open a database of their own or borrow a handle of the host's:
//
//	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
//
// The library keeps its tables beside those of the host, all with one prefix. They are made and brought up to date when the database is opened,
// under a lock, so that any number of processes may start at once; a host with a migration tool of its own runs the text of the Schema function of
// the driver's package and sets [Options.SkipMigrations].
//
// TOTP secrets and private signing keys are encrypted with the host's keys (AES-256-GCM, bound to their row). To change keys, put the new one
// first, deploy, call [DB.ReencryptSecrets], and drop the old one.
package storage

import (
	"context"
	"database/sql"

	"github.com/stepup-auth/stepup/internal/store"
)

// DB is an open database with the library's tables, safe for concurrent use. One DB serves one instance; two instances in one database
// open it twice, with different [Options.TablePrefix].
type DB struct{ backend *store.Backend }

// FromBackend is for the packages below; nothing outside this module can call it.
func FromBackend(b *store.Backend) *DB { return &DB{b} }

// Backend is for the recipes of this module: nothing outside it can name a store.Key.
func (db *DB) Backend(store.Key) *store.Backend { return db.backend }

// Close closes what Open opened; a *sql.DB lent by the host stays open.
func (db *DB) Close() error { return db.backend.Close() }

// ReencryptSecrets moves every secret in the database to the first key of [Options.Keys], in pages of 500, beside running traffic. Afterwards
// older keys may be dropped. Secrets that no key opens stay as they are and are counted in the error; the call may be repeated.
func (db *DB) ReencryptSecrets(ctx context.Context) error { return db.backend.ReencryptSecrets(ctx) }

// WithTx returns a context that makes every call of the library that uses this DB run inside tx. The host commits or rolls back.
// Calls that count attempts, send messages, or create or refresh sessions refuse with [ErrInsideTx]. On SQLite the transaction must have been
// begun immediate, as it is with sqlite.DSN, or must have written first. Nothing is tried again: an error of the database is the host's.
func (db *DB) WithTx(ctx context.Context, tx *sql.Tx) context.Context {
	return db.backend.WithTx(ctx, tx)
}

// Tx returns the transaction that ctx carries for this DB, for callbacks that must join it.
func (db *DB) Tx(ctx context.Context) (*sql.Tx, bool) { return db.backend.TxOf(ctx) }

// ErrInsideTx is returned by calls that must survive a rollback of the host's transaction.
var ErrInsideTx = store.ErrInsideTx

// Options of an open database.
type Options struct {
	// Keys encrypt TOTP secrets and private signing keys. Required for a database that outlives the process: [KeyFile], [NewKeys], or
	// [InsecureNoKeys].
	Keys Keys
	// TablePrefix is put before every table name: 1 to 24 of a-z, 0-9 and _, not beginning with a digit. Default "st_".
	TablePrefix string
	// SkipMigrations only checks that the tables have the version of this release, and refuses any other: the host's own tool runs the text of
	// Schema, of the driver's package. Without it Open and New make and update the tables, under a lock, in one transaction.
	SkipMigrations bool
}

// Config is for the packages below: it checks the options and reads the keys. needKeys refuses options without any.
func (o Options) Config(_ store.Key, needKeys bool) (store.Config, error) {
	ring, err := o.Keys.open(needKeys)
	if err != nil {
		return store.Config{}, err
	}
	return store.Config{Prefix: o.TablePrefix, Keys: ring, SkipMigrations: o.SkipMigrations}, nil
}
