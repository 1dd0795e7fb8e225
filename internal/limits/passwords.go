package limits

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
)

// Guesses is how often a first factor may be guessed at. Zero values are the defaults.
type Guesses struct {
	Free    int           // wrong ones in a row without a wait; 9
	Wait    time.Duration // after the next one, doubling with each that follows; 30 s
	MaxWait time.Duration // 1 h
	Off     bool          // nothing is counted
}

func (g Guesses) withDefaults() Guesses {
	if g.Free <= 0 {
		g.Free = 9
	}
	if g.Wait <= 0 {
		g.Wait = 30 * time.Second
	}
	if g.MaxWait <= 0 {
		g.MaxWait = time.Hour
	}
	g.MaxWait = max(g.MaxWait, g.Wait)
	return g
}

// doublings is how often the first wait doubles before it is the longest.
func (g Guesses) doublings() int {
	n := 0
	for wait := g.MaxWait; wait > g.Wait; wait -= wait / 2 { // from above, since doubling could overflow
		n++
	}
	return n
}

// WaitError refuses an attempt: too many before it were wrong.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string { return "too many wrong attempts; wait " + e.Wait.String() }

// Passwords counts the attempts at the password of each tenant and email, whether or not somebody has that email.
type Passwords struct {
	env     *env.Env
	guesses Guesses
	turns   turns
}

// NewPasswords returns the limit of one instance.
func NewPasswords(e *env.Env, g Guesses) *Passwords {
	return &Passwords{env: e, guesses: g.withDefaults()}
}

// Attempt is one attempt that was counted as a wrong one, before anybody knows whether it is.
type Attempt struct {
	limit   *Passwords
	key     string
	release func()
}

const (
	passwordDays = 7                // how long a count outlives its last attempt and the wait for it
	clearTimeout = 10 * time.Second // of a write that no longer listens to its caller
	takes        = 5                // before two processes that get in each other's way give up
)

// take counts the attempt unless a wait lasts: then there is no row. The first attempt of all never makes anybody wait.
var take = store.SQL("limit.take", `
INSERT INTO {p}limits AS l (scope, key, times, failures, blocked_until, expires_day) VALUES ('password', $1, '', 1, 0, $2)
ON CONFLICT (scope, key) DO UPDATE SET failures = l.failures + 1, expires_day = excluded.expires_day,
	blocked_until = CASE WHEN l.failures + 1 < CAST($4 AS INTEGER) THEN 0
		WHEN l.failures + 1 - CAST($4 AS INTEGER) >= CAST($6 AS INTEGER) THEN CAST($3 AS BIGINT) + CAST($7 AS BIGINT)
		ELSE CAST($3 AS BIGINT) + (CAST($5 AS BIGINT) << (l.failures + 1 - CAST($4 AS INTEGER))) END
WHERE l.blocked_until <= CAST($3 AS BIGINT) RETURNING failures`)

var blockedUntil = store.SQL("limit.read", `SELECT blocked_until FROM {p}limits WHERE scope = 'password' AND key = $1`)

var clearPassword = store.SQL("limit.clear",
	`UPDATE {p}limits SET times = '', failures = 0, blocked_until = 0 WHERE scope = 'password' AND key = $1`)

// Take waits until no other attempt at the same account runs in this process, then counts one: it is committed before anything is compared, and
// a caller who hangs up does not get it back. The caller must call Release.
//
// Without the turns, right passwords that arrive at the same time would count as wrong ones of each other until they are cleared.
//
// A *WaitError says that nothing was counted and nothing may be compared. Inside a transaction it is store.ErrInsideTx, since a rollback would
// lose the count.
func (p *Passwords) Take(ctx context.Context, tenantID, email string) (*Attempt, error) {
	if err := p.env.Store.RefuseInTx(ctx); err != nil {
		return nil, err
	}
	if p.guesses.Off {
		return &Attempt{limit: p, release: func() {}}, nil
	}
	key := contactKey(tenantID, email)
	release, err := p.turns.take(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := p.count(ctx, key); err != nil {
		release()
		return nil, err
	}
	return &Attempt{limit: p, key: key, release: release}, nil
}

func (p *Passwords) count(ctx context.Context, key string) error {
	now := p.env.Now().UnixMilli()
	args := []any{
		key, (now+p.guesses.MaxWait.Milliseconds())/dayMilli + passwordDays, now, p.guesses.Free + 1,
		p.guesses.Wait.Milliseconds(), p.guesses.doublings(), p.guesses.MaxWait.Milliseconds(),
	}
	for range takes {
		counted, err := p.env.Store.Row(ctx, take, args)
		if err != nil || counted {
			return err
		}
		var until int64
		if _, err := p.env.Store.Row(ctx, blockedUntil, []any{key}, &until); err != nil {
			return err
		}
		if until > now {
			return &WaitError{Wait: time.Duration(until-now) * time.Millisecond}
		}
		// Another process cleared the count between the two statements.
	}
	return &WaitError{Wait: time.Second}
}

// Clear forgets all counted attempts at the account: this one was right. It is done even if the caller has hung up.
func (a *Attempt) Clear(ctx context.Context) error {
	if a.limit.guesses.Off {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTimeout)
	defer cancel()
	_, err := a.limit.env.Store.Exec(ctx, clearPassword, a.key)
	return err
}

// Release lets the next attempt at the account begin.
func (a *Attempt) Release() { a.release() }

// contactKey hides the contact: the table of limits holds no addresses.
func contactKey(tenantID, contact string) string {
	sum := sha256.Sum256([]byte(tenantID + "\x00" + contact))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

const dayMilli = 24 * 60 * 60 * 1000
