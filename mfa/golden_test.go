package mfa_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

// script tells the story of the events: who is called what, and which session is which.
type script struct {
	*bundle
	names map[string]string // of user ids and session handles
}

func newScript(b *bundle) *script { return &script{b, map[string]string{"": "-"}} }

// person names the user of a client.
func (s *script) person(name string, c *frontend.Client) { s.names[c.UserID()] = name }

// visit names the session of a client.
func (s *script) visit(name string, c *frontend.Client) {
	handle, _ := c.Payload["sessionHandle"].(string)
	s.names[handle] = name
}

// expect compares all that was told since the last call, whole: "name user tenant session factor OK reason", "-" for what is empty.
func (s *script) expect(step string, want ...string) {
	s.t.Helper()
	s.mu.Lock()
	seen := s.seen
	s.seen = nil
	s.mu.Unlock()
	var got []string
	for _, e := range seen {
		require.Equal(s.t, s.now(), e.Time, step)
		require.Equal(s.t, time.UTC, e.Time.Location(), step)
		or := func(text string) string {
			if text == "" {
				return "-"
			}
			return text
		}
		known := func(id string) string {
			if name, ok := s.names[id]; ok {
				return name
			}
			return id
		}
		ok := "no"
		if e.OK {
			ok = "OK"
		}
		got = append(got, strings.Join([]string{
			string(e.Name), known(e.UserID), or(e.TenantID), known(e.SessionHandle), or(string(e.FactorID)), ok, or(e.Reason),
		}, " "))
	}
	require.Equal(s.t, want, got, step)
}

