package main

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

func TestOptInAndOut(t *testing.T) {
	t.Parallel()
	db, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	var offset atomic.Int64 // the clock of the test
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(offset.Load())) }
	auth, authenticator, err := newAuth(t.Context(), db, now)
	require.NoError(t, err)
	url := frontend.Serve(t, func(string) http.Handler { return routes(auth, authenticator) })
	ada := frontend.New(t, url, "header")
	settings := func() map[string]any {
		r := ada.Call("GET", "/settings/totp", nil)
		require.Equal(t, http.StatusOK, r.Status, r.Body)
		return r.JSON
	}

	ada.SignUp("ada@example.com", "analytical engine 1")
	require.Equal(t, map[string]any{"enabled": false, "setUp": false, "devices": []any{}}, settings())
	ada.CreateDevice() // begun and left
	require.Equal(t, map[string]any{"enabled": false, "setUp": false, "devices": []any{}}, settings())

	secret := ada.EnrolTOTP(now())
	device := map[string]any{"name": "TOTP Device 1", "period": 30.0, "skew": 1.0, "verified": true}
	require.Equal(t, map[string]any{"enabled": true, "setUp": true, "devices": []any{device}}, settings())

	ada.SignOut()
	require.True(t, ada.SignIn("ada@example.com", "analytical engine 1").Is("OK"))
	require.Equal(t, http.StatusForbidden, ada.Call("GET", "/settings/totp", nil).Status)
	offset.Add(int64(30 * time.Second))
	require.True(t, ada.VerifyTOTP(secret, now()).Is("OK"))
	settings()

	// An open browser is not enough to switch it off.
	offset.Add(int64(recently + time.Minute))
	require.Equal(t, http.StatusForbidden, ada.Call("DELETE", "/settings/totp", nil).Status)
	require.True(t, ada.VerifyTOTP(secret, now()).Is("OK"))
	require.Equal(t, http.StatusNoContent, ada.Call("DELETE", "/settings/totp", nil).Status)
	require.Equal(t, map[string]any{"enabled": false, "setUp": true, "devices": []any{device}}, settings())
	ada.SignOut()
	require.True(t, ada.SignIn("ada@example.com", "analytical engine 1").Is("OK"))
	require.True(t, ada.V(), "nothing is asked for any more")

	// Switched on again, without a new enrolment.
	require.Equal(t, http.StatusNoContent, ada.Call("POST", "/settings/totp", nil).Status)
	next, setUp, _ := ada.Info()
	require.Equal(t, []string{"totp"}, next)
	require.Equal(t, []string{"emailpassword", "totp"}, setUp)
}
