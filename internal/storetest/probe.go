package storetest

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
)

// Probe sits between database/sql and the driver.
type Probe struct {
	mu         sync.Mutex
	statements []string
	failAt     int // the n-th statement or commit from now fails
	failWith   error
	commits    int
	lost       error // of a commit that goes through
	before     func(text string)
}

// ErrInjected is what a statement fails with by default.
var ErrInjected = errors.New("storetest: injected failure")

// Reset forgets what was counted.
func (p *Probe) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statements, p.commits, p.failAt, p.lost, p.before = nil, 0, 0, nil, nil
}

// Count is the number of statements since Reset; BEGIN, COMMIT and ROLLBACK are none.
func (p *Probe) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.statements)
}

// Commits is the number of transactions committed since Reset.
func (p *Probe) Commits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commits
}

// Statements are the texts since Reset, in order, with white space folded.
func (p *Probe) Statements() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.statements...)
}

// FailAt makes the n-th statement or commit from now fail once with ErrInjected; 0 stops that.
func (p *Probe) FailAt(n int) { p.FailAtWith(n, ErrInjected) }

// FailAtWith is FailAt with an error of the caller's.
func (p *Probe) FailAtWith(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failAt, p.failWith = n, err
}

// LoseCommit makes the next commit go through and say that it failed, as a connection does that breaks at the wrong moment.
func (p *Probe) LoseCommit(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = err
}

// Before calls f with the text of each statement, white space folded, before it runs; nil stops that.
func (p *Probe) Before(f func(text string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = f
}

// Failed reports whether the failure that FailAt asked for has happened.
func (p *Probe) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failAt == 0
}

func (p *Probe) step() error {
	if p.failAt > 0 {
		if p.failAt--; p.failAt == 0 {
			return p.failWith
		}
	}
	return nil
}

func (p *Probe) statement(text string) error {
	text = strings.Join(strings.Fields(text), " ")
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statements = append(p.statements, text)
	return p.step()
}

func (p *Probe) commit() (fail, lost error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits++
	lost, p.lost = p.lost, nil
	return p.step(), lost
}

func (p *Probe) wrap(c driver.Connector) driver.Connector { return connector{c, p} }

type connector struct {
	driver.Connector
	probe *Probe
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{inner, c.probe}, nil
}

// conn forwards what both drivers implement.
type conn struct {
	driver.Conn
	probe *Probe
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.probe.statement(query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.probe.statement(query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	inner, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &stmt{inner, query, c.probe}, nil
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	inner, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return tx{inner, c.probe}, nil
}

func (c *conn) Ping(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.Pinger); ok {
		return inner.Ping(ctx)
	}
	return nil
}

func (c *conn) ResetSession(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.SessionResetter); ok {
		return inner.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	inner, ok := c.Conn.(driver.Validator)
	return !ok || inner.IsValid()
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := c.Conn.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type stmt struct {
	driver.Stmt
	text  string
	probe *Probe
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.probe.statement(s.text); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.probe.statement(s.text); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

type tx struct {
	driver.Tx
	probe *Probe
}

func (t tx) Commit() error {
	fail, lost := t.probe.commit()
	if fail != nil {
		t.Tx.Rollback()
		return fail
	}
	return errors.Join(t.Tx.Commit(), lost)
}
