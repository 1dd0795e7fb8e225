package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
)

// Statement is the text of one SQL statement. {p} stands for the table prefix, other {names} for what a dialect fills in. It is declared once,
// in a variable of its package: a backend keeps what it made of it for as long as it lives.
type Statement struct {
	name, text string
	reads      bool // a plain SELECT, which may run on a reader's connection
}

// SQL declares a statement. The name is for errors and for tests that count.
func SQL(name, text string) *Statement {
	return &Statement{name: name, text: text, reads: strings.HasPrefix(strings.TrimSpace(text), "SELECT")}
}

// Name of the statement.
func (s *Statement) Name() string { return s.name }

// rendered is a statement in the dialect of one backend.
type rendered struct {
	text string
	// Prepared on the handles, if the dialect asks for it, when first used there. A reader's is apart: it must not wait for the writer.
	write, read atomic.Pointer[sql.Stmt]
}

func (b *Backend) render(text string) string {
	return strings.ReplaceAll(b.dialect.tokens.Replace(text), "{p}", b.prefix)
}

func (b *Backend) lookup(s *Statement) *rendered {
	if r, ok := b.statements.Load(s); ok {
		return r.(*rendered)
	}
	r, _ := b.statements.LoadOrStore(s, &rendered{text: b.render(s.text)})
	return r.(*rendered)
}

func prepare(ctx context.Context, db *sql.DB, r *rendered, at *atomic.Pointer[sql.Stmt]) (*sql.Stmt, error) {
	if stmt := at.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, r.text)
	if err != nil {
		return nil, err
	}
	if at.CompareAndSwap(nil, stmt) {
		return stmt, nil
	}
	stmt.Close() // another was faster
	return prepare(ctx, db, r, at)
}

func (r *rendered) close() {
	for _, at := range []*atomic.Pointer[sql.Stmt]{&r.write, &r.read} {
		if stmt := at.Swap(nil); stmt != nil {
			stmt.Close()
		}
	}
}

// runnable is a statement where it is going to run: a *sql.Stmt, or a text.
type runnable interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
}

// text is a statement that was not prepared, on a handle or a transaction.
type text struct {
	on interface {
		ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	}
	text string
}

func (t text) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return t.on.ExecContext(ctx, t.text, args...)
}

func (t text) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return t.on.QueryContext(ctx, t.text, args...)
}

// alone is the statement outside of any transaction.
func (b *Backend) alone(ctx context.Context, s *Statement) (runnable, error) {
	r := b.lookup(s)
	db, at := b.write, &r.write
	if s.reads && b.read != b.write {
		db, at = b.read, &r.read
	}
	if !b.dialect.prepare {
		return text{db, r.text}, nil
	}
	return prepare(ctx, db, r, at)
}

// within is the statement inside a transaction. Preparing takes a connection, and the transaction may hold the only one, so a statement that is
// new is run as a text and prepared when the transaction has ended. In the host's it stays a text: that may be of another handle than the one
// that statements are prepared on, which database/sql refuses.
func (b *Backend) within(ctx context.Context, t *txState, s *Statement) runnable {
	r := b.lookup(s)
	if t.host || !b.dialect.prepare {
		return text{t.tx, r.text}
	}
	if stmt := r.write.Load(); stmt != nil {
		return t.tx.StmtContext(ctx, stmt)
	}
	t.prepareLater(r)
	return text{t.tx, r.text}
}

// run calls do with the statement inside the transaction of ctx, or alone, then again after errors that pass.
func (b *Backend) run(ctx context.Context, s *Statement, do func(runnable) error) error {
	var err error
	if t := b.txOf(ctx); t != nil {
		err = do(b.within(ctx, t, s))
	} else {
		err = b.retry(ctx, func() error {
			r, err := b.alone(ctx, s)
			if err != nil {
				return err
			}
			return do(r)
		})
	}
	if err != nil {
		return fmt.Errorf("storage: %s: %w", s.name, because(ctx, err))
	}
	return nil
}

// Exec runs a statement that returns no rows and tells how many it changed.
func (b *Backend) Exec(ctx context.Context, s *Statement, args ...any) (int64, error) {
	var n int64
	err := b.run(ctx, s, func(r runnable) error {
		res, err := r.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// Row reads the first row into dest; false: there is none. Further rows are read and dropped.
func (b *Backend) Row(ctx context.Context, s *Statement, args []any, dest ...any) (bool, error) {
	found := false
	err := b.query(ctx, s, args, func(rows *sql.Rows) error {
		found = false // in an earlier try
		for rows.Next() {
			if !found && len(dest) > 0 {
				if err := rows.Scan(dest...); err != nil {
					return err
				}
			}
			found = true
		}
		return nil
	})
	return found, err
}

// Rows reads all rows, each by scan, before it returns: a query is closed before the next statement begins.
func Rows[T any](ctx context.Context, b *Backend, s *Statement, args []any, scan func(scan func(dest ...any) error) (T, error)) ([]T, error) {
	var all []T
	err := b.query(ctx, s, args, func(rows *sql.Rows) error {
		all = nil // of an earlier try
		for rows.Next() {
			one, err := scan(rows.Scan)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Text scans a row of one text, for Rows.
func Text(scan func(dest ...any) error) (string, error) {
	var s string
	err := scan(&s)
	return s, err
}

func (b *Backend) query(ctx context.Context, s *Statement, args []any, read func(*sql.Rows) error) error {
	return b.run(ctx, s, func(r runnable) error {
		rows, err := r.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		if err := read(rows); err != nil {
			return err
		}
		return rows.Err()
	})
}
