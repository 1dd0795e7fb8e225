package limits

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

// Attempts bounds the wrong second factors of a person: TOTP codes and the attempts at factors of the host's own, together and over all tenants.
type Attempts struct {
	// Max wrong ones less than a Cooldown apart, 1 to 100: then every attempt is refused, right ones too, until a Cooldown after the last.
	Max      int
	Cooldown time.Duration // at least 1 ms
	// Stop refuses every attempt after so many wrong ones in a row, over any time, until ResetAttempts. 0: never.
	Stop int
}

// SpentError refuses an attempt: nothing was compared and nothing was counted.
type SpentError struct {
	RetryAfter time.Duration
	Stopped    bool // waiting does not help
}

func (e *SpentError) Error() string {
	if e.Stopped {
		return "too many wrong second factors in a row"
	}
	return "too many wrong second factors; wait " + e.RetryAfter.String()
}

// The scope factor has a row for each person, under the person's id.
var (
	lockFactor = store.SQL("limit.lock", `
INSERT INTO {p}limits AS l (scope, key, times, failures, blocked_until, expires_day) VALUES ('factor', $1, '', 0, 0, $2)
ON CONFLICT (scope, key) DO UPDATE SET
	expires_day = CASE WHEN l.expires_day < excluded.expires_day THEN excluded.expires_day ELSE l.expires_day END
RETURNING times, failures`)
	setFactor = store.SQL("limit.set",
		`UPDATE {p}limits SET times = $2, failures = $3, expires_day = $4 WHERE scope = 'factor' AND key = $1`)
	clearFactor = store.SQL("limit.clear",
		`UPDATE {p}limits SET times = '', failures = 0, expires_day = $2 WHERE scope = 'factor' AND key = $1`)
	resetUser = store.SQL("limit.reset",
		`UPDATE {p}limits SET times = '', failures = 0, blocked_until = 0, expires_day = $2 WHERE scope IN ('factor', 'otp-user') AND key = $1`)
)

// How many days a row outlives its last write. An idle one is only a lock; one of a person who failed must not be forgotten by waiting.
const (
	idleDays   = 2
	failedDays = 400
	never      = math.MaxInt32 // the column has 32 bits
)

func dayOf(now time.Time) int64 { return milliseconds(now) / (24 * time.Hour).Milliseconds() }

// Budget is what a person has left. It holds the lock of the row until the transaction ends.
type Budget struct {
	attempts Attempts
	store    *store.Backend
	userID   string
	now      time.Time
	failures failures
}

// Lock waits until nobody else judges an attempt of this person, in any process, and reads what is left. ctx carries the transaction.
func (a Attempts) Lock(ctx context.Context, b *store.Backend, userID string, now time.Time) (*Budget, error) {
	if a.Max < 1 || a.Max > maxTimes || a.Cooldown < time.Millisecond || a.Stop < 0 {
		return nil, fmt.Errorf("limits: %+v is no limit of attempts", a)
	}
	if !b.InTx(ctx) {
		return nil, errors.New("limits: a budget is locked in a transaction")
	}
	var times string
	budget := &Budget{attempts: a, store: b, userID: userID, now: now}
	_, err := b.Row(ctx, lockFactor, []any{userID, dayOf(now) + idleDays}, &times, &budget.failures.inARow)
	if err != nil {
		return nil, err
	}
	budget.failures.times, err = parseTimes(times)
	return budget, err
}

// Spent returns a *SpentError if no attempt may be judged now.
func (b *Budget) Spent() error {
	if e := b.attempts.spent(b.failures, milliseconds(b.now)); e != nil {
		return e
	}
	return nil
}

// Failed is the number of wrong attempts within the last Cooldown.
func (b *Budget) Failed() int { return b.attempts.failed(b.failures, milliseconds(b.now)) }

// Fail counts an attempt as wrong.
func (b *Budget) Fail(ctx context.Context) error {
	b.failures = b.attempts.add(b.failures, milliseconds(b.now))
	expires := dayOf(b.now) + failedDays
	if b.attempts.stopped(b.failures) {
		expires = never
	}
	_, err := b.store.Exec(ctx, setFactor, b.userID, formatTimes(b.failures.times), b.failures.inARow, expires)
	return err
}

