package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// txState is a transaction that a ctx carries: one of ours, or one of the host's, of which nobody tells us how it ends.
type txState struct {
	tx   *sql.Tx
	host bool

	mu         sync.Mutex
	failed     error       // of a call that joined: the transaction can only roll back
	unprepared []*rendered // used before they could be prepared
	committed  []func()    // to do once it has committed
	ended      []func()    // to do however it ends
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

// AfterCommit runs f when the transaction of ours that ctx carries has committed, and drops it after a rollback; the ctx of f carries it no more.
// Without one, and in a transaction of the host, whose end nobody tells us, it runs f at once.
func (b *Backend) AfterCommit(ctx context.Context, f func(ctx context.Context)) {
	t := b.txOf(ctx)
	if t == nil || t.host {
		f(ctx)
		return
	}
	outside := context.WithValue(ctx, txKey{b}, (*txState)(nil))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed = append(t.committed, func() { f(outside) })
}

// Tx calls f with a ctx that carries a transaction, commits when f returns nil and rolls back when it returns an error or panics. When the
// database says that another transaction was in the way, f is called again from its beginning, a few times: what it does outside of the database
// it must be able to do twice. A commit of which nobody knows whether it happened is an error and never tried again.
//
// Inside a transaction that ctx carries already, f joins it. There are no savepoints, so what a failed f has written stays until the whole is
// rolled back: a transaction of ours does that at its end, whatever the caller makes of the error, and the host is expected to.
func (b *Backend) Tx(ctx context.Context, f func(ctx context.Context) error) error {
	if t := b.txOf(ctx); t != nil {
		return t.join(ctx, f)
	}
	var t *txState
	err := b.retry(ctx, func() error {
		t = &txState{}
		return b.once(ctx, t, f)
	})
	for _, r := range t.unprepared {
		prepare(ctx, b.write, r, &r.write) // an error here comes again where the statement is used
	}
	if err != nil {
		return err
	}
	for _, do := range t.committed {
		do()
	}
	return nil
}

func (t *txState) join(ctx context.Context, f func(ctx context.Context) error) error {
	err := errPanic
	defer func() { t.fail(err) }()
	err = f(ctx)
	return err
}

var errPanic = errors.New("panic")

func (t *txState) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
	}
}

func (t *txState) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *txState) prepareLater(r *rendered) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unprepared = append(t.unprepared, r)
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

// once is one try of a transaction.
func (b *Backend) once(ctx context.Context, t *txState, f func(ctx context.Context) error) (err error) {
	t.tx, err = b.write.BeginTx(ctx, &sql.TxOptions{Isolation: b.dialect.isolation})
	if err != nil {
		return fmt.Errorf("storage: begin: %w", err)
	}
	defer func() {
		t.tx.Rollback() // does nothing after a commit
		for _, do := range t.ended {
			do()
		}
	}()
	ctx = context.WithValue(ctx, txKey{b}, t)
	if b.lent && b.dialect.lentBegin != nil {
		if _, err := b.Exec(ctx, b.dialect.lentBegin); err != nil {
			return err
		}
	}
	if err := f(ctx); err != nil {
		return err
	}
	if err := t.failure(); err != nil {
		return fmt.Errorf("storage: rolled back, since a part of the transaction failed: %w", err)
	}
	if err := t.tx.Commit(); err != nil {
		return fmt.Errorf("storage: commit: %w", because(ctx, err))
	}
	return nil
}

// because names the end of ctx as the cause of an error, which drivers do not always do.
func because(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

const maxTries = 6

// retry calls f again, with growing and random pauses, while the database says that f had no effect since another transaction was in the way. That
// is never said of a commit whose answer was lost.
func (b *Backend) retry(ctx context.Context, f func() error) error {
	pause := 10 * time.Millisecond
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == maxTries || !b.dialect.retryable(err) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return because(ctx, err)
		case <-timer.C:
		}
		pause *= 2
	}
}
