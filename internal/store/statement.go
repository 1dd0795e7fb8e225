package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Statement is the text of one SQL statement. {p} stands for the table prefix, other {names} for what a dialect fills in.
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

// prepared is a statement in the dialect of one backend.
type prepared struct {
	text        string
	write, read *sql.Stmt // nil where the driver caches by itself, and until first used
}

func (b *Backend) render(text string) string {
	return strings.ReplaceAll(b.dialect.tokens.Replace(text), "{p}", b.prefix)
}

// lookup returns the statement, prepared if prepare is set. Preparing takes a connection, so inside a transaction, which may hold the only one,
// it is put off until that has ended.
func (b *Backend) lookup(ctx context.Context, s *Statement, prepare bool) (*prepared, error) {
	if p, ok := b.prepared.Load(s); ok {
		return p.(*prepared), nil
	}
	p := &prepared{text: b.render(s.text)}
	if !b.dialect.prepare {
		b.prepared.Store(s, p)
		return p, nil
	}
	if !prepare {
		return p, nil
	}
	var err error
	if p.write, err = b.write.PrepareContext(ctx, p.text); err != nil {
		return nil, err
	}
	p.read = p.write
	if s.reads && b.read != b.write {
		if p.read, err = b.read.PrepareContext(ctx, p.text); err != nil {
			p.write.Close()
			return nil, err
		}
	}
	if earlier, loaded := b.prepared.LoadOrStore(s, p); loaded {
		p.write.Close()
		if p.read != p.write {
			p.read.Close()
		}
		return earlier.(*prepared), nil
	}
	return p, nil
}

// Exec runs a statement that returns no rows and tells how many it changed.
func (b *Backend) Exec(ctx context.Context, s *Statement, args ...any) (int64, error) {
	var n int64
	err := b.run(ctx, s, func(t *txState, p *prepared) error {
		var res sql.Result
		var err error
		switch {
		case t != nil && p.write != nil:
			res, err = t.tx.StmtContext(ctx, p.write).ExecContext(ctx, args...)
		case t != nil:
			res, err = t.tx.ExecContext(ctx, p.text, args...)
		case p.write != nil:
			res, err = p.write.ExecContext(ctx, args...)
		default:
			res, err = b.write.ExecContext(ctx, p.text, args...)
		}
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
		found = false
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
	return all, err
}

// Text scans a row of one text, for Rows.
func Text(scan func(dest ...any) error) (string, error) {
	var s string
	err := scan(&s)
	return s, err
}

func (b *Backend) query(ctx context.Context, s *Statement, args []any, read func(*sql.Rows) error) error {
	return b.run(ctx, s, func(t *txState, p *prepared) (err error) {
		db, stmt := b.write, p.write
		if s.reads {
			db, stmt = b.read, p.read
		}
		var rows *sql.Rows
		switch {
		case t != nil && p.write != nil:
			rows, err = t.tx.StmtContext(ctx, p.write).QueryContext(ctx, args...)
		case t != nil:
			rows, err = t.tx.QueryContext(ctx, p.text, args...)
		case stmt != nil:
			rows, err = stmt.QueryContext(ctx, args...)
		default:
			rows, err = db.QueryContext(ctx, p.text, args...)
		}
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

// run calls do inside the transaction of ctx, or alone, then again after errors that pass.
func (b *Backend) run(ctx context.Context, s *Statement, do func(*txState, *prepared) error) error {
	t := b.txOf(ctx)
	p, err := b.lookup(ctx, s, t == nil)
	if err == nil {
		switch {
		case t == nil:
			err = b.retry(ctx, func() error { return do(nil, p) })
		default:
			if b.dialect.prepare && p.write == nil {
				t.unprepared = append(t.unprepared, s)
			}
			err = do(t, p)
		}
	}
	if err != nil {
		return fmt.Errorf("storage: %s: %w", s.name, err)
	}
	return nil
}
