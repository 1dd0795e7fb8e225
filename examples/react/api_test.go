package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
)

// serve is the API of an app whose clock can be turned.
func serve(t *testing.T) (*app, *clock, string) {
	t.Helper()
	a, c := newTestApp(t, origins{API: "http://localhost:3567", Website: "http://127.0.0.1:3568"})
	return a, c, frontend.Serve(t, func(string) http.Handler { return a.api() })
}

func TestOptInAndOut(t *testing.T) {
	t.Parallel()
	_, clock, url := serve(t)
	ada := frontend.New(t, url, "header")
	factors := func() string {
		r := ada.Call("GET", "/api/factors", nil)
		require.Equal(t, http.StatusOK, r.Status, r.Body)
		return r.Body
	}
	ada.SignUp("ada@example.com", "analytical engine 1")
	assert.JSONEq(t, `[{"id":"totp","on":false,"setUp":false}]`, factors())
	secret := ada.EnrolTOTP(clock.now())
	assert.JSONEq(t, `[{"id":"totp","on":true,"setUp":true}]`, factors())

	ada.SignOut()
	require.True(t, ada.SignIn("ada@example.com", "analytical engine 1").Is("OK"))
	require.False(t, ada.V())
	require.Equal(t, http.StatusForbidden, ada.Call("DELETE", "/api/factors/totp", nil).Status, "a password is not enough to switch it off")
	clock.Add(30)
	require.True(t, ada.VerifyTOTP(secret, clock.now()).Is("OK"))

	clock.Add(int64(recently/time.Second) + 60)
	stale := ada.Call("DELETE", "/api/factors/totp", nil)
	require.Equal(t, http.StatusForbidden, stale.Status)
	require.Equal(t, "invalid claim", stale.JSON["message"])
	assert.JSONEq(t, `[{"id":"totp","on":true,"setUp":true}]`, factors())
	require.True(t, ada.VerifyTOTP(secret, clock.now()).Is("OK"))
	require.Equal(t, http.StatusOK, ada.Call("DELETE", "/api/factors/totp", nil).Status)
	assert.JSONEq(t, `[{"id":"totp","on":false,"setUp":true}]`, factors())

	require.Equal(t, http.StatusOK, ada.Call("POST", "/api/factors/totp", nil).Status)
	assert.JSONEq(t, `[{"id":"totp","on":true,"setUp":true}]`, factors())
}

func TestAdministratorsNeedAFactor(t *testing.T) {
	t.Parallel()
	_, clock, url := serve(t)
	ada := frontend.New(t, url, "header")
	ada.SignUp("ada@example.com", "analytical engine 1")
	me := ada.Call("GET", "/api/me", nil)
	require.Equal(t, map[string]any{"userId": ada.UserID(), "email": "ada@example.com", "roles": []any{}}, me.JSON)
	require.Equal(t, http.StatusOK, ada.Call("POST", "/api/become-admin", nil).Status)
	next, _, _ := ada.Info()
	require.Equal(t, []string{"totp"}, next)
	require.Equal(t, http.StatusForbidden, ada.Call("GET", "/api/me", nil).Status)
	ada.EnrolTOTP(clock.now())
	require.Equal(t, []any{"admin"}, ada.Call("GET", "/api/me", nil).JSON["roles"])
}

func TestWhatTheAPIRefuses(t *testing.T) {
	t.Parallel()
	_, _, url := serve(t)
	stranger := frontend.New(t, url, "header")
	ada := frontend.New(t, url, "header")
	ada.SignUp("ada@example.com", "analytical engine 1")
	for _, test := range []struct {
		method, path      string
		signedIn, without int
	}{
		{"GET", "/api/me", http.StatusOK, http.StatusUnauthorized},
		{"GET", "/api/factors", http.StatusOK, http.StatusUnauthorized},
		{"GET", "/api/reports/2026", http.StatusOK, http.StatusUnauthorized},
		{"GET", "/api/reports/last", http.StatusBadRequest, http.StatusUnauthorized},
		{"GET", "/api/reports/10000", http.StatusBadRequest, http.StatusUnauthorized},
		{"POST", "/api/factors/emailpassword", http.StatusBadRequest, http.StatusUnauthorized},
		{"DELETE", "/api/factors/otp-fax", http.StatusBadRequest, http.StatusUnauthorized},
		{"DELETE", "/api/factors/totp", http.StatusForbidden, http.StatusUnauthorized},
		{"GET", "/api/nothing", http.StatusNotFound, http.StatusNotFound},
	} {
		assert.Equal(t, test.signedIn, ada.Call(test.method, test.path, nil).Status, "%s %s, signed in", test.method, test.path)
		assert.Equal(t, test.without, stranger.Call(test.method, test.path, nil).Status, "%s %s, signed out", test.method, test.path)
	}
}

func TestOnlyTheWebsiteIsAllowedAcrossOrigins(t *testing.T) {
	t.Parallel()
	a, _, _ := serve(t)
	for origin, want := range map[string]string{a.origins.Website: a.origins.Website, "http://127.0.0.1:9": "", "http://evil.example": ""} {
		preflight := httptest.NewRequest(http.MethodOptions, "/api/factors/totp", nil)
		preflight.Header.Set("Origin", origin)
		preflight.Header.Set("Access-Control-Request-Method", "DELETE")
		w := httptest.NewRecorder()
		a.api().ServeHTTP(w, preflight)
		assert.Equal(t, want, w.Header().Get("Access-Control-Allow-Origin"), origin)
	}
}
