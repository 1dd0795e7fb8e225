package limits_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// clock is turned by hand.
type clock struct{ milli atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.milli.Store(time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) Now() time.Time               { return time.UnixMilli(c.milli.Load()) }
func (c *clock) turn(by time.Duration)        { c.milli.Add(by.Milliseconds()) }
func (c *clock) day() int64                   { return c.milli.Load() / (24 * time.Hour).Milliseconds() }
func (c *clock) env(b *storetest.DB) *env.Env { return &env.Env{Store: b.Backend, Clock: c.Now} }

// attempt is one attempt at the password: it was evaluated, or has to wait.
func attempt(ctx context.Context, p *limits.Passwords, email string, right bool) (evaluated bool, wait time.Duration, err error) {
	a, err := p.Take(ctx, "public", email)
	if refused, ok := errors.AsType[*limits.WaitError](err); ok {
		return false, refused.Wait, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer a.Release()
	if right {
		err = a.Clear(ctx)
	}
	return true, 0, err
}

func requireEvaluated(t *testing.T, p *limits.Passwords, email string, right bool) {
	t.Helper()
	evaluated, wait, err := attempt(t.Context(), p, email, right)
	require.NoError(t, err)
	require.True(t, evaluated, "must wait %s", wait)
}

func requireWait(t *testing.T, p *limits.Passwords, email string, wait time.Duration) {
	t.Helper()
	evaluated, actual, err := attempt(t.Context(), p, email, true)
	require.NoError(t, err)
	require.False(t, evaluated)
	require.Equal(t, wait, actual)
}

// Nine wrong passwords are free; the tenth makes everybody wait 30 s, each that follows twice as long, up to an hour. It never stops for good.
func TestWaitsAfterWrongPasswords(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		now := newClock()
		p := limits.NewPasswords(now.env(db), limits.Guesses{})
		const email = "me@example.com"
		for range 10 {
			requireEvaluated(t, p, email, false)
		}
		for _, wait := range []time.Duration{
			30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute,
			time.Hour, time.Hour, time.Hour,
		} {
			requireWait(t, p, email, wait)
			now.turn(time.Second)
			requireWait(t, p, email, wait-time.Second) // being refused costs nothing
			now.turn(wait - time.Second - time.Millisecond)
			requireWait(t, p, email, time.Millisecond)
			requireEvaluated(t, p, "other@example.com", true) // somebody else is not concerned
			now.turn(time.Millisecond)
			requireEvaluated(t, p, email, false)
		}
		now.turn(time.Hour)
		requireEvaluated(t, p, email, true)
		for range 10 {
			requireEvaluated(t, p, email, false) // a success cleared the count
		}
		requireWait(t, p, email, 30*time.Second)
	})
}

func TestRowOfACount(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		now := newClock()
		p := limits.NewPasswords(now.env(db), limits.Guesses{Free: 1, Wait: time.Second, MaxWait: time.Second})
		// A count is not swept while somebody still has to wait for it.
		patient := limits.NewPasswords(now.env(db), limits.Guesses{Free: 1, Wait: 30 * 24 * time.Hour})
		requireEvaluated(t, patient, "patient@example.com", false)
		assert.Contains(t, db.Dump("limits"), fmt.Sprintf("expires_day=%d", now.day()+37))
		_, err := db.Backend.Query(t.Context(), "DELETE FROM {p}limits")
		require.NoError(t, err)

		sum := sha256.Sum256([]byte("public\x00me@example.com"))
		key := base64.RawURLEncoding.EncodeToString(sum[:])
		row := func(failures int, blockedUntil, day int64) string {
			return fmt.Sprintf("limits scope=password key=%s times= failures=%d blocked_until=%d expires_day=%d", key, failures, blockedUntil, day)
		}
		requireEvaluated(t, p, "me@example.com", false)
		assert.Equal(t, row(1, 0, now.day()+7), db.Dump("limits"))
		now.turn(24 * time.Hour)
		requireEvaluated(t, p, "me@example.com", false)
		assert.Equal(t, row(2, now.Now().UnixMilli()+1000, now.day()+7), db.Dump("limits"))
		now.turn(time.Second)
		requireEvaluated(t, p, "me@example.com", true)
		assert.Equal(t, row(0, 0, now.day()+7), db.Dump("limits"))

		other, err := p.Take(t.Context(), "acme", "me@example.com")
		require.NoError(t, err)
		other.Release()
		assert.Equal(t, 2, db.Rows("limits"), "each tenant counts by itself")
	})
}

