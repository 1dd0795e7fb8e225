package mfa_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

func withPolicy(policy mfa.GetMFARequirementsForAuthFunc) func(*mfa.Config) {
	return func(cfg *mfa.Config) { cfg.GetMFARequirementsForAuth = policy }
}

// The main job, by header and by cookie.
func TestPasswordThenTOTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		for _, mode := range []string{"header", "cookie"} {
			email := mode + "@example.com"
			c := frontend.New(t, b.url, mode)
			c.SignUp(email, password)
			require.Equal(t, map[string]any{"c": map[string]any{"emailpassword": float64(b.now().Unix())}, "v": true}, c.Payload["st-mfa"])
			require.Equal(t, http.StatusOK, me(c))

			b.makeAdmin(c.UserID())
			require.Equal(t, http.StatusOK, me(c), "the open session stays open until it is evaluated anew")
			next, setUp, allowed := c.Info()
			require.Equal(t, []string{"totp"}, next)
			require.Equal(t, []string{"emailpassword"}, setUp)
			require.Equal(t, []string{"totp"}, allowed)
			require.False(t, c.V())
			refused := c.Call("GET", "/me", nil)
			require.Equal(t, http.StatusForbidden, refused.Status)
			require.JSONEq(t, `{"message":"invalid claim","claimValidationErrors":[{"id":"st-mfa","reason":{"message":"MFA requirement for auth is not satisfied"}}]}`, refused.Body)

			secret := c.EnrolTOTP(b.now())
			require.True(t, c.V())
			require.Equal(t, []string{"emailpassword", "totp"}, c.Completed())
			require.Equal(t, http.StatusOK, me(c))

			c.SignOut()
			require.Nil(t, c.Payload)
			require.Equal(t, http.StatusUnauthorized, me(c))
			require.True(t, c.SignIn(email, password).Is("OK"))
			require.False(t, c.V())
			require.Equal(t, []string{"emailpassword"}, c.Completed())
			require.Equal(t, http.StatusForbidden, me(c))
			b.turn(30 * time.Second)
			require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
			require.True(t, c.V())
			require.Equal(t, http.StatusOK, me(c))
		}
	})
}

// D-02: every method and an upgrade are refused while a factor is open; D-04: by whatever way the token comes.
func TestAHalfDoneSessionIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody))
	c := b.signedUp(ada)
	require.False(t, c.V())
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"} {
		require.Equal(t, http.StatusForbidden, c.Call(method, "/me", nil).Status, method)
	}
	carriers := map[string]func(*http.Request){
		"authorization": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.Access) },
		"cookie":        func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "sAccessToken", Value: c.Access}) },
		"upgrade": func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+c.Access)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
		},
		"both": func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+c.Access)
			r.AddCookie(&http.Cookie{Name: "sAccessToken", Value: c.Access})
		},
	}
	for name, carry := range carriers {
		req, err := http.NewRequest("GET", b.url+"/me", nil)
		require.NoError(t, err)
		carry(req)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, http.StatusForbidden, res.StatusCode, name)
	}
	// Where the token must not come from.
	req, err := http.NewRequest("GET", b.url+"/me?access_token="+c.Access, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
}

// C-03: nothing in a body, query or header completes a factor.
func TestTheClaimComesFromTheServerOnly(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody))
	planted := map[string]any{
		"formFields":                      []map[string]any{{"id": "email", "value": ada}, {"id": "password", "value": password}},
		"shouldTryLinkingWithSessionUser": false,
		"st-mfa":                          map[string]any{"c": map[string]any{"totp": 1}, "v": true},
		"c":                               map[string]any{"totp": 1}, "v": true,
		"accessTokenPayload": map[string]any{"st-mfa": map[string]any{"c": map[string]any{"totp": 1}, "v": true}},
		"factorIds":          []string{"totp"}, "factorId": "totp", "userId": "x", "session": map[string]any{"v": true},
	}
	c := b.client()
	for _, path := range []string{"/auth/signup", "/auth/signin", "/auth/mfa/info", "/auth/totp/device", "/auth/totp/verify"} {
		method := "POST"
		if path == "/auth/mfa/info" {
			method = "PUT"
		}
		c.Call(method, path+"?v=true", planted)
		require.False(t, c.V(), path)
		require.NotContains(t, c.Completed(), "totp", path)
	}
	c.RefreshSession()
	require.False(t, c.V())
	require.Equal(t, []string{"emailpassword"}, c.Completed())
}

