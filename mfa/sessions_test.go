package mfa_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

// C-07: what changes for a user binds at the next refresh or MFA-info call, and with ReevaluateSessionsOfUser in all sessions at once.
func TestWhenAChangeBinds(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		phone := b.signedUp(ada)
		laptop := b.client()
		require.True(t, laptop.SignIn(ada, password).Is("OK"))
		b.makeAdmin(phone.UserID())
		require.Equal(t, http.StatusOK, me(phone), "the access token in hand says v until it ends")
		b.turn(time.Hour + time.Second)
		require.Equal(t, http.StatusForbidden, me(phone), "its refresh asked the policy")
		laptop.Info()
		require.False(t, laptop.V())

		// At once, for routes that ask the database.
		other := b.signedUp("bob@example.com")
		_, err := b.UserRoles().AddRoleToUser(t.Context(), "public", other.UserID(), "admin")
		require.NoError(t, err)
		require.NoError(t, b.ReevaluateSessionsOfUser(t.Context(), other.UserID()))
		_, err = b.Sessions().GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{
			AccessToken: other.Access, Options: session.VerifyOptions{CheckDatabase: true},
		})
		var invalid *session.InvalidClaimsError
		require.ErrorAs(t, err, &invalid)
		require.NoError(t, b.ReevaluateSessionsOfUser(t.Context(), "nobody"))
	})
}

// C-08 and D-05: a removed factor leaves every session of the user, however often the tokens were verified before.
func TestARemovedFactorLeavesAllSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		phone, secret := b.enrolled(ada)
		laptop := b.client()
		require.True(t, laptop.SignIn(ada, password).Is("OK"))
		require.True(t, laptop.VerifyTOTP(secret, b.now()).Is("OK"))
		require.Equal(t, http.StatusOK, me(laptop))
		require.Equal(t, http.StatusOK, me(phone))

		r := phone.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": "TOTP Device 1"})
		require.JSONEq(t, `{"status":"OK","didDeviceExist":true}`, r.Body)
		require.False(t, phone.V(), "the session that did it changes at once")
		require.Equal(t, []string{"emailpassword"}, phone.Completed())
		require.Equal(t, http.StatusForbidden, me(phone))
		require.Equal(t, http.StatusOK, laptop.RefreshSession().Status)
		require.False(t, laptop.V())
		require.Equal(t, []string{"emailpassword"}, laptop.Completed())
		require.NotContains(t, db.Dump("sessions"), `"totp"`)

		// F-08: an administrator's reset keeps the requirement; the next sign-in asks for enrolment.
		next, setUp, allowed := laptop.Info()
		require.Equal(t, []string{"totp"}, next)
		require.Equal(t, []string{"emailpassword"}, setUp)
		require.Equal(t, []string{"totp"}, allowed)
	})
}

// C-08: what another request took out of the session binds at the next MFA-info call too, though its access token still says the factor was completed.
func TestMFAInfoShowsWhatWasTakenElsewhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		phone, secret := b.enrolled(ada)
		laptop := b.client()
		require.True(t, laptop.SignIn(ada, password).Is("OK"))
		require.True(t, laptop.VerifyTOTP(secret, b.now()).Is("OK"))
		require.True(t, phone.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": "TOTP Device 1"}).Is("OK"))

		require.Equal(t, http.StatusOK, me(laptop), "its access token")
		db.Probe.Reset()
		next, _, _ := laptop.Info()
		require.LessOrEqual(t, db.Probe.Count(), 3)
		require.Equal(t, []string{"totp"}, next)
		require.False(t, laptop.V())
		require.Equal(t, []string{"emailpassword"}, laptop.Completed())
		require.Equal(t, http.StatusForbidden, me(laptop))

		// A session that was ended elsewhere is over.
		_, err := b.Sessions().RevokeSession(t.Context(), b.session(laptop).Handle())
		require.NoError(t, err)
		laptop.NoRefresh = true
		r := laptop.Call("PUT", "/auth/mfa/info", map[string]any{})
		require.Equal(t, http.StatusUnauthorized, r.Status)
		require.Nil(t, laptop.Payload)
	})
}

