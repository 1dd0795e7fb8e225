package mfa_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// I-05: a clock that jumps back opens nothing: no used code, no spent budget, no wait, and no session; when it is right again everything is as it was.
func TestAClockThatJumpsBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		c, secret := b.enrolled(ada)
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
		for _, back := range []time.Duration{time.Second, 30 * time.Second, time.Minute, time.Hour, 24 * time.Hour} {
			used := b.now()
			b.turn(-back)
			for _, code := range []time.Time{used, used.Add(-30 * time.Second), b.now()} {
				if !code.After(used) {
					require.True(t, c.VerifyTOTP(secret, code).Is("INVALID_TOTP_ERROR"), "%s back, the code of %s", back, code)
				}
			}
			require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
			b.turn(back)
		}

		// The claim: what was completed in the future does not count, and is not lost.
		require.True(t, c.V())
		b.turn(-time.Minute)
		next, _, _ := c.Info()
		require.Equal(t, []string{"totp"}, next)
		require.False(t, c.V())
		require.Equal(t, http.StatusForbidden, me(c))
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.False(t, c.V())
		err := b.session(c).AssertClaims(t.Context(), mfa.Claim.HasCompletedRequirementListWithin(time.Hour, factor.Requirements{factor.TOTP}))
		var invalid *session.InvalidClaimsError
		require.ErrorAs(t, err, &invalid)
		b.turn(time.Minute)
		next, _, _ = c.Info()
		require.Empty(t, next)
		require.True(t, c.V())
		require.Equal(t, []string{"emailpassword", "totp"}, c.Completed())

		// The budget of second factors.
		wrong := map[string]string{"totp": "abcdef"}
		for range 5 {
			require.True(t, c.Call("POST", "/auth/totp/verify", wrong).Is("INVALID_TOTP_ERROR"))
		}
		for _, back := range []time.Duration{time.Second, 14 * time.Minute, time.Hour, 1000 * time.Hour} {
			b.turn(-back)
			require.True(t, c.Call("POST", "/auth/totp/verify", wrong).Is("LIMIT_REACHED_ERROR"), back)
			require.IsType(t, &mfa.LimitReachedError{}, b.Attempt(t.Context(), b.session(c), "x", answer(true)))
			b.turn(back)
		}

		// The wait for a password.
		for range 10 {
			require.True(t, b.client().SignIn(ada, "wrong password 1").Is("WRONG_CREDENTIALS_ERROR"))
		}
		for _, back := range []time.Duration{time.Second, time.Minute, time.Hour, 1000 * time.Hour} {
			b.turn(-back)
			require.True(t, b.client().SignIn(ada, password).Is("GENERAL_ERROR"), back)
			b.turn(back)
		}
		b.turn(15 * time.Minute)
		require.True(t, c.SignIn(ada, password).Is("OK"))
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
	})
}

// A session of a machine whose clock is ahead: what it completed counts as soon as the time has come, here too.
func TestAMachineWhoseClockIsAhead(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody))
	c := b.signedUp(ada)
	s := b.session(c)
	b.turn(10 * time.Second)
	require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, factor.TOTP))
	b.turn(-10 * time.Second)
	requirements, err := b.GetMFARequirementsForAuth(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, factor.Requirements{factor.TOTP}, requirements)
	claim, _ := mfa.Claim.GetValue(s)
	require.False(t, claim.V)
	b.turn(5 * time.Second)
	_, err = b.GetMFARequirementsForAuth(t.Context(), s)
	require.NoError(t, err)
	claim, _ = mfa.Claim.GetValue(s)
	require.True(t, claim.V)
}
