package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Dialect is what differs between the databases. There are two: [SQLite] and [Postgres].
type Dialect struct {
	Name string
	// tokens replace {name} in the text of statements and of the schema.
	tokens *strings.Replacer
	// prepare keeps statements prepared in database/sql; without it the driver has a cache of its own.
	prepare bool
	// isolation is asked for explicitly, since a server may default to another.
	isolation sql.IsolationLevel
	// lockName holds others who ask for the same name until the transaction ends; nil where the write lock of the transaction does that already.
	lockName *Statement
	// lentBegin is the first statement of every transaction on a lent handle: it takes the write lock without changing anything.
	lentBegin *Statement
	// retryable, unique and foreignKey classify an error of the driver.
	retryable, unique, foreignKey func(err error) bool
}

// SQLite is a file or memory; transactions take the one write lock at their beginning.
var SQLite = &Dialect{
	Name:    "sqlite",
	prepare: true,
	tokens: strings.NewReplacer(
		"{text}", "TEXT", "{int}", "INTEGER", "{bool}", "INTEGER", "{bytes}", "BLOB",
		"{plain}", " STRICT", "{keyed}", " STRICT, WITHOUT ROWID", "{hot}", " STRICT", "{churn}", " STRICT",
		"{lock}", "", "{share}", "", "{skip}", "",
	),
	// A lent handle begins transactions deferred. Upgrading one later fails at once while another writes, so the lock is taken first.
	lentBegin:  SQL("begin", `DELETE FROM {p}migrations WHERE version < 0`),
	retryable:  sqliteCode(func(primary, _ int) bool { return primary == 5 || primary == 6 }), // BUSY, LOCKED
	unique:     sqliteCode(func(_, extended int) bool { return extended == 2067 || extended == 1555 || extended == 2579 }),
	foreignKey: sqliteCode(func(_, extended int) bool { return extended == 787 }),
}

// Postgres is version 13 or later.
var Postgres = &Dialect{
	Name: "postgres",
	tokens: strings.NewReplacer(
		"{text}", `TEXT COLLATE "C"`, "{int}", "BIGINT", "{bool}", "BOOLEAN", "{bytes}", "BYTEA",
		"{plain}", "", "{keyed}", "", "{hot}", " WITH (fillfactor = 80)",
		"{churn}", " WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)",
		"{lock}", "FOR NO KEY UPDATE", "{share}", "FOR SHARE OF u", "{skip}", "FOR UPDATE SKIP LOCKED",
	),
	isolation:  sql.LevelReadCommitted,
	lockName:   SQL("lock.name", `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`),
	retryable:  sqlState("40001", "40P01", "55P03"), // serialization failure, deadlock, lock not available
	unique:     sqlState("23505"),
	foreignKey: sqlState("23503"),
}

// sqlState reads the SQLSTATE through the method that drivers share, so a host may lend a pool of another driver than pgx.
func sqlState(states ...string) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[interface {
			error
			SQLState() string
		}](err)
		if !ok {
			return false
		}
		for _, s := range states {
			if e.SQLState() == s {
				return true
			}
		}
		return false
	}
}

func sqliteCode(is func(primary, extended int) bool) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[interface {
			error
			Code() int
		}](err)
		return ok && is(e.Code()&0xff, e.Code())
	}
}

// IsUnique reports whether err is the violation of a unique key. It is for the few writes that cannot ask in their own text; inside a host's
// transaction on PostgreSQL such an error has ended that transaction.
func (b *Backend) IsUnique(err error) bool { return b.dialect.unique(err) }

// IsForeignKey reports whether err is the violation of a foreign key.
func (b *Backend) IsForeignKey(err error) bool { return b.dialect.foreignKey(err) }

// LockName takes a lock of that name for the rest of the transaction that ctx carries, where no row stands for what must wait. On SQLite the
// transaction has the write lock already.
func (b *Backend) LockName(ctx context.Context, name string) error {
	if b.dialect.lockName == nil {
		return nil
	}
	_, err := b.Row(ctx, b.dialect.lockName, []any{b.prefix + name})
	return err
}
