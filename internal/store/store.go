// Package store is the one seam to the database: SQL over database/sql, one text of each statement for SQLite and PostgreSQL.
//
// A recipe declares its statements with [SQL] and runs them through a [Backend]: Exec, Row and Rows join the transaction that ctx
// carries, if it carries one, and run on their own otherwise. [Backend.Tx] opens a transaction, and joins one that is open. What must happen
// once is one conditional statement whose row count is the answer, so that both databases agree and no error code steers the flow.
//
// The package knows no driver: what differs between the two databases is in [Dialect].
package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
)

// Key lets the recipes of this module take a Backend out of the exported handle of a database: nobody outside the module can name it.
type Key struct{}

// ErrInsideTx is returned by calls that must survive a rollback and so refuse to join a transaction.
var ErrInsideTx = errors.New("storage: this call must not run inside a transaction of the host")

// Config says what to open.
type Config struct {
	Dialect *Dialect
	// Write runs transactions and statements that write; Read the reads outside of transactions. They are the same handle unless the
	// database wants one writer beside many readers.
	Write, Read *sql.DB
	Lent        bool   // the handles are the host's: Close leaves them open
	Prefix      string // before each table name
	Keys        *Ring
	// SkipMigrations only checks the version of the schema.
	SkipMigrations bool
}

// Backend is an opened database with the library's tables, safe for concurrent use.
type Backend struct {
	dialect *Dialect
	write   *sql.DB
	read    *sql.DB
	lent    bool
	prefix  string
	keys    *Ring

	prepared sync.Map    // *Statement -> *prepared
	taken    atomic.Bool // by an instance
}

// Open checks the prefix, brings the schema up to date (or checks it), and returns the backend. After an error the handles are open still.
func Open(ctx context.Context, cfg Config) (*Backend, error) {
	if err := checkPrefix(cfg.Prefix); err != nil {
		return nil, err
	}
	b := &Backend{
		dialect: cfg.Dialect, write: cfg.Write, read: cfg.Read, lent: cfg.Lent, prefix: cfg.Prefix, keys: cfg.Keys,
	}
	if b.read == nil {
		b.read = b.write
	}
	if cfg.SkipMigrations {
		return b, b.checkVersion(ctx)
	}
	return b, b.migrate(ctx)
}

// Close closes the handles unless they were lent.
func (b *Backend) Close() error {
	if b.lent {
		return nil
	}
	err := b.write.Close()
	if b.read != b.write {
		err = errors.Join(b.read.Close(), err)
	}
	return err
}

// Dialect says which database this is.
func (b *Backend) Dialect() *Dialect { return b.dialect }

// Take marks the backend as used by an instance; false: another one has it.
func (b *Backend) Take() bool { return b.taken.CompareAndSwap(false, true) }

// Release undoes Take, for an instance that was not made after all.
func (b *Backend) Release() { b.taken.Store(false) }

func checkPrefix(prefix string) error {
	if prefix == "" || len(prefix) > 24 {
		return errors.New("storage: TablePrefix must have 1 to 24 characters")
	}
	for i, r := range prefix {
		if (r < 'a' || r > 'z') && r != '_' && (i == 0 || r < '0' || r > '9') {
			return errors.New("storage: TablePrefix may hold a-z, 0-9 and _ only, and must not begin with a digit")
		}
	}
	return nil
}
