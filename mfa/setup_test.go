package mfa_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// fakeFactors offers factors that are set up as a test says.
type fakeFactors struct{ setUp *[]factor.ID }

func (f fakeFactors) Attach(*mfa.MFA) (mfa.Registration, error) {
	return mfa.Registration{
		RecipeID: "fake", SecondaryFactors: []factor.ID{"a", "b", "c"},
		FactorsSetUpForUser: func(context.Context, *accountlinking.User) ([]factor.ID, error) { return *f.setUp, nil },
	}, nil
}

// F-01: the matrix of claim, set-up state and factor.
func TestWhatMayBeSetUp(t *testing.T) {
	t.Parallel()
	const (
		open    = "Completed factors in the session does not satisfy the MFA requirements for auth"
		notNext = "Not allowed to setup factor that is not in the next set of unsatisfied factors"
	)
	type set = []factor.ID
	tests := map[string]struct {
		requirements     factor.Requirements
		completed, setUp set
		refused          map[factor.ID]string // reason; the others of a, b, c are allowed
	}{
		"one, nothing set up":            {factor.Requirements{factor.ID("a")}, nil, nil, map[factor.ID]string{"b": notNext, "c": notNext}},
		"one, it is set up":              {factor.Requirements{factor.ID("a")}, nil, set{"a"}, map[factor.ID]string{"a": open, "b": open, "c": open}},
		"one of two, one is set up":      {factor.Requirements{factor.OneOf{"a", "b"}}, nil, set{"b"}, map[factor.ID]string{"a": open, "b": open, "c": open}},
		"then another that is set up":    {factor.Requirements{factor.OneOf{"a", "b"}, factor.ID("c")}, nil, set{"c"}, map[factor.ID]string{"c": notNext}},
		"all of two, one done":           {factor.Requirements{factor.AllOfInAnyOrder{"a", "b"}}, set{"b"}, set{"b"}, map[factor.ID]string{"b": notNext, "c": notNext}},
		"nothing required":               {nil, nil, nil, nil},
		"nothing required, all set up":   {nil, nil, set{"a", "b", "c"}, nil},
		"all done":                       {factor.Requirements{factor.ID("a")}, set{"a"}, set{"a"}, nil},
		"done early, the first is open":  {factor.Requirements{factor.ID("a"), factor.ID("b")}, set{"b"}, set{"a", "b"}, map[factor.ID]string{"a": open, "b": open, "c": open}},
		"the second item, nothing there": {factor.Requirements{factor.ID("a"), factor.ID("b")}, set{"a"}, set{"a"}, map[factor.ID]string{"a": notNext, "c": notNext}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				return test.requirements, nil
			}), func(cfg *mfa.Config) { cfg.Factors = append(slices.Clone(cfg.Factors), fakeFactors{&test.setUp}) })
			c := b.signedUp(ada)
			s := b.session(c)
			for _, id := range test.completed {
				require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, id))
			}
			for _, id := range []factor.ID{"a", "b", "c"} {
				err := b.AssertAllowedToSetupFactor(t.Context(), s, id)
				reason, refused := test.refused[id]
				if !refused {
					require.NoError(t, err, id)
					continue
				}
				var invalid *session.InvalidClaimsError
				require.ErrorAs(t, err, &invalid, id)
				require.Equal(t, []session.ClaimValidationError{{ID: "st-mfa", Reason: reason}}, invalid.Errors, id)
			}
		})
	}
}

// A v that is out of date opens nothing: the present requirements decide.
func TestSetUpLooksAtThePresentRequirements(t *testing.T) {
	t.Parallel()
	setUp := []factor.ID{"a"}
	var list factor.Requirements
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		return list, nil
	}), func(cfg *mfa.Config) { cfg.Factors = append(slices.Clone(cfg.Factors), fakeFactors{&setUp}) })
	c := b.signedUp(ada)
	s := b.session(c)
	list = factor.Requirements{factor.ID("a")}
	claim, _ := mfa.Claim.GetValue(s)
	require.True(t, claim.V)
	require.Error(t, b.AssertAllowedToSetupFactor(t.Context(), s, "b"))
	claim, _ = mfa.Claim.GetValue(s)
	require.False(t, claim.V, "and the claim was brought up to date")
	require.Equal(t, http.StatusForbidden, c.Call("POST", "/auth/totp/device", map[string]any{}).Status)
}

func TestMarkFactorAsComplete(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		c := b.signedUp(ada)
		s := b.session(c)
		for _, bad := range []factor.ID{"", "passwordless", "a b", "ä", "\x00"} {
			var badInput *session.BadInputError
			require.ErrorAs(t, b.MarkFactorAsCompleteInSession(t.Context(), s, bad), &badInput, "%q", bad)
		}
		b.events()
		b.turn(90 * time.Second)
		require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, "my-factor"))
		require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, factor.TOTP))
		require.Equal(t, []string{"factor.completed my-factor true", "factor.completed totp true"}, b.events())
		claim, ok := mfa.Claim.GetValue(s)
		require.True(t, ok)
		require.Equal(t, mfa.ClaimValue{V: true, C: factor.Completed{
			factor.EmailPassword: b.now().Add(-90 * time.Second), "my-factor": b.now(), factor.TOTP: b.now(),
		}}, claim)
		tokens := s.AllSessionTokensDangerously()
		require.True(t, tokens.AccessAndFrontTokenUpdated, "S-01: completing a factor issues a new access token")
		require.NotEqual(t, c.Access, tokens.AccessToken)

		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.Equal(t, []string{"emailpassword", "my-factor", "totp"}, c.Completed(), "a refresh keeps what was done")
		require.True(t, c.V())
	})
}

// Factors completed at once with one token, on two machines, are all kept.
func TestFactorsCompletedInParallel(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		machines := b.machines()
		c := b.signedUp(ada)
		const n = 20
		errs := make(chan error, n)
		for i := range n {
			m := machines[i%len(machines)]
			s := m.session(c)
			go func() {
				errs <- m.MarkFactorAsCompleteInSession(context.Background(), s, factor.ID("factor-"+string(rune('a'+i))))
			}()
		}
		for range n {
			require.NoError(t, <-errs)
		}
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.Len(t, c.Completed(), n+1)
	})
}
