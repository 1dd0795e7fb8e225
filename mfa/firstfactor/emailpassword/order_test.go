package emailpassword

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Where several things are wrong, the first of this order is answered: form, flag, session, tenant, factor, wait, password.
func TestOrderOfSteps(t *testing.T) {
	t.Parallel()
	const (
		good    = `"formFields":[{"id":"email","value":"me@example.com"},{"id":"password","value":"right password 1"}]`
		invalid = `"formFields":[{"id":"email","value":"nonsense"},{"id":"password","value":"right password 1"}]`
		badFlag = `,"shouldTryLinkingWithSessionUser":"x"`
		link    = `,"shouldTryLinkingWithSessionUser":true`
	)
	flagMessage := `{"message":"API input error: Please make sure to pass a valid JSON input in the request body: ` +
		`shouldTryLinkingWithSessionUser has the wrong type"}`
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{}, func(cfg *mfa.Config) { cfg.FirstFactors = []factor.ID{"my-login"} })
		for _, c := range []struct {
			path, body string
			status     int
			answer     string
		}{
			{"/nosuch/%s", `{"formFields":1` + badFlag + `}`, 400, `{"message":"formFields must be an array"}`},
			{"/nosuch/%s", `{` + invalid + badFlag + `}`, 200, fieldErrors("email", "Email is invalid")},
			{"/nosuch/%s", `{` + invalid + link + `}`, 200, fieldErrors("email", "Email is invalid")},
			{"/nosuch/%s", `{` + good + badFlag + `}`, 400, flagMessage},
			{"/nosuch/%s", `{` + good + link + `}`, 401, unauthorised},
			{"/nosuch/%s", `{` + good + `}`, 400, tenantNotFound},
			{"/users/%s", `{` + good + `}`, 400, tenantNotFound},
			{"/%s", `{` + good + `}`, 401, unauthorised},
		} {
			for _, name := range []string{"signup", "signin"} {
				refusedWith(t, s.post(fmt.Sprintf(c.path, name), c.body), c.status, c.answer, name, c)
			}
		}
		require.Zero(t, s.hashes.Load())
		require.Zero(t, db.Rows("recipe_users"))
		require.Empty(t, s.events())
		require.Zero(t, db.Rows("limits"))
	})
}

// The flag: false unless it is true, and then a session of any state is required, but not one that has expired (D-06). To link to its user takes a
// policy.
func TestFlag(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{}, func(cfg *mfa.Config) {
			cfg.GetMFARequirementsForAuth = func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				return factor.Requirements{factor.TOTP}, nil // nobody's session is complete
			}
		})
		s.signUp(me)
		with := func(flag string) string { return strings.Replace(filled(me, password), "false", flag, 1) }
		none := strings.Replace(filled(me, password), `,"shouldTryLinkingWithSessionUser":false`, "", 1)
		for _, body := range []string{with("false"), with("null"), none} {
			r := s.post("/signin", body)
			require.True(t, r.Is("OK"), r.Body)
			refusedWith(t, s.post("/signup", body), 200, fieldErrors("email", "This email already exists. Please sign in instead."))
		}
		for _, flag := range []string{`"x"`, `"true"`, `1`, `0`, `{}`, `[]`, `[true]`, `""`} {
			for _, path := range []string{"/signin", "/signup"} {
				r := s.post(path, with(flag))
				require.Equal(t, 400, r.Status, flag)
				require.Contains(t, r.JSON["message"], "shouldTryLinkingWithSessionUser")
			}
		}

		refusedWith(t, s.post("/signin", with("true")), 401, unauthorised)
		refusedWith(t, s.post("/signin", with("true"), "Authorization: Bearer foreign"), 401, unauthorised)
		c := s.client()
		require.True(t, c.SignIn(me, password).Is("OK"))
		before := db.Dump()
		s.hashes.Store(0)
		s.events()
		const noPolicy = `{"message":"Please initialise the account linking recipe and define shouldDoAutomaticAccountLinking to enable MFA"}`
		for _, path := range []string{"/signin", "/signup"} {
			refusedWith(t, s.post(path, with("true"), "Authorization: Bearer "+c.Access), 500, noPolicy)
			r := s.post(path, with("true"), "Authorization: Bearer "+c.Access[:len(c.Access)-4]+"AAAA")
			refusedWith(t, r, 401, `{"message":"try refresh token"}`)
			s.clock.Add(2 * time.Hour.Milliseconds())
			refusedWith(t, s.post(path, with("true"), "Authorization: Bearer "+c.Access), 401, `{"message":"try refresh token"}`)
			s.clock.Add(-2 * time.Hour.Milliseconds())
		}
		require.Equal(t, before, db.Dump())
		require.Zero(t, s.hashes.Load())
		require.Empty(t, s.events())

		// The session's tenant counts, whatever the path says; a session that has outlived it is over.
		s.exec(`INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('acme', '{}', 0)`)
		there, err := s.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{TenantID: "acme", RecipeUserID: "somebody"})
		require.NoError(t, err)
		s.exec(`DELETE FROM {p}tenants WHERE tenant_id = 'acme'`)
		r := s.post("/public/signin", with("true"), "Authorization: Bearer "+there.AccessToken())
		require.Equal(t, 401, r.Status)
		require.JSONEq(t, unauthorised, r.Body)
		require.Equal(t, "remove", r.Header.Get("front-token"))
	})
}