// G-01, F-07, G-03: every success and failure of every factor, and every change of what a user has, is told once, with the user, the tenant, the
// session, the factor, the result and the reason, and nothing else is.
func TestEveryEvent(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		s := newScript(b)
		verify := func(c *frontend.Client, code string) frontend.Response {
			return c.Call("POST", "/auth/totp/verify", map[string]string{"totp": code})
		}
		wrongPassword := func() { require.True(t, b.client().SignIn(ada, "wrong password 1").Is("WRONG_CREDENTIALS_ERROR")) }

		c := b.signedUp(ada)
		s.person("ada", c)
		s.visit("first", c)
		s.expect("sign-up",
			"session.created ada public first - OK -",
			"factor.completed ada public first emailpassword OK -")
		require.False(t, trySignUp(b.client(), ada).Is("OK"))
		s.expect("an address that is taken")
		wrongPassword()
		s.expect("wrong password", "factor.checked ada public - emailpassword no wrong")
		require.True(t, b.client().SignIn("nobody@example.com", password).Is("WRONG_CREDENTIALS_ERROR"))
		s.expect("nobody", "factor.checked - public - emailpassword no unknown")

		c.Info()
		require.Equal(t, 200, me(c))
		s.expect("nothing happens when somebody looks")
		name, secret := c.CreateDevice()
		s.expect("a device that is not verified is nothing yet")
		device := func(code string) frontend.Response {
			return c.Call("POST", "/auth/totp/device/verify", map[string]string{"deviceName": name, "totp": code})
		}
		require.True(t, device("abcdef").Is("INVALID_TOTP_ERROR"))
		s.expect("wrong code of a device", "factor.checked ada public first totp no wrong")
		require.True(t, c.Call("POST", "/auth/totp/device/verify", map[string]string{"deviceName": "x", "totp": "123456"}).Is("UNKNOWN_DEVICE_ERROR"))
		s.expect("no such device", "factor.checked ada public first totp no unknown")
		require.True(t, device(frontend.Code(t, secret, b.now())).Is("OK"))
		s.expect("enrolled",
			"factor.checked ada public first totp OK -",
			"factor.set_up ada public first totp OK -",
			"factor.completed ada public first totp OK -")
		require.True(t, device("123456").Is("OK"))
		s.expect("verified already: no code was looked at")

		b.makeAdmin(c.UserID())
		s.expect("roles are no factor")
		c.SignOut()
		s.expect("sign-out", "session.ended ada public first - OK sign_out")
		require.True(t, c.SignIn(ada, password).Is("OK"))
		require.False(t, c.V())
		s.visit("second", c)
		s.expect("sign-in",
			"factor.checked ada public - emailpassword OK -",
			"session.created ada public second - OK -",
			"factor.completed ada public second emailpassword OK -")
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("INVALID_TOTP_ERROR"))
		s.expect("replayed", "factor.checked ada public second totp no replayed")
		b.turn(30 * time.Second)
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
		s.expect("second factor",
			"factor.checked ada public second totp OK -",
			"factor.completed ada public second totp OK -")

		for n := 1; n <= 4; n++ {
			require.True(t, verify(c, "12345a").Is("INVALID_TOTP_ERROR"))
			s.expect("wrong code", "factor.checked ada public second totp no wrong")
		}
		own := b.session(c)
		require.Error(t, b.Attempt(t.Context(), own, "recovery-code", answer(false)))
		s.expect("the budget is spent",
			"factor.checked ada public second recovery-code no wrong",
			"password.known ada public second emailpassword no limited")
		b.turn(time.Minute)
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("LIMIT_REACHED_ERROR"))
		require.Error(t, b.Attempt(t.Context(), own, "recovery-code", answer(true)))
		s.expect("limited",
			"factor.checked ada public second totp no limited",
			"factor.checked ada public second recovery-code no limited")
		require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
		s.expect("reset", "attempts.reset ada - - - OK -")
		require.NoError(t, b.Attempt(t.Context(), own, "recovery-code", answer(true)))
		s.expect("an Attempt completes nothing", "factor.checked ada public second recovery-code OK -")
		require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), own, "recovery-code"))
		s.expect("the host completes it", "factor.completed ada public second recovery-code OK -")

		for range 2 {
			require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
		}
		s.expect("required, once", "requirement.added ada - - totp OK -")
		for range 2 {
			require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
		}
		s.expect("no more required, once", "requirement.removed ada - - totp OK -")

		old := c.Clone()
		require.Equal(t, 200, c.RefreshSession().Status)
		require.Equal(t, 200, old.Clone().RefreshSession().Status)
		s.expect("refreshes, also of parallel tabs")
		b.turn(31 * time.Second)
		require.JSONEq(t, `{"message":"token theft detected"}`, old.RefreshSession().Body)
		s.expect("theft", "session.theft ada public second - no reused")
		require.Equal(t, 401, c.RefreshSession().Status)
		s.expect("a session that is over")

		require.True(t, c.SignIn(ada, password).Is("OK"))
		s.visit("third", c)
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
		s.expect("in again",
			"factor.checked ada public - emailpassword OK -",
			"session.created ada public third - OK -",
			"factor.completed ada public third emailpassword OK -",
			"factor.checked ada public third totp OK -",
			"factor.completed ada public third totp OK -")
		c.CreateDevice()
		require.True(t, c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": "TOTP Device 2"}).Is("OK"))
		s.expect("one that was never verified comes and goes unsung")
		require.True(t, c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": name}).Is("OK"))
		s.expect("removed", "factor.removed ada public third totp OK -")
		require.True(t, verify(c, "123456").Is("UNKNOWN_USER_ID_ERROR"))
		s.expect("no device", "factor.checked ada public third totp no unknown")

		replaced := c.Clone()
		require.True(t, replaced.SignIn(ada, password).Is("OK"))
		s.visit("fourth", replaced)
		s.expect("replaced",
			"factor.checked ada public - emailpassword OK -",
			"session.created ada public fourth - OK -",
			"session.ended ada public third - OK replaced",
			"factor.completed ada public fourth emailpassword OK -")
		_, err := b.Sessions().RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: c.UserID()})
		require.NoError(t, err)
		s.expect("revoked", "session.ended ada public fourth - OK revoked")

		for range 10 {
			wrongPassword()
			s.expect("guessing", "factor.checked ada public - emailpassword no wrong")
		}
		require.True(t, b.client().SignIn(ada, password).Is("GENERAL_ERROR"))
		s.expect("a wait", "factor.checked ada public - emailpassword no limited")

		_, err = b.Tenants().CreateOrUpdateTenant(t.Context(), "acme", tenant.Update{FirstFactors: tenant.Only(factor.EmailPassword)})
		require.NoError(t, err)
		other := b.client()
		require.True(t, other.Call("POST", "/auth/acme/signup", map[string]any{
			"formFields": []map[string]string{{"id": "email", "value": "bob@example.com"}, {"id": "password", "value": password}},
		}).Is("OK"))
		s.person("bob", other)
		s.visit("elsewhere", other)
		s.expect("on another tenant",
			"session.created bob acme elsewhere - OK -",
			"factor.completed bob acme elsewhere emailpassword OK -")
		require.True(t, other.Call("POST", "/auth/signin", map[string]any{
			"formFields": []map[string]string{{"id": "email", "value": "bob@example.com"}, {"id": "password", "value": password}},
		}).Is("WRONG_CREDENTIALS_ERROR"))
		s.expect("who is nobody on this one", "factor.checked - public - emailpassword no unknown")
	})
}