// D-06: what expires in the middle starts over at the first factor.
func TestASessionThatExpiresDuringTheSecondStep(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody))
	c, secret := b.enrolled(ada)
	c.SignOut()
	require.True(t, c.SignIn(ada, password).Is("OK"))
	b.turn(101 * 24 * time.Hour)
	r := c.VerifyTOTP(secret, b.now())
	require.Equal(t, http.StatusUnauthorized, r.Status)
	require.Nil(t, c.Payload, "the client was told that the session is over")
	require.True(t, c.SignIn(ada, password).Is("OK"))
	require.False(t, c.V())
	require.Equal(t, []string{"emailpassword"}, c.Completed())
}

// D-08: however the address is typed, the person's requirements hold.
func TestOneRequirementForEverySpelling(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(admins))
	c := b.signedUp(ada)
	b.makeAdmin(c.UserID())
	for _, spelling := range []string{ada, "ADA@EXAMPLE.COM", "  Ada@Example.com ", "\tada@EXAMPLE.com\n"} {
		other := b.client()
		require.True(t, other.SignIn(spelling, password).Is("OK"), spelling)
		require.Equal(t, c.UserID(), other.UserID())
		require.False(t, other.V(), spelling)
	}
}

// The default policy: any one of the user's and the tenant's factors.
func TestTheDefaultPolicy(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c := b.signedUp(ada)
		requirements, err := b.GetMFARequirementsForAuth(t.Context(), b.session(c))
		require.NoError(t, err)
		require.Equal(t, factor.Requirements{factor.OneOf{}}, requirements)

		require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
		require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "my-factor"))
		require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
		list, err := b.GetRequiredSecondaryFactorsForUser(t.Context(), c.UserID())
		require.NoError(t, err)
		require.Equal(t, []factor.ID{factor.TOTP, "my-factor"}, list)
		requirements, err = b.GetMFARequirementsForAuth(t.Context(), b.session(c))
		require.NoError(t, err)
		require.Equal(t, factor.Requirements{factor.OneOf{factor.TOTP, "my-factor"}}, requirements)
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.False(t, c.V())

		require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
		require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "my-factor"))
		require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "my-factor"))
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.True(t, c.V())
		metadata, err := b.UserMetadata().GetUserMetadata(t.Context(), c.UserID())
		require.NoError(t, err)
		require.Equal(t, map[string]any{"_supertokens": map[string]any{"requiredSecondaryFactors": []any{}}}, metadata)
	})
}

// What the policy is given, and that nothing is read that it does not ask for.
func TestTheInputsOfThePolicy(t *testing.T) {
	t.Parallel()
	var in mfa.GetMFARequirementsForAuthInput
	var bound *mfa.MFA
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(ctx context.Context, given mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		in, bound = given, mfa.FromContext(ctx)
		return nil, nil
	}))
	c := b.signedUp(ada)
	require.Same(t, b.MFA, bound)
	assert.Equal(t, "public", in.TenantID)
	assert.Equal(t, factor.Completed{factor.EmailPassword: b.now()}, in.CompletedFactors)
	require.NotNil(t, in.AccessTokenPayload)

	// The payload is a private copy, to its depth.
	s := b.session(c)
	require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"groups": []any{"a", map[string]any{"b": 1}}}))
	for range 2 {
		_, err := b.GetMFARequirementsForAuth(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, s.AccessTokenPayload(), in.AccessTokenPayload)
		in.AccessTokenPayload["sub"] = "somebody else"
		in.AccessTokenPayload["st-mfa"].(map[string]any)["c"].(map[string]any)["totp"] = float64(1)
		groups := in.AccessTokenPayload["groups"].([]any)
		groups[0], groups[1].(map[string]any)["b"] = "changed", "changed"
		in.CompletedFactors["totp"] = b.now()
	}

	b.db.Probe.Reset()
	_, err := b.GetMFARequirementsForAuth(t.Context(), s)
	require.NoError(t, err)
	require.Zero(t, b.db.Probe.Count(), b.db.Probe.Statements())
	require.Equal(t, c.UserID(), in.AccessTokenPayload["sub"])
	require.Equal(t, s.Handle(), in.AccessTokenPayload["sessionHandle"])

	user, err := in.User(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{ada}, user.Emails)
	setUp, err := in.FactorsSetUpForUser(t.Context())
	require.NoError(t, err)
	require.Equal(t, []factor.ID{factor.EmailPassword}, setUp)
	roles, err := in.Roles(t.Context())
	require.NoError(t, err)
	require.Empty(t, roles)
	before := b.db.Probe.Count()
	for range 3 {
		_, err = in.User(t.Context())
		require.NoError(t, err)
		_, err = in.Roles(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, before, b.db.Probe.Count(), "each is asked once")
}