// A factor that may not begin a session: a 401 for known and unknown people alike, with nothing hashed or counted. It ends the session of a client that
// sent one, as every such 401, and says nothing of sessions to a client that sent none.
func TestPasswordIsNoFirstFactor(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{}, func(cfg *mfa.Config) { cfg.FirstFactors = []factor.ID{"my-login"} })
		_, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
		require.NoError(t, err)
		before := db.Dump()
		s.hashes.Store(0)
		for _, email := range []string{me, "stranger@example.com", "x@stfakeemail.supertokens.com"} {
			for _, path := range []string{"/signin", "/signup"} {
				refusedWith(t, s.post(path, filled(email, password)), 401, unauthorised, path, email)
				refusedWith(t, s.post(path, filled(email, password), "Authorization: Bearer foreign"), 401, unauthorised, path, email)
			}
		}
		require.Equal(t, before, db.Dump())
		require.Zero(t, s.hashes.Load())
		require.Empty(t, s.events())

		mine, err := s.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "somebody"})
		require.NoError(t, err)
		for _, token := range []string{"Authorization: Bearer " + mine.AccessToken(), "Cookie: sAccessToken=" + mine.AccessToken()} {
			r := s.post("/signin", filled(me, password), token)
			require.Equal(t, 401, r.Status)
			require.JSONEq(t, unauthorised, r.Body)
			require.Equal(t, "remove", r.Header.Get("front-token"))
		}
		require.Equal(t, 1, db.Rows("sessions"), "but not in storage: anybody could send that")
	})
}

// S-01: a sign-in makes a handle and tokens of its own, whatever was planted before, and what it replaces is over. A sign-in that fails ends nothing.
func TestASignInReplacesTheSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		for _, path := range []string{"/signup", "/signin"} {
			for _, old := range []string{"header", "cookie"} {
				for _, next := range []string{"header", "cookie"} {
					t.Run(path+" from "+old+" to "+next, func(t *testing.T) { replaceASession(t, s, path, old, next) })
				}
			}
		}
	})

	t.Run("nonsense", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, storetest.Open(t, "memory"), Config{})
		s.signUp(me)
		for _, carry := range []string{
			"Cookie: sAccessToken=planted; sRefreshToken=planted; sFrontToken=planted; sIdRefreshToken=planted", "Authorization: Bearer planted",
			"st-access-token: planted", "session-handle: planted", "anti-csrf: planted",
		} {
			r := s.post("/signin", filled(me, password), carry)
			require.True(t, r.Is("OK"), carry)
			require.NotContains(t, fmt.Sprint(r.Header), "planted", carry)
			require.NotContains(t, s.db.Dump("sessions"), "planted", carry)
		}
	})
}

// replaceASession lets a victim sign up or in with the tokens of an attacker in the browser.
func replaceASession(t *testing.T, s *site, path, old, next string) {
	attacker, victim := strings.Trim(path, "/")+old+next+"@attacker.example", strings.Trim(path, "/")+old+next+"@victim.example"
	s.signUp(attacker)
	if path == "/signin" {
		s.signUp(victim)
	}
	planted := s.post("/signin", filled(attacker, password)).Header
	carry := "Authorization: Bearer " + planted.Get("st-access-token")
	if old == "cookie" {
		carry = "Cookie: sAccessToken=" + planted.Get("st-access-token") + "; sRefreshToken=" + planted.Get("st-refresh-token")
	}
	attackers, victims := s.handles(attacker), s.handles(victim)

	wrong := s.post("/signin", filled(victim, "wrong password 1"), carry, "rid: anti-csrf")
	refusedWith(t, wrong, 200, wrongCredentials)
	require.Equal(t, attackers, s.handles(attacker))

	r := s.post(path, filled(victim, password), carry, "rid: anti-csrf", "st-auth-mode: "+next)
	require.True(t, r.Is("OK"), r.Body)
	require.Len(t, s.handles(attacker), len(attackers)-1)
	require.Len(t, s.handles(victim), len(victims)+1)
	require.NotContains(t, r.Body+fmt.Sprint(r.Header), planted.Get("st-access-token"), "nothing planted is adopted")
	cookies := strings.Join(r.Header.Values("Set-Cookie"), "\n")
	switch {
	case next == "cookie":
		require.Len(t, r.Header.Values("Set-Cookie"), 2)
		require.NotContains(t, cookies, "Token=;")
	case old == "cookie":
		require.Contains(t, cookies, "sAccessToken=;", "the cookies of the other mode are taken back")
		require.Contains(t, cookies, "sRefreshToken=;")
	default:
		require.Empty(t, cookies)
	}
	stolen := s.send("POST", "/auth/session/refresh", "", "Authorization: Bearer "+planted.Get("st-refresh-token"))
	require.Equal(t, 401, stolen.Status)
}
