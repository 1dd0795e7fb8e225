package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

func serve(t *testing.T, policy string) (*mfa.MFA, string) {
	t.Helper()
	db, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	auth, err := newAuth(t.Context(), db, policies[policy])
	require.NoError(t, err)
	return auth, frontend.Serve(t, func(string) http.Handler { return routes(auth) })
}

func TestWhoIsHeldToTOTP(t *testing.T) {
	t.Parallel()
	for policy, promote := range map[string]func(context.Context, *mfa.MFA, string) error{"admins": makeAdmin, "paid": setPaid} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			auth, url := serve(t, policy)
			ada := frontend.New(t, url, "header")
			ada.SignUp("ada@example.com", "analytical engine 1")
			require.True(t, ada.V())
			me := ada.Call("GET", "/me", nil)
			require.Equal(t, http.StatusOK, me.Status)
			require.Equal(t, map[string]any{"userId": ada.UserID(), "tenantId": "public"}, me.JSON)

			require.NoError(t, promote(t.Context(), auth, ada.UserID()))

			require.Equal(t, http.StatusOK, ada.RefreshSession().Status)
			require.False(t, ada.V(), "the open session is held to the policy from its refresh on")
			require.Equal(t, http.StatusForbidden, ada.Call("GET", "/me", nil).Status)
			next, setUp, allowed := ada.Info()
			require.Equal(t, []string{"totp"}, next)
			require.Equal(t, []string{"emailpassword"}, setUp)
			require.Equal(t, []string{"totp"}, allowed)
			secret := ada.EnrolTOTP(time.Now())
			require.Equal(t, http.StatusOK, ada.Call("GET", "/me", nil).Status)

			ada.SignOut()
			require.True(t, ada.SignIn("ada@example.com", "analytical engine 1").Is("OK"))
			require.False(t, ada.V())
			require.Equal(t, http.StatusForbidden, ada.Call("GET", "/me", nil).Status)
			require.True(t, ada.VerifyTOTP(secret, time.Now().Add(30*time.Second)).Is("OK"))
			require.Equal(t, http.StatusOK, ada.Call("GET", "/me", nil).Status)

			bob := frontend.New(t, url, "cookie")
			bob.SignUp("bob@example.com", "difference engine 2")
			require.True(t, bob.V(), "nobody else is asked")
			require.Equal(t, http.StatusOK, bob.Call("GET", "/me", nil).Status)
		})
	}
}