// Clear forgets all wrong attempts: one was right. It writes nothing if there was none.
func (b *Budget) Clear(ctx context.Context) error {
	if len(b.failures.times) == 0 && b.failures.inARow == 0 {
		return nil
	}
	b.failures = failures{}
	_, err := b.store.Exec(ctx, clearFactor, b.userID, dayOf(b.now)+idleDays)
	return err
}

// Reserve counts an attempt as wrong, and commits that, before anybody knows whether it is: for checks that cannot run in a transaction of ours.
// failed is the number of wrong attempts within the last Cooldown, this one included. The error is a *SpentError when there is nothing left to
// reserve, and store.ErrInsideTx inside a transaction.
func (a Attempts) Reserve(ctx context.Context, b *store.Backend, userID string, now time.Time) (failed int, err error) {
	err = b.CountingTx(ctx, func(ctx context.Context) error {
		budget, err := a.Lock(ctx, b, userID, now)
		if err != nil {
			return err
		}
		if err := budget.Spent(); err != nil {
			return err
		}
		if err := budget.Fail(ctx); err != nil {
			return err
		}
		failed = budget.Failed()
		return nil
	})
	return failed, err
}

const clearAttemptsTimeout = 10 * time.Second

// ClearAttempts forgets all wrong attempts of a person after a reserved one was right, even if the caller has hung up meanwhile.
func ClearAttempts(ctx context.Context, b *store.Backend, userID string, now time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearAttemptsTimeout)
	defer cancel()
	_, err := b.Exec(ctx, clearFactor, userID, dayOf(now)+idleDays)
	return err
}

// ResetAttempts forgets all wrong second factors of a person, those that stopped everything too: this budget and that of one-time codes.
func ResetAttempts(ctx context.Context, b *store.Backend, userID string, now time.Time) error {
	_, err := b.Exec(ctx, resetUser, userID, dayOf(now)+idleDays)
	return err
}

// failures are the wrong attempts since the last right one. A clock that went back neither forgets them nor opens a budget: times are kept as they
// were, and one that is later than now counts as now.
type failures struct {
	times  []int64 // of the newest of them in milliseconds, newest first
	inARow int     // of all of them
}

const (
	keptTimes = 20 // at least, whatever Max is: it may be raised
	maxTimes  = 100
)

func (a Attempts) stopped(f failures) bool { return a.Stop > 0 && f.inARow >= a.Stop }

func (a Attempts) spent(f failures, now int64) *SpentError {
	if a.stopped(f) {
		return &SpentError{RetryAfter: a.Cooldown, Stopped: true}
	}
	if len(f.times) < a.Max {
		return nil
	}
	newest, oldest := min(f.times[0], now), min(f.times[a.Max-1], now)
	cooldown := a.Cooldown.Milliseconds()
	wait := cooldown - (now - newest)
	if wait <= 0 || newest-oldest >= cooldown {
		return nil
	}
	return &SpentError{RetryAfter: time.Duration(wait) * time.Millisecond}
}

func (a Attempts) failed(f failures, now int64) int {
	n := 0
	for _, t := range f.times {
		if now-t < a.Cooldown.Milliseconds() {
			n++
		}
	}
	return n
}

func (a Attempts) add(f failures, now int64) failures {
	i := slices.IndexFunc(f.times, func(t int64) bool { return t <= now })
	if i < 0 {
		i = len(f.times)
	}
	times := slices.Insert(slices.Clone(f.times), i, now)
	return failures{times: times[:min(len(times), max(a.Max, keptTimes))], inARow: f.inARow + 1}
}

// The column holds the times one after the other with 13 digits each, so that the n-th has a fixed place and text compares as number.
const digits = 13

// milliseconds since the epoch, as far as 13 digits reach: until the year 2286.
func milliseconds(t time.Time) int64 { return min(max(t.UnixMilli(), 0), 1e13-1) }

func formatTimes(times []int64) string {
	var text strings.Builder
	for _, t := range times {
		fmt.Fprintf(&text, "%0*d", digits, t)
	}
	return text.String()
}

func parseTimes(text string) ([]int64, error) {
	if len(text)%digits != 0 || len(text) > maxTimes*digits {
		return nil, errors.New("limits: the times of a budget are damaged")
	}
	times := make([]int64, 0, len(text)/digits)
	for one := range slices.Chunk([]byte(text), digits) {
		t, err := strconv.ParseUint(string(one), 10, 63)
		if err != nil {
			return nil, errors.New("limits: the times of a budget are damaged")
		}
		times = append(times, int64(t))
	}
	return times, nil
}