// A session that the application made itself is judged when it is first verified: it began with the factor of its login method.
func TestASessionOfTheHostsOwn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		c := b.signedUp(ada)
		create := func(id session.RecipeUserID, tenantID string) *session.Session {
			t.Helper()
			s, err := b.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: id, TenantID: tenantID})
			require.NoError(t, err)
			return s
		}
		s := create(session.RecipeUserID(c.UserID()), "")
		_, ok := mfa.Claim.GetValue(s)
		require.False(t, ok)
		created := b.now()
		b.turn(5 * time.Minute)
		require.NoError(t, s.AssertClaims(t.Context(), mfa.Claim.HasCompletedMFARequirementsForAuth()))
		claim, ok := mfa.Claim.GetValue(s)
		require.True(t, ok)
		require.Equal(t, mfa.ClaimValue{C: factor.Completed{factor.EmailPassword: created}, V: true}, claim)

		// So is one that first completes a factor.
		s = create(session.RecipeUserID(c.UserID()), "")
		require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), s, "x"))
		claim, _ = mfa.Claim.GetValue(s)
		require.Equal(t, factor.Completed{factor.EmailPassword: b.now(), "x": b.now()}, claim.C)

		// By its handle alone.
		s = create(session.RecipeUserID(c.UserID()), "")
		require.NoError(t, b.Sessions().FetchAndSetClaim(t.Context(), s.Handle(), mfa.Claim))
		info, err := b.Sessions().GetSessionInformation(t.Context(), s.Handle())
		require.NoError(t, err)
		value, ok := mfa.Claim.GetValueFromPayload(info.CustomClaimsInAccessTokenPayload)
		require.True(t, ok)
		require.Equal(t, mfa.ClaimValue{C: factor.Completed{factor.EmailPassword: b.now()}, V: true}, value)

		// A person nobody knows, and a login method that is no first factor of its tenant: the session ends.
		unauthorised := func(s *session.Session, why string) {
			t.Helper()
			err := s.AssertClaims(t.Context(), mfa.Claim.HasCompletedMFARequirementsForAuth())
			var e *session.UnauthorisedError
			require.ErrorAs(t, err, &e)
			require.Equal(t, why, e.Message)
			require.False(t, e.KeepTokens)
		}
		unauthorised(create("nobody", ""), "Session user not found")
		_, err = b.Tenants().CreateOrUpdateTenant(t.Context(), "acme", tenant.Update{FirstFactors: tenant.Only("my-sso")})
		require.NoError(t, err)
		unauthorised(create(session.RecipeUserID(c.UserID()), "acme"), "Incorrect login method used")
	})
}

// Which factors begin a session, by what the tenant lists, what the configuration lists, and what is offered.
func TestFirstFactors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tenant tenant.Factors
		static []factor.ID
		ok     bool
	}{
		"nothing set":                 {tenant.Unset(), nil, true},
		"listed in the configuration": {tenant.Unset(), []factor.ID{factor.EmailPassword}, true},
		"listed for the tenant":       {tenant.Only(factor.EmailPassword), []factor.ID{"my-sso"}, true},
		"not in the configuration":    {tenant.Unset(), []factor.ID{"my-sso"}, false},
		"not for the tenant":          {tenant.Only("my-sso"), nil, false},
		"nobody":                      {tenant.Only(), nil, false},
		"one that nobody offers":      {tenant.Only(factor.OTPEmail), nil, false},
		"totp is never one":           {tenant.Only(factor.TOTP), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) { cfg.FirstFactors = test.static })
			_, err := b.Tenants().CreateOrUpdateTenant(t.Context(), "public", tenant.Update{FirstFactors: test.tenant})
			require.NoError(t, err)
			c := b.client()
			r := trySignUp(c, ada)
			if test.ok {
				require.Equal(t, http.StatusOK, r.Status, r.Body)
				return
			}
			require.Equal(t, http.StatusUnauthorized, r.Status, r.Body)
			require.JSONEq(t, `{"message":"unauthorised"}`, r.Body)
			require.Zero(t, b.db.Rows("recipe_users"))
		})
	}
}

