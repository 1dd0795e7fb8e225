package mfa_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// S-09: of all routes, with a session and without, on success and refusal: only the website's origin is let in, nobody may keep an answer but that of
// the public keys, and no token stands in a URL or a body.
func TestTheHeadersOfEveryRoute(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	b.signedUp(ada)
	handler := b.CORS(b.Middleware(b.host()))
	public := []string{"GET /jwt/jwks.json", "GET /.well-known/openid-configuration"}
	const website = "http://localhost:3000"
	origins := []string{"", website, "http://evil.example", "null", "http://localhost:3000.evil.example", "https://localhost:3000", "http://localhost:3001", "*"}
	for route, d := range doors {
		method, _, _ := strings.Cut(route, " ")
		for _, origin := range origins {
			for _, mode := range []string{"header", "cookie", "", "broken"} {
				c := frontend.New(t, b.url, mode)
				req := httptest.NewRequest(method, "http://localhost:3001"+pathOf(route), strings.NewReader(d.body))
				req.Header.Set("rid", "anti-csrf")
				if origin != "" {
					req.Header.Set("Origin", origin)
				}
				switch mode {
				case "header":
					require.True(t, c.SignIn(ada, password).Is("OK"))
					token := c.Access
					if route == "POST /session/refresh" {
						token = c.Refresh
					}
					req.Header.Set("Authorization", "Bearer "+token)
				case "cookie":
					require.True(t, c.SignIn(ada, password).Is("OK"))
					for _, cookie := range c.Cookies() {
						req.AddCookie(cookie)
					}
				case "broken":
					req.Header.Set("Authorization", "Bearer a.b.c")
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, req)
				what := strings.Join([]string{route, origin, mode}, " | ")

				allowed := w.Header().Values("Access-Control-Allow-Origin")
				keys := route == public[0] || route == public[1]
				switch {
				case origin == website:
					require.Equal(t, []string{website}, allowed, what)
					require.Equal(t, "true", w.Header().Get("Access-Control-Allow-Credentials"), what)
				case keys:
					require.Equal(t, []string{"*"}, allowed, what)
					require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), what)
				default:
					require.Empty(t, allowed, what)
					require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"), what)
				}
				require.Contains(t, w.Header().Values("Vary"), "Origin", what)
				if !keys {
					require.Equal(t, "no-store", w.Header().Get("Cache-Control"), what)
				}
				require.Empty(t, w.Header().Get("Location"), what)
				require.NotRegexp(t, `eyJ|Bearer|sAccessToken|sRefreshToken`, w.Body.String(), what)
				for _, token := range []string{c.Access, c.Refresh, w.Header().Get("st-access-token"), w.Header().Get("st-refresh-token")} {
					if token != "" {
						require.NotContains(t, w.Body.String(), token, what)
					}
				}
			}
			preflight := httptest.NewRequest("OPTIONS", "http://localhost:3001"+pathOf(route), nil)
			preflight.Header.Set("Origin", origin)
			preflight.Header.Set("Access-Control-Request-Method", method)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, preflight)
			if origin == website {
				require.Equal(t, http.StatusNoContent, w.Code)
				require.Equal(t, website, w.Header().Get("Access-Control-Allow-Origin"))
			} else {
				require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), "%s from %s", route, origin)
			}
		}
	}
}

// J-04: a token works at its own door and at no other, however it is carried.
func TestEveryTokenAtEveryDoor(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	c := b.signedUp(ada)
	secret := c.EnrolTOTP(b.now())
	s := b.session(c)
	copied := s.AccessTokenPayload()
	jwt := func(in session.CreateJWTInput) string {
		text, err := b.Sessions().CreateJWT(t.Context(), in)
		require.NoError(t, err)
		return text
	}
	tokens := map[string]string{
		"access":                 c.Access,
		"refresh":                c.Refresh,
		"front":                  s.AllSessionTokensDangerously().FrontToken,
		"JWT of the host":        jwt(session.CreateJWTInput{Payload: map[string]any{"sub": c.UserID()}}),
		"the same, by session":   jwt(session.CreateJWTInput{Payload: copied, UseDynamicSigningKey: true}),
		"the same, static":       jwt(session.CreateJWTInput{Payload: copied}),
		"unsigned":               unsigned(c.Access),
		"handle":                 s.Handle(),
		"user id":                c.UserID(),
		"secret of an app":       secret,
		"rid, which proves CSRF": "anti-csrf",
		"payload":                strings.Split(c.Access, ".")[1],
		"access, a dot more":     c.Access + ".",
		"refresh, a dot more":    c.Refresh + ".",
		"access and refresh":     c.Access + c.Refresh,
		"nothing":                "",
	}
	request := func(method, path, token, how string) int {
		req := httptest.NewRequest(method, "http://localhost:3001"+path, strings.NewReader(`{"totp":"abcdef"}`))
		switch how {
		case "header":
			req.Header.Set("Authorization", "Bearer "+token)
		case "access cookie":
			req.AddCookie(&http.Cookie{Name: "sAccessToken", Value: token})
		case "refresh cookie":
			req.AddCookie(&http.Cookie{Name: "sRefreshToken", Value: token})
		case "anti-csrf":
			req.Header.Set("anti-csrf", token)
		case "basic":
			req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(token+":")))
		case "st-access-token":
			req.Header.Set("st-access-token", token)
		}
		w := httptest.NewRecorder()
		b.Middleware(b.host()).ServeHTTP(w, req)
		require.Less(t, w.Code, 500, "%s %s by %s: %s", method, path, how, w.Body)
		return w.Code
	}
	carriers := []string{"header", "access cookie", "refresh cookie", "anti-csrf", "basic", "st-access-token"}
	for kind, token := range tokens {
		for _, how := range carriers {
			for _, door := range []string{"GET /me", "PUT /auth/mfa/info", "GET /auth/totp/device/list", "POST /auth/totp/verify"} {
				method, path, _ := strings.Cut(door, " ")
				opens := kind == "access" && (how == "header" || how == "access cookie")
				require.Equal(t, opens, request(method, path, token, how) == 200, "%s by %s at %s", kind, how, door)
				require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
			}
		}
		for _, how := range carriers {
			if kind == "refresh" && (how == "header" || how == "refresh cookie") {
				continue // at the end
			}
			require.Equal(t, 401, request("POST", "/auth/session/refresh", token, how), "%s by %s at the refresh", kind, how)
			if kind != "access" {
				require.Equal(t, 401, request("POST", "/auth/signout", token, how), "%s by %s at the sign-out", kind, how)
			}
		}
		_, err := b.Sessions().GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{AccessToken: token})
		require.Equal(t, kind == "access", err == nil, kind)
		if kind != "refresh" {
			_, err = b.Sessions().RefreshSessionWithoutRequestResponse(t.Context(), session.RefreshSessionInput{RefreshToken: token})
			require.Error(t, err, kind)
			var theft *session.TokenTheftDetectedError
			require.NotErrorAs(t, err, &theft, kind)
		}
	}
	require.Equal(t, 1, b.db.Rows("sessions"), "no wrong token has ended the session")
	require.Equal(t, 200, request("POST", "/auth/session/refresh", c.Refresh, "header"))
	require.Equal(t, 200, request("POST", "/auth/session/refresh", c.Refresh, "refresh cookie"), "within its grace")
}

// unsigned is the token with the algorithm none.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return ""
	}
	none := strings.Replace(string(head), `"ES256"`, `"none"`, 1)
	return base64.RawURLEncoding.EncodeToString([]byte(none)) + "." + parts[1] + "."
}
