package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/examples/internal/browser"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// TestInABrowser walks through the page in Chromium, with oathtool as the authenticator.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	db, err := sqlite.OpenInMemory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	server := httptest.NewUnstartedServer(nil)
	auth, err := newAuth(t.Context(), db, "http://"+server.Listener.Addr().String())
	require.NoError(t, err)
	var handler http.Handler = routes(auth)
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(server.Close)

	browser.Run(t, "walk.mjs", server.URL, "oathtool")
}
