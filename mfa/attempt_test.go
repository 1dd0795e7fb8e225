package mfa_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/session"
)

func answer(right bool) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) { return right, nil }
}

// R-03, L-06 and L-07: a factor of the host's own spends the budget of TOTP, and the reverse.
func TestAttemptSharesTheBudgetOfTOTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c, secret := b.enrolled(ada)
		s := b.session(c)
		wrong := func() error { return b.Attempt(t.Context(), s, "recovery-code", answer(false)) }

		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 1, MaxNumberOfFailedAttempts: 5}, wrong())
		require.True(t, c.Call("POST", "/auth/totp/verify", map[string]string{"totp": "abcdef"}).Is("INVALID_TOTP_ERROR"))
		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 3, MaxNumberOfFailedAttempts: 5}, wrong())
		r := c.Call("POST", "/auth/totp/verify", map[string]string{"totp": ""})
		require.JSONEq(t, `{"status":"INVALID_TOTP_ERROR","currentNumberOfFailedAttempts":4,"maxNumberOfFailedAttempts":5}`, r.Body)
		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 5, MaxNumberOfFailedAttempts: 5}, wrong())

		ran := false
		err := b.Attempt(t.Context(), s, "recovery-code", func(context.Context) (bool, error) { ran = true; return true, nil })
		require.Equal(t, &mfa.LimitReachedError{RetryAfter: 15 * time.Minute}, err)
		require.False(t, ran, "nothing is checked while the budget is spent")
		r = c.VerifyTOTP(secret, b.now())
		require.JSONEq(t, `{"status":"LIMIT_REACHED_ERROR","retryAfterMs":900000}`, r.Body, "a right code is refused too")
		require.True(t, b.client().SignIn(ada, password).Is("OK"), "the first factor stays usable")

		b.turn(15 * time.Minute)
		require.NoError(t, b.Attempt(t.Context(), s, "recovery-code", answer(true)))
		claim, _ := mfa.Claim.GetValue(s)
		require.False(t, claim.C.Has("recovery-code"), "it completes nothing by itself")
		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 1, MaxNumberOfFailedAttempts: 5}, wrong(), "a right one clears the count")
	})
}

func TestAttemptThatGoesWrong(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		s := b.session(b.signedUp(ada))
		away := errors.New("the host's table is away")
		require.ErrorIs(t, b.Attempt(t.Context(), s, "x", func(context.Context) (bool, error) { return true, away }), away)
		require.Panics(t, func() { b.Attempt(t.Context(), s, "x", func(context.Context) (bool, error) { panic("bug") }) })
		ctx, cancel := context.WithCancel(t.Context())
		b.Attempt(ctx, s, "x", func(context.Context) (bool, error) { cancel(); return false, nil })
		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 4, MaxNumberOfFailedAttempts: 5},
			b.Attempt(t.Context(), s, "x", answer(false)), "each of them stays counted")

		// L-04: inside a transaction of the host's nothing is checked or counted.
		tx, err := hostTx(db)
		require.NoError(t, err)
		err = b.Attempt(db.WithTx(t.Context(), tx), s, "x", func(context.Context) (bool, error) { t.Error("checked"); return true, nil })
		require.ErrorIs(t, err, storage.ErrInsideTx)
		require.NoError(t, tx.Rollback())
		require.Equal(t, &mfa.WrongCodeError{CurrentNumberOfFailedAttempts: 5, MaxNumberOfFailedAttempts: 5}, b.Attempt(t.Context(), s, "x", answer(false)))

		var bad *session.BadInputError
		require.ErrorAs(t, b.Attempt(t.Context(), s, "no id", answer(true)), &bad)
	})
}

// L-05: without its count there is no check.
func TestAttemptWithoutItsStore(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	s := b.session(b.signedUp(ada))
	for n := 1; n <= 2; n++ {
		b.db.Probe.FailAt(n)
		err := b.Attempt(t.Context(), s, "x", func(context.Context) (bool, error) { t.Error("checked"); return true, nil })
		require.ErrorIs(t, err, storetest.ErrInjected)
	}
}

// L-03, L-06: of 100 at once, on two machines and in two sessions, no more are checked than the one budget has.
func TestAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		machines := b.machines()
		c := b.signedUp(ada)
		sessions := []*session.Session{b.session(c)}
		require.True(t, c.SignIn(ada, password).Is("OK"))
		sessions = append(sessions, machines[len(machines)-1].session(c))
		var checked atomic.Int64
		done := make(chan error, 100)
		for i := range 100 {
			go func() {
				done <- machines[i%len(machines)].Attempt(context.Background(), sessions[i/2%2], "x", func(context.Context) (bool, error) {
					checked.Add(1)
					return false, nil
				})
			}()
		}
		limited := 0
		for range 100 {
			if _, ok := errors.AsType[*mfa.LimitReachedError](<-done); ok {
				limited++
			}
		}
		require.EqualValues(t, 5, checked.Load())
		require.Equal(t, 95, limited)
	})
}

// L-01: after 100 in a row only ResetAttempts helps; C: the events that tell of it (G-03).
func TestTheFullStop(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c, secret := b.enrolled(ada)
		s := b.session(c)
		b.events()
		known := 0
		for n := 1; n <= 100; n++ {
			err := b.Attempt(t.Context(), s, "x", answer(false))
			var wrong *mfa.WrongCodeError
			require.ErrorAs(t, err, &wrong, n)
			if wrong.CurrentNumberOfFailedAttempts == 5 {
				b.turn(15 * time.Minute)
			}
		}
		for _, e := range b.events() {
			if e == "password.known emailpassword false limited" {
				known++
			}
		}
		require.Equal(t, 20, known, "once for each budget that was spent after a right password")
		b.turn(1000 * time.Hour)
		require.True(t, c.SignIn(ada, password).Is("OK"))
		s = b.session(c)
		b.events()
		require.Equal(t, &mfa.LimitReachedError{RetryAfter: 15 * time.Minute}, b.Attempt(t.Context(), s, "x", answer(true)))
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("LIMIT_REACHED_ERROR"))
		require.Equal(t, []string{"factor.checked x false stopped", "factor.checked totp false stopped"}, b.events())

		require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
		require.Equal(t, []string{"attempts.reset true"}, b.events())
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
	})

	off := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) {
		cfg.Limits = mfa.Limits{InsecureNoGuessLimits: true, MaxAttempts: 2}
	})
	s := off.session(off.signedUp(ada))
	for range 102 {
		off.Attempt(t.Context(), s, "x", answer(false))
		off.turn(15 * time.Minute)
	}
	require.NoError(t, off.Attempt(t.Context(), s, "x", answer(true)), "the stop is off, MaxAttempts is not")
	require.NoError(t, off.MarkFactorAsCompleteInSession(t.Context(), s, factor.ID("x")))
}