func TestStatementsOfAnAttempt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := limits.NewPasswords(newClock().env(db), limits.Guesses{Free: 1})
		count := func() int {
			defer db.Probe.Reset()
			return db.Probe.Count()
		}
		requireEvaluated(t, p, "me@example.com", false)
		assert.Equal(t, 1, count(), "a wrong one")
		requireEvaluated(t, p, "me@example.com", true)
		assert.Equal(t, 2, count(), "a right one")
		requireEvaluated(t, p, "me@example.com", false)
		requireEvaluated(t, p, "me@example.com", false)
		count()
		requireWait(t, p, "me@example.com", 30*time.Second)
		assert.Equal(t, 2, count(), "one refused")
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	now := newClock()
	const longest time.Duration = 1<<63 - 1
	for _, c := range []struct {
		guesses limits.Guesses
		waits   []time.Duration
	}{
		{limits.Guesses{Wait: 45 * time.Second, MaxWait: 100 * time.Second},
			[]time.Duration{45 * time.Second, 90 * time.Second, 100 * time.Second, 100 * time.Second}},
		{limits.Guesses{Wait: time.Minute, MaxWait: time.Minute}, []time.Duration{time.Minute, time.Minute, time.Minute}},
		{limits.Guesses{Wait: 2 * time.Hour}, []time.Duration{2 * time.Hour, 2 * time.Hour}}, // the default of MaxWait is less
		{limits.Guesses{Free: 3, MaxWait: 45 * time.Second}, []time.Duration{30 * time.Second, 45 * time.Second, 45 * time.Second}},
		{limits.Guesses{Free: 1, Wait: 1 << 62, MaxWait: longest}, // 146 and 292 years
			[]time.Duration{time.Duration(1 << 62).Truncate(time.Millisecond), longest.Truncate(time.Millisecond)}},
		{limits.Guesses{Free: 100, Wait: time.Millisecond, MaxWait: 1000 * time.Hour}, []time.Duration{
			time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond}},
	} {
		email := fmt.Sprint(c.guesses)
		p := limits.NewPasswords(now.env(db), c.guesses)
		free := c.guesses.Free
		if free == 0 {
			free = 9
		}
		for range free + 1 {
			requireEvaluated(t, p, email, false)
		}
		for _, wait := range c.waits {
			requireWait(t, p, email, wait)
			now.turn(wait)
			requireEvaluated(t, p, email, false)
		}
	}

	p := limits.NewPasswords(now.env(db), limits.Guesses{Free: 1, Off: true})
	db.Probe.Reset()
	for range 200 {
		requireEvaluated(t, p, "me@example.com", false)
		requireEvaluated(t, p, "me@example.com", true)
	}
	assert.Zero(t, db.Probe.Count())
}

// L-03, L-09: of 100 wrong passwords that arrive at once, ten are evaluated.
func TestWrongPasswordsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := limits.NewPasswords(newClock().env(db), limits.Guesses{})
		assert.EqualValues(t, 10, evaluatedAtOnce(t, 100, false, p))
		assert.EqualValues(t, 0, evaluatedAtOnce(t, 100, true, p), "right ones wait too")
	})
}

// The same for two processes.
func TestWrongPasswordsInTwoProcesses(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		now := newClock()
		again := db.Again(storetest.Keys(t, "k1"))
		one, two := limits.NewPasswords(now.env(db), limits.Guesses{}), limits.NewPasswords(now.env(again), limits.Guesses{})
		assert.EqualValues(t, 10, evaluatedAtOnce(t, 100, false, one, two))

		third := limits.NewPasswords(now.env(db.Again(storetest.Keys(t, "k1"))), limits.Guesses{})
		requireWait(t, third, "me@example.com", 30*time.Second) // a restart forgets nothing
	})
}

// Right passwords that arrive at once do not count against each other.
func TestRightPasswordsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := limits.NewPasswords(newClock().env(db), limits.Guesses{})
		assert.EqualValues(t, 100, evaluatedAtOnce(t, 100, true, p))
	})
}

func evaluatedAtOnce(t *testing.T, n int, right bool, processes ...*limits.Passwords) int64 {
	t.Helper()
	var evaluated atomic.Int64
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			ok, _, err := attempt(context.Background(), processes[i%len(processes)], "me@example.com", right)
			if assert.NoError(t, err) && ok {
				evaluated.Add(1)
			}
		})
	}
	wait.Wait()
	return evaluated.Load()
}

// L-04: a rollback would lose the count.
func TestAttemptInATransaction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, off := range []bool{false, true} {
			p := limits.NewPasswords(newClock().env(db), limits.Guesses{Off: off})
			err := db.Backend.Tx(t.Context(), func(ctx context.Context) error {
				_, err := p.Take(ctx, "public", "me@example.com")
				return err
			})
			require.ErrorIs(t, err, store.ErrInsideTx)
			assert.Zero(t, db.Rows("limits"))
		}
	})
}

// L-05: without the count there is no attempt.
func TestFailingCount(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := limits.NewPasswords(newClock().env(db), limits.Guesses{Free: 1})
		db.Probe.FailAt(1)
		_, err := p.Take(t.Context(), "public", "me@example.com")
		require.ErrorIs(t, err, storetest.ErrInjected)
		assert.Zero(t, db.Rows("limits"))

		requireEvaluated(t, p, "me@example.com", false) // the turn was given back
		requireEvaluated(t, p, "me@example.com", false)
		db.Probe.FailAt(2)
		_, err = p.Take(t.Context(), "public", "me@example.com")
		require.ErrorIs(t, err, storetest.ErrInjected, "how long the wait is")
	})
}

// L-04: who hangs up does not get the attempt back, and a right password is cleared even then.
func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := limits.NewPasswords(newClock().env(db), limits.Guesses{Free: 1})
		ctx, hangUp := context.WithCancel(t.Context())
		wrong, err := p.Take(ctx, "public", "me@example.com")
		require.NoError(t, err)
		hangUp()
		wrong.Release()
		assert.Contains(t, db.Dump("limits"), "failures=1")

		ctx, hangUp = context.WithCancel(t.Context())
		right, err := p.Take(ctx, "public", "me@example.com")
		require.NoError(t, err)
		hangUp()
		require.NoError(t, right.Clear(ctx))
		right.Release()
		assert.Contains(t, db.Dump("limits"), "failures=0 blocked_until=0")

		_, err = p.Take(ctx, "public", "me@example.com")
		require.ErrorIs(t, err, context.Canceled)
	})
}

// I-05: a clock that jumps back shortens no wait.
func TestClockBackwards(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		now := newClock()
		p := limits.NewPasswords(now.env(db), limits.Guesses{Free: 1})
		requireEvaluated(t, p, "me@example.com", false)
		requireEvaluated(t, p, "me@example.com", false)
		now.turn(-time.Minute)
		requireWait(t, p, "me@example.com", 90*time.Second)
	})
}