// A tenant's required factors, and its own roles.
func TestTenantsHaveTheirOwnRules(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		_, err := b.Tenants().CreateOrUpdateTenant(t.Context(), "acme", tenant.Update{
			FirstFactors: tenant.Only(factor.EmailPassword), RequiredSecondaryFactors: tenant.Only(factor.TOTP),
		})
		require.NoError(t, err)
		c := b.client()
		body := map[string]any{"formFields": []map[string]string{{"id": "email", "value": ada}, {"id": "password", "value": password}}}
		require.True(t, c.Call("POST", "/auth/acme/signup", body).Is("OK"))
		require.Equal(t, "acme", c.Payload["tId"])
		require.False(t, c.V(), "the tenant asks for a second factor")
		next, _, _ := c.Info()
		require.Equal(t, []string{"totp"}, next)
		// S-10: the other tenant knows nothing of this user.
		require.True(t, b.client().SignIn(ada, password).Is("WRONG_CREDENTIALS_ERROR"))
		d := b.signedUp(ada)
		require.NotEqual(t, c.UserID(), d.UserID())
		require.True(t, d.V())
	})
}

// A second factor by password needs a linking policy, and there is none: a mistake of the program, with the text that says so.
func TestSignInWithASession(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	c := b.signedUp(ada)
	body := map[string]any{
		"formFields":                      []map[string]string{{"id": "email", "value": "other@example.com"}, {"id": "password", "value": password}},
		"shouldTryLinkingWithSessionUser": true,
	}
	for _, path := range []string{"/auth/signup", "/auth/signin"} {
		r := c.Call("POST", path, body)
		require.Equal(t, http.StatusInternalServerError, r.Status)
		require.JSONEq(t, `{"message":"Please initialise the account linking recipe and define shouldDoAutomaticAccountLinking to enable MFA"}`, r.Body)
		require.Equal(t, http.StatusUnauthorized, b.client().Call("POST", path, body).Status, "without a session")
	}
	require.Equal(t, 1, b.db.Rows("recipe_users"))
}

// A sign-in without the flag replaces the session that came with it.
func TestASignInReplacesTheSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		for _, mode := range []string{"header", "cookie"} {
			c := frontend.New(t, b.url, mode)
			c.SignUp(mode+"@example.com", password)
			b.events()
			sessions := db.Rows("sessions")
			require.True(t, c.SignIn(mode+"@example.com", password).Is("OK"))
			require.Equal(t, sessions, db.Rows("sessions"))
			require.Equal(t, []string{
				"factor.checked emailpassword true", "session.created true", "session.ended true replaced", "factor.completed emailpassword true",
			}, b.events())
		}
	})
}

// A session is bound to the password that it was made with: one that is set while the session is being made ends the attempt.
func TestAPasswordThatChangesDuringTheSignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		change := func(ctx context.Context) {}
		b := newBundle(t, db, withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			change(ctx)
			return nil, nil
		}))
		b.signedUp(ada)
		before := db.Rows("sessions")
		change = func(ctx context.Context) {
			change = func(context.Context) {}
			_, err := db.Handle.ExecContext(ctx, "UPDATE "+db.Prefix+"recipe_users SET version = version + 1")
			require.NoError(t, err)
			_, err = db.Handle.ExecContext(ctx, "UPDATE "+db.Prefix+"emailpassword_credentials SET password_hash = 'another'")
			require.NoError(t, err)
		}
		r := b.client().SignIn(ada, password)
		require.True(t, r.Is("WRONG_CREDENTIALS_ERROR"), r.Body)
		require.Equal(t, before, db.Rows("sessions"))
	})
}

// A handler of the host's may run for hours: it sees what changes, however often it asks.
func TestAHandlerOfTheHostSeesWhatChanges(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "sqlite"))
	c := b.signedUp(ada)
	again := b.db.Again(storetest.Keys(t, "k1")) // another process
	var before, after []string
	handler := b.Middleware(b.Sessions().Verify(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var err error
		before, err = b.UserRoles().GetRolesForUser(r.Context(), "public", c.UserID())
		require.NoError(t, err)
		_, err = again.Handle.Exec("INSERT INTO st_roles VALUES ('admin')")
		require.NoError(t, err)
		_, err = again.Handle.Exec("INSERT INTO st_user_roles VALUES ('public', $1, 'admin')", c.UserID())
		require.NoError(t, err)
		after, err = b.UserRoles().GetRolesForUser(r.Context(), "public", c.UserID())
		require.NoError(t, err)
	})))
	req := httptest.NewRequest("GET", "/socket", nil)
	req.Header.Set("Authorization", "Bearer "+c.Access)
	handler.ServeHTTP(httptest.NewRecorder(), req)
	require.Empty(t, before)
	require.Equal(t, []string{"admin"}, after)
}
