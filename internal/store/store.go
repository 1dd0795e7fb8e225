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
	"fmt"
	"strings"
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
	Prefix      string // before each table name; "" is st_
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
	steps   []string // of the schema

	statements sync.Map    // *Statement -> *rendered
	taken      atomic.Bool // by an instance
}

// Open brings the schema up to date, or checks it, and returns the backend. After an error the handles are closed unless they were lent.
func Open(ctx context.Context, cfg Config) (*Backend, error) { return open(ctx, cfg, steps) }

func open(ctx context.Context, cfg Config, steps []string) (*Backend, error) {
	b := &Backend{dialect: cfg.Dialect, write: cfg.Write, read: cfg.Read, lent: cfg.Lent, keys: cfg.Keys, steps: steps}
	if b.read == nil {
		b.read = b.write
	}
	if err := b.ready(ctx, cfg); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Backend) ready(ctx context.Context, cfg Config) (err error) {
	if b.prefix, err = checkPrefix(cfg.Prefix); err != nil {
		return err
	}
	if cfg.SkipMigrations {
		return b.checkVersion(ctx)
	}
	return b.migrate(ctx)
}

// Close closes the handles; of those that were lent only what was prepared on them.
func (b *Backend) Close() error {
	if b.lent {
		b.statements.Range(func(_, r any) bool {
			r.(*rendered).close()
			return true
		})
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

// checkPrefix returns the prefix, or the default. With the longest one no name of a table or index is over the 63 bytes that PostgreSQL keeps.
func checkPrefix(prefix string) (string, error) {
	if prefix == "" {
		return "st_", nil
	}
	if len(prefix) > 24 {
		return "", fmt.Errorf("storage: TablePrefix %q: more than 24 characters", prefix)
	}
	for i, r := range prefix {
		if (r < 'a' || r > 'z') && r != '_' && (i == 0 || r < '0' || r > '9') {
			return "", fmt.Errorf("storage: TablePrefix %q: want a-z, 0-9 and _, and no digit at the beginning", prefix)
		}
	}
	if strings.HasPrefix(prefix, "sqlite_") {
		return "", fmt.Errorf("storage: TablePrefix %q: SQLite keeps such names for itself", prefix)
	}
	return prefix, nil
}
