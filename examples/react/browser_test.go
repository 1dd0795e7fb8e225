package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/examples/internal/browser"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// TestInABrowser walks through the front end in Chromium, with oathtool as the authenticator: every script of walks, with API and website on one
// origin and tokens in cookies, and on two origins, of two sites, with tokens in headers.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	if !isBuilt(site) {
		browser.Missing(t, "the front end is not built: run npm ci and npm run build in examples/react/web")
	}
	scripts, err := filepath.Glob("walks/*.walk.mjs")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for name, serve := range map[string]func(t *testing.T) string{"cookies": oneOrigin, "headers": twoOrigins} {
		for _, script := range scripts {
			walk := strings.TrimSuffix(filepath.Base(script), ".walk.mjs")
			t.Run(walk+" with "+name, func(t *testing.T) {
				t.Parallel()
				browser.Run(t, script, serve(t), "oathtool")
			})
		}
	}
}

func oneOrigin(t *testing.T) string {
	server := httptest.NewUnstartedServer(nil)
	a, clock := newTestApp(t, origins{address(server, "127.0.0.1"), address(server, "127.0.0.1")})
	start(t, server, withClock(a.together(), clock))
	return a.origins.Website
}

// twoOrigins are of two sites: to a browser 127.0.0.1 and localhost are as far apart as any two names.
func twoOrigins(t *testing.T) string {
	api, website := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	a, clock := newTestApp(t, origins{API: address(api, "localhost"), Website: address(website, "127.0.0.1")})
	start(t, api, withClock(a.api(), clock))
	start(t, website, a.website(site))
	return a.origins.Website
}

// clock is how many seconds the servers are ahead.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.Load()) * time.Second) }

func newTestApp(t *testing.T, o origins) (*app, *clock) {
	t.Helper()
	db, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	c := &clock{}
	a, err := newApp(t.Context(), db, o, c.now)
	require.NoError(t, err)
	return a, c
}

// withClock lets a script turn the clock of the server: POST /test/clock?ahead=<seconds>.
func withClock(next http.Handler, c *clock) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("POST /test/clock", func(w http.ResponseWriter, r *http.Request) {
		ahead, err := strconv.ParseInt(r.FormValue("ahead"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.Store(ahead)
	})
	return mux
}

func address(server *httptest.Server, host string) string {
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	return fmt.Sprintf("http://%s:%s", host, port)
}

func start(t *testing.T, server *httptest.Server, handler http.Handler) {
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(server.Close)
}
