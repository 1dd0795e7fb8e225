package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

// txState is a transaction that a ctx carries: one of ours, or one of the host's.
type txState struct {
	tx         *sql.Tx
	host       bool
	unprepared []*Statement // used before they could be prepared
	after      []func()     // once it has committed
}

type txKey struct{ b *Backend }

func (b *Backend) txOf(ctx context.Context) *txState {
	t, _ := ctx.Value(txKey{b}).(*txState)
	return t
}

// WithTx makes every call with the returned ctx, on this backend, join the host's transaction.
func (b *Backend) WithTx(ctx context.Context, tx *sql.Tx) context.Context {
	return context.WithValue(ctx, txKey{b}, &txState{tx: tx, host: true})
}

// TxOf returns the transaction that ctx carries for this backend.
func (b *Backend) TxOf(ctx context.Context) (*sql.Tx, bool) {
	if t := b.txOf(ctx); t != nil {
		return t.tx, true
	}
	return nil, false
}

// InTx reports whether ctx carries a transaction.
func (b *Backend) InTx(ctx context.Context) bool { return b.txOf(ctx) != nil }

// RefuseInTx is the first line of calls that must survive a rollback: it returns ErrInsideTx if ctx carries a transaction.
func (b *Backend) RefuseInTx(ctx context.Context) error {
	if b.InTx(ctx) {
		return ErrInsideTx
	}
	return nil
}

// AfterCommit runs f when the transaction of ours that ctx carries has committed, and drops it after a rollback. Without one, and in a
// transaction of the host, whose end nobody tells us, it runs f at once.
func (b *Backend) AfterCommit(ctx context.Context, f func()) {
	if t := b.txOf(ctx); t != nil && !t.host {
		t.after = append(t.after, f)
		return
	}
	f()
}

// Tx calls f with a ctx that carries a transaction, commits when f returns nil and rolls back otherwise. It joins a transaction that ctx
// carries already. When the database says that another transaction was in the way, f is called again from its beginning, a few times: what it
// did outside of the database it must be able to do twice. A panic in f rolls back.
func (b *Backend) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	if b.InTx(ctx) {
		return f(ctx)
	}
	var t *txState
	err := b.retry(ctx, func() error {
		t = &txState{}
		return b.once(ctx, t, f)
	})
	for _, s := range t.unprepared {
		b.lookup(ctx, s, true) // an error here comes again where the statement is used
	}
	if err != nil {
		return err
	}
	for _, after := range t.after {
		after()
	}
	return nil
}

// countingTimeout bounds a transaction that no longer listens to its caller.
const countingTimeout = 30 * time.Second

// CountingTx is Tx for what counts attempts: it refuses to join a transaction, and a caller who hangs up does not get the count back.
func (b *Backend) CountingTx(ctx context.Context, f func(ctx context.Context) error) error {
	if err := b.RefuseInTx(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countingTimeout)
	defer cancel()
	return b.Tx(ctx, f)
}

func (b *Backend) once(ctx context.Context, t *txState, f func(ctx context.Context) error) (err error) {
	t.tx, err = b.write.BeginTx(ctx, &sql.TxOptions{Isolation: b.dialect.isolation})
	if err != nil {
		return err
	}
	defer t.tx.Rollback() // does nothing after a commit
	ctx = context.WithValue(ctx, txKey{b}, t)
	if b.lent && b.dialect.lentBegin != nil {
		if _, err := b.Exec(ctx, b.dialect.lentBegin); err != nil {
			return err
		}
	}
	if err := f(ctx); err != nil {
		return err
	}
	if err := t.tx.Commit(); err != nil {
		if b.dialect.retryable(err) {
			return err // the database says that it was rolled back
		}
		return commitError{err}
	}
	return nil
}

// commitError is a commit of which nobody knows whether it happened: never tried again.
type commitError struct{ error }

func (e commitError) Unwrap() error { return e.error }

const maxTries = 6

// retry calls f again, with growing and random pauses, while the database asks for it.
func (b *Backend) retry(ctx context.Context, f func() error) error {
	pause := 10 * time.Millisecond
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == maxTries || !b.dialect.retryable(err) {
			return err
		}
		if _, unknown := errors.AsType[commitError](err); unknown {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
		pause *= 2
	}
}
