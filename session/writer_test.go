package session_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/session"
)

func TestHandlersKeepTheirResponseWriter(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	server := httptest.NewServer(b.Middleware(b.Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flush":
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			assert.NoError(t, http.NewResponseController(w).Flush())
		case "/copy":
			io.Copy(w, strings.NewReader("copied"))
			_, err := b.CreateNewSession(w, r, session.NewSession{RecipeUserID: "user-1"})
			assert.ErrorIs(t, err, session.ErrResponseWritten)
		case "/hijack":
			conn, _, err := w.(http.Hijacker).Hijack()
			if assert.NoError(t, err) {
				assert.ErrorIs(t, session.FromContext(r.Context()).Revoke(r.Context()), session.ErrResponseWritten)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
				conn.Close()
			}
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			assert.NoError(t, session.FromContext(r.Context()).MergeIntoAccessTokenPayload(r.Context(), map[string]any{"a": 1}))
			io.WriteString(w, "late")
		}
	}))))
	defer server.Close()
	for path, want := range map[string]string{"/flush": "a", "/copy": "copied", "/hijack": "hi", "/early": "late"} {
		req, err := http.NewRequest("GET", server.URL+path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+tokensOf(t, b, "user-1").AccessToken)
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		require.Equal(t, want, text(t, res), path)
		res.Body.Close()
		require.Equal(t, path == "/early", res.Header.Get("front-token") != "")
	}
}

type frameworkWriter struct {
	http.ResponseWriter
	written bool
}

func (w *frameworkWriter) Written() bool { return w.written }
func (w *frameworkWriter) WriteHeader(status int) {
	w.written = true
	w.ResponseWriter.WriteHeader(status)
}
func (w *frameworkWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("no")
}

func TestFrameworks(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	tokens := tokensOf(t, b, "user-1")
	recorder := httptest.NewRecorder()
	w := &frameworkWriter{ResponseWriter: recorder}
	s, err := b.GetSession(w, request("GET", "/", "", tokens.AccessToken), session.VerifyOptions{})
	require.NoError(t, err)
	ctx := session.NewContext(t.Context(), s)
	require.Same(t, s, session.FromContext(ctx))
	require.NoError(t, s.MergeIntoAccessTokenPayload(ctx, map[string]any{"a": 1}))
	require.NotEmpty(t, recorder.Header().Get("st-access-token"))
	w.WriteHeader(http.StatusOK)
	require.ErrorIs(t, s.MergeIntoAccessTokenPayload(ctx, map[string]any{"a": 2}), session.ErrResponseWritten, "written past us")

	require.Nil(t, session.FromContext(t.Context()))
	require.Nil(t, session.RequestFromContext(t.Context()))
	s, err = b.GetSession(httptest.NewRecorder(), request("GET", "/", "", ""), session.VerifyOptions{SessionOptional: true})
	require.NoError(t, err)
	require.Nil(t, s)
}

func TestAWriterInBetween(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	tokens := tokensOf(t, b, "user-1")
	inner := b.Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, session.FromContext(r.Context()).MergeIntoAccessTokenPayload(r.Context(), map[string]any{"a": 1}))
		w.WriteHeader(http.StatusAccepted)
		assert.ErrorIs(t, session.FromContext(r.Context()).MergeIntoAccessTokenPayload(r.Context(), map[string]any{"a": 2}), session.ErrResponseWritten)
	}))
	res := serve(b.Middleware(http.TimeoutHandler(inner, time.Minute, "")), request("GET", "/", "", tokens.AccessToken))
	require.Equal(t, http.StatusAccepted, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("st-access-token"))
}

func TestExposeAccessTokenAndOtherNames(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{ExposeAccessToken: true})
	c := newClient(t, app(b, session.NewSession{}), "cookie")
	res := c.call("POST", "/login", "")
	require.Equal(t, c.cookies["sAccessToken"], res.Header.Get("st-access-token"))
	require.Empty(t, res.Header["St-Refresh-Token"], "never the refresh token")
	require.Equal(t, "front-token, st-access-token", res.Header.Get("Access-Control-Expose-Headers"))

	b = inMemory(t, session.Config{
		GetCookieNameForTokenType: func(_ *http.Request, kind session.TokenType) string { return "two-" + string(kind) },
		GetResponseHeaderNameForTokenType: func(_ *http.Request, kind session.TokenType) string {
			if kind == session.TokenTypeAccess {
				return "x-access"
			}
			return ""
		},
	})
	c = newClient(t, app(b, session.NewSession{}), "cookie")
	c.call("POST", "/login", "")
	require.NotEmpty(t, c.cookies["two-access"])
	require.NotEmpty(t, c.cookies["two-refresh"])
	require.Equal(t, "user-1", text(t, c.call("GET", "/me", "")))
	res = newClient(t, app(b, session.NewSession{}), "header").call("POST", "/login", "")
	require.NotEmpty(t, res.Header.Get("x-access"))
	require.NotEmpty(t, res.Header.Get("st-refresh-token"), "no name: the usual one")
}

func TestLogsHoldNoToken(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	handler := app(b, session.NewSession{})
	tokens := tokensOf(t, b, "user-1")
	forged := tokens.AccessToken[:len(tokens.AccessToken)-4] + "AAAA"
	serve(handler, request("GET", "/me?"+forged, "", forged))
	serve(handler, request("POST", "/auth/session/refresh?"+tokens.RefreshToken, "", tokens.RefreshToken))
	b.clock.Add(time.Hour)
	serve(handler, request("POST", "/auth/session/refresh", "", tokens.RefreshToken))
	b.HandleError(httptest.NewRecorder(), request("GET", "/?"+forged, "", forged), errors.New("x"))
	require.NotEmpty(t, b.log.String())
	for _, secret := range []string{forged, tokens.RefreshToken, tokens.FrontToken, forged[:40]} {
		require.NotContains(t, b.log.String(), secret)
	}
}
