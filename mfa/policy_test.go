package mfa_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// C-02: whatever error a policy returns, it is answered as what it is, but at a refresh, where front ends understand only the end of the session and a
// failure; and wherever it was asked nothing opens, nothing is written and nothing is rotated.
func TestPoliciesThatRefuse(t *testing.T) {
	t.Parallel()
	const failed = `{"message":"internal error"}`
	const over = `{"message":"unauthorised"}`
	for name, test := range map[string]struct {
		err            error
		status         int
		body           string
		refresh        int
		refreshed      string
		noMoreSessions bool
	}{
		"an error":      {err: errors.New("away"), status: 500, body: failed, refresh: 500, refreshed: failed},
		"the deadline":  {err: context.DeadlineExceeded, status: 500, body: failed, refresh: 500, refreshed: failed},
		"bad input":     {err: &session.BadInputError{Message: "bad"}, status: 400, body: `{"message":"bad"}`, refresh: 500, refreshed: failed},
		"a tenant":      {err: session.ErrTenantNotFound, status: 400, body: `{"message":"Tenant not found"}`, refresh: 500, refreshed: failed},
		"try refresh":   {err: &session.TryRefreshTokenError{}, status: 401, body: `{"message":"try refresh token"}`, refresh: 500, refreshed: failed},
		"unauthorised":  {err: &session.UnauthorisedError{}, status: 401, body: over, refresh: 401, refreshed: over, noMoreSessions: true},
		"refusal":       {err: session.NewRefusal("BANNED", "x"), status: 200, body: `{"status":"BANNED"}`, refresh: 500, refreshed: failed},
		"general error": {err: &session.GeneralError{Message: "Pay first"}, status: 200, body: `{"status":"GENERAL_ERROR","message":"Pay first"}`, refresh: 500, refreshed: failed},
		"a claim": {err: &session.InvalidClaimsError{Errors: []session.ClaimValidationError{{ID: "x"}}}, status: 403,
			body: `{"message":"invalid claim","claimValidationErrors":[{"id":"x"}]}`, refresh: 500, refreshed: failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			var refused error
			b := newBundle(t, db, withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				return nil, refused
			}))
			c := b.signedUp(ada)
			s, err := b.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: session.RecipeUserID(c.UserID())})
			require.NoError(t, err)
			before := db.Dump("sessions")
			refused = test.err

			for _, r := range []struct{ method, path, body, token string }{
				{"POST", "/auth/signin", doors["POST /signin"].body, ""},
				{"PUT", "/auth/mfa/info", "", c.Access},
				{"POST", "/auth/totp/device", "", c.Access},
				{"GET", "/me", "", s.AccessToken()}, // it has no claim yet
			} {
				header := map[string]string{"st-auth-mode": "header"}
				if r.token != "" {
					header["Authorization"] = "Bearer " + r.token
				}
				got := send(t, b.url, r.method, r.path, r.body, header)
				require.Equal(t, test.status, got.Status, "%s: %s", r.path, got.Body)
				require.JSONEq(t, test.body, got.Body, r.path)
				require.Empty(t, got.Header.Get("st-access-token"), r.path)
				if front := got.Header.Get("front-token"); front != "" {
					require.Equal(t, "remove", front, r.path)
				}
			}
			require.Error(t, b.MarkFactorAsCompleteInSession(t.Context(), b.session(c), "x"))
			require.Error(t, b.ReevaluateSessionsOfUser(t.Context(), c.UserID()))
			_, err = b.Sessions().RefreshSessionWithoutRequestResponse(t.Context(), session.RefreshSessionInput{RefreshToken: c.Refresh})
			require.ErrorContains(t, err, test.err.Error())
			held := c.Clone()
			r := held.RefreshSession()
			require.Equal(t, test.refresh, r.Status)
			require.JSONEq(t, test.refreshed, r.Body)
			require.Equal(t, test.noMoreSessions, held.Payload == nil, "the client keeps its tokens unless the session is over")
			require.Equal(t, before, db.Dump("sessions"))

			refused = nil
			require.Equal(t, http.StatusOK, c.RefreshSession().Status, "the token was not rotated")
			require.True(t, c.SignIn(ada, password).Is("OK"))
		})
	}
}

// The policy is asked about what is so now, however the session came to be asked about: a function of the host's that is fed with one at a time.
func TestAFlowInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(_ context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		if !in.CompletedFactors.Has("first") {
			return factor.Requirements{factor.ID("first")}, nil
		}
		return factor.Requirements{factor.ID("second")}, nil
	}))
	c := b.signedUp(ada)
	s := b.session(c)
	require.False(t, c.V())
	for _, step := range []struct {
		id factor.ID
		v  bool
	}{{"second", false}, {"first", true}} { // completed early, it counts when it is reached
		require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, step.id))
		claim, _ := mfa.Claim.GetValue(s)
		require.Equal(t, step.v, claim.V, step.id)
	}
}

// What is remembered of one evaluation is not remembered for the next, and an input's error is as lasting as its value.
func TestInputsAreAskedOncePerEvaluation(t *testing.T) {
	t.Parallel()
	asked := 0
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		for range 3 {
			if _, err := in.FactorsSetUpForUser(ctx); err == nil {
				return nil, errors.New("the error was forgotten")
			}
		}
		return nil, nil
	}), func(cfg *mfa.Config) {
		cfg.Override.Functions = func(_ mfa.Functions, functions *mfa.Functions) {
			functions.GetFactorsSetupForUser = func(context.Context, mfa.GetFactorsSetupForUserInput) ([]factor.ID, error) {
				asked++
				return nil, errors.New("away")
			}
		}
	})
	c := b.signedUp(ada)
	require.Equal(t, 1, asked)
	b.turn(time.Hour)
	require.Equal(t, http.StatusOK, c.RefreshSession().Status)
	require.Equal(t, 2, asked)
}
