package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// I-01: no request makes a panic or a 500, and none without tokens of ours reaches what is protected.
func FuzzRequests(f *testing.F) {
	b := newBundle(f, storetest.Open(f, "memory"), setup{cfg: session.Config{OlderCookieDomain: new("acme.example")}})
	tokens := b.sign("user-1").AllSessionTokensDangerously()
	cut := func(token string) string { return token[:len(token)-2] }
	for _, seed := range [][5]string{
		{"GET", "/me", "sAccessToken=" + cut(tokens.AccessToken), "", ""},
		{"POST", "/auth/session/refresh", "sRefreshToken=" + cut(tokens.RefreshToken) + "; sRefreshToken=x", "", ""},
		{"POST", "/auth/signout", "", "Bearer " + cut(tokens.AccessToken), "header"},
		{"POST", "/auth/t1/signout", "a=\"b\"; %73AccessToken=x", "Bearer ..", "cookie"},
		{"GET", "/auth/jwt/jwks.json", "", "", ""},
		{"POST", "/login", "sAccessToken=x", "Bearer x", "smoke"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	reached := false
	mux := http.NewServeMux()
	mux.Handle("/me", b.Verify(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })))
	mux.Handle("/login", app(b, session.NewSession{RevokeReplaced: true}))
	handler := b.CORS(b.Middleware(mux))
	f.Fuzz(func(t *testing.T, method, path, cookie, authorization, mode string) {
		if strings.Contains(cookie+authorization, tokens.AccessToken) || method == http.MethodOptions || method == http.MethodTrace {
			return
		}
		target := strings.Map(func(c rune) rune {
			if c <= ' ' || c > '~' || c == '%' || c == '?' || c == '#' {
				return -1
			}
			return c
		}, "/"+path)
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.RequestURI, r.URL.Path = method, target, target
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Authorization", authorization)
		r.Header.Set("st-auth-mode", mode)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || reached {
			t.Fatalf("%d %s: %s", w.Code, w.Body, b.log)
		}
	})
}
