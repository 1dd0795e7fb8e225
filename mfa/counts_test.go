package mfa_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// The number of statements of each flow, BEGIN and COMMIT aside, on each database. They do not grow with the number of users, devices, sessions or
// tenants: each is counted again when there are more of all.
func TestStatementCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		count := func(what string, most int, do func()) {
			t.Helper()
			db.Probe.Reset()
			do()
			n := db.Probe.Count()
			require.LessOrEqual(t, n, most, "%s: %q", what, db.Probe.Statements())
			t.Logf("%-55s %2d of %2d", what, n, most)
		}
		measure := func(email string) {
			t.Helper()
			c := b.client()
			count("sign-up", 6, func() { c.SignUp(email, password) })
			b.makeAdmin(c.UserID())
			count("sign-in that replaces a session", 7, func() { require.True(t, c.SignIn(email, password).Is("OK")) })
			require.False(t, c.V())
			count("sign-in", 6, func() { require.True(t, frontend.New(t, b.url, "cookie").SignIn(email, password).Is("OK")) })
			count("sign-in, wrong password", 4, func() { require.True(t, b.client().SignIn(email, "wrong password 1").Is("WRONG_CREDENTIALS_ERROR")) })
			count("sign-in, nobody", 4, func() { require.True(t, b.client().SignIn("x"+email, password).Is("WRONG_CREDENTIALS_ERROR")) })
			count("protected page, refused", 0, func() { require.Equal(t, 403, me(c)) })
			count("MFA info", 3, func() { c.Info() })
			var name, secret string
			count("TOTP device created", 6, func() { name, secret = c.CreateDevice() })
			count("TOTP device verified, session updated", 8, func() {
				r := c.Call("POST", "/auth/totp/device/verify", map[string]string{"deviceName": name, "totp": frontend.Code(t, secret, b.now())})
				require.True(t, r.Is("OK"), r.Body)
			})
			count("protected page", 0, func() { require.Equal(t, 200, me(c)) })
			count("MFA info, with a device", 3, func() { c.Info() })
			count("refresh", 3, func() { require.Equal(t, 200, c.RefreshSession().Status) })
			b.turn(30 * time.Second)
			require.True(t, c.SignIn(email, password).Is("OK"))
			count("TOTP code wrong", 3, func() {
				require.True(t, c.Call("POST", "/auth/totp/verify", map[string]string{"totp": "x"}).Is("INVALID_TOTP_ERROR"))
			})
			count("TOTP code verified, session updated", 6, func() { require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK")) })
			s := b.session(c)
			count("attempt", 3, func() { require.NoError(t, b.Attempt(t.Context(), s, "x", answer(true))) })
			count("required factor added", 2, func() {
				require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "totp"))
			})
			count("attempts reset", 1, func() { require.NoError(t, b.ResetAttempts(t.Context(), c.UserID())) })
			count("sign-out", 1, func() { c.SignOut() })
		}
		measure("first@example.com")
		for i := range 20 {
			c := b.signedUp(string(rune('a'+i)) + "@example.com")
			c.EnrolTOTP(b.now())
		}
		measure("last@example.com")
	})
}
