package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var builtSite = fstest.MapFS{
	"site/dist/index.html":          {Data: []byte("the page")},
	"site/dist/icon.svg":            {Data: []byte("<svg/>")},
	"site/dist/assets/index-a1b.js": {Data: []byte("the script")},
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestEveryPathIsThePage(t *testing.T) {
	t.Parallel()
	a, _ := newTestApp(t, origins{API: "http://localhost:3567", Website: "http://127.0.0.1:3568"})
	website := a.website(builtSite)
	for path, want := range map[string]struct {
		status     int
		body, keep string
	}{
		"/":                             {http.StatusOK, "the page", "no-cache"},
		"/auth/mfa/totp?setup=true":     {http.StatusOK, "the page", "no-cache"},
		"/reports/2026":                 {http.StatusOK, "the page", "no-cache"},
		"/icon.svg":                     {http.StatusOK, "<svg/>", ""},
		"/assets/index-a1b.js":          {http.StatusOK, "the script", "public, max-age=31536000, immutable"},
		"/assets/index-of-last-week.js": {http.StatusNotFound, "404 page not found\n", ""},
	} {
		w := get(website, path)
		assert.Equal(t, want.status, w.Code, path)
		assert.Equal(t, want.body, w.Body.String(), path)
		assert.Equal(t, want.keep, w.Header().Get("Cache-Control"), path)
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), "connect-src 'self' http://localhost:3567;")
	}
}

func TestThePageSaysWhereItsAPIIs(t *testing.T) {
	t.Parallel()
	for config, o := range map[string]origins{
		`{"tokenTransferMethod":"cookie"}`:                                     {"http://localhost:3567", "http://localhost:3567"},
		`{"tokenTransferMethod":"header","apiDomain":"http://localhost:3567"}`: {"http://localhost:3567", "http://127.0.0.1:3568"},
	} {
		a, _ := newTestApp(t, o)
		assert.JSONEq(t, config, get(a.website(builtSite), "/config.json").Body.String())
	}
}

func TestAFrontEndThatIsMissingSaysHowItIsBuilt(t *testing.T) {
	t.Parallel()
	a, _ := newTestApp(t, origins{"http://localhost:3567", "http://localhost:3567"})
	page, err := site.ReadFile("site/missing.html")
	require.NoError(t, err)
	w := get(a.website(fstest.MapFS{"site/missing.html": {Data: page}}), "/auth")
	assert.Equal(t, http.StatusNotFound, w.Code)
	assert.Contains(t, w.Body.String(), "npm --prefix examples/react/web run build")
}

func TestPagesAndRoutesShareAPath(t *testing.T) {
	t.Parallel()
	a, _ := newTestApp(t, origins{"http://localhost:3567", "http://localhost:3567"})
	together := a.together()
	assert.Contains(t, get(together, "/auth/mfa/totp").Header().Get("Content-Type"), "text/html")
	assert.Contains(t, get(together, "/auth/totp/device/list").Header().Get("Content-Type"), "application/json")
	assert.Equal(t, http.StatusNotFound, get(together, "/api/nothing").Code)
}
