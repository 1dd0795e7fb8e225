package appinfo_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/appinfo"
)

func TestDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"api.example.com/":                     "https://api.example.com",
		".api.example.com":                     "https://api.example.com",
		"api.example.com#x":                    "https://api.example.com",
		"api.example.com/?a=1":                 "https://api.example.com",
		"  API.Example.com:8443 ":              "https://api.example.com:8443",
		"http://api.example.com:8080/one":      "http://api.example.com:8080",
		"https://api.example.com:443":          "https://api.example.com",
		"http://api.example.com:80":            "http://api.example.com",
		"localhost":                            "http://localhost",
		"localhost:4000":                       "http://localhost:4000",
		"127.0.0.1:4000":                       "http://127.0.0.1:4000",
		"1.2.3.4/one":                          "http://1.2.3.4",
		"https://localhost":                    "https://localhost",
		"https://127.0.0.1:80/":                "https://127.0.0.1:80",
		"supertokens://app":                    "supertokens://app",
		"[::1]:4000":                           "http://[::1]:4000",
		"http://[2001:db8::1]":                 "http://[2001:db8::1]",
		"https://user:secret@api.example.com/": "https://api.example.com",
	} {
		got, err := appinfo.Domain(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{"/one/two", "/.netlify/x", "backend", "", ".", "http://", "https:///x", "exa mple.com", "a.b:port"} {
		_, err := appinfo.Domain(in)
		assert.Error(t, err, in)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"exists?x=1":                             "/exists",
		"/exists":                                "/exists",
		"exists/":                                "/exists",
		"https://api.example.com/one/two/":       "/one/two",
		"api.example.com/one/two?a":              "/one/two",
		"127.0.0.1:4000/one/two":                 "/one/two",
		"localhost:4000/one":                     "/one",
		"localhost":                              "",
		"one/two#r":                              "/one/two",
		"api.example.com/#r":                     "",
		".example.com":                           "",
		"/":                                      "",
		"":                                       "",
		"/.netlify/functions/api":                "/.netlify/functions/api",
		"app.example.com/.netlify/functions/api": "/.netlify/functions/api",
		"/app.example.com":                       "/app.example.com",
		"eXiStS":                                 "/eXiStS",
		"exists?x=a.b":                           "/exists",
		"/one/../two/./three":                    "/two/three",
		"/a b":                                   "/a%20b",
		"/a%2Fb":                                 "/a%2Fb",
	} {
		got, err := appinfo.Path(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	_, err := appinfo.Path("/%zz")
	assert.Error(t, err)
}

func TestSite(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.b.test.co.uk":                      "test.co.uk",
		"https://example.com":                         "example.com",
		"https://api.example.com":                     "example.com",
		"http://localhost:8080":                       "localhost",
		"http://app.localhost":                        "localhost",
		"http://127.0.0.1:3000":                       "localhost",
		"http://[::1]":                                "localhost",
		"https://localhost.org":                       "localhost.org",
		"https://localhost.evil.com":                  "evil.com",
		"https://user.github.io":                      "user.github.io",
		"https://ec2-1-2-3-4.compute-1.amazonaws.com": "ec2-1-2-3-4.compute-1.amazonaws.com",
		"https://printer.local":                       "printer.local",
	} {
		got, err := appinfo.Site(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	_, err := appinfo.Site("https://co.uk")
	assert.Error(t, err)
}

func TestCookieDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" .Example.com ":             ".example.com",
		"example.com":                "example.com",
		"https://example.com:8080/x": "example.com",
		".localhost":                 "localhost",
		".127.0.0.1":                 "127.0.0.1",
	} {
		got, err := appinfo.CookieDomain(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{"", ".", "https://", "/x"} {
		_, err := appinfo.CookieDomain(in)
		assert.Error(t, err, in)
	}
}

func TestNewReportsEveryMistakeByField(t *testing.T) {
	t.Parallel()
	_, errs := appinfo.New(appinfo.Input{APIDomain: "backend", APIBasePath: "/%zz"})
	fields := ""
	for _, err := range errs {
		fields += err.Error() + "\n"
	}
	for _, field := range []string{"AppInfo.AppName", "AppInfo.APIDomain", "AppInfo.WebsiteDomain", "AppInfo.APIBasePath"} {
		assert.Contains(t, fields, field)
	}
}

func TestPathsAndRelation(t *testing.T) {
	t.Parallel()
	info, errs := appinfo.New(appinfo.Input{
		AppName: "Acme", APIDomain: "api.example.com", WebsiteDomain: "example.com", APIGatewayPath: "gateway/", APIBasePath: "/api/auth",
	})
	require.Empty(t, errs)
	assert.Equal(t, "/gateway/api/auth", info.BasePath)
	assert.Equal(t, "/auth", info.WebsiteBasePath)

	for _, c := range []struct {
		api, website    string
		sameSite, local bool
	}{
		{"https://api.example.com", "https://example.com", true, false},
		{"http://localhost:8080", "http://127.0.0.1:3000", true, true},
		{"https://api.example.com", "http://example.com", false, false},
		{"https://api.example.com", "https://example.org", false, false},
		{"https://localhost", "http://localhost", false, true},
	} {
		info, errs := appinfo.New(appinfo.Input{AppName: "Acme", APIDomain: c.api, WebsiteDomain: c.website})
		require.Empty(t, errs)
		got, err := info.Relation(nil)
		require.NoError(t, err)
		assert.Equal(t, appinfo.Relation{SameSite: c.sameSite, Local: c.local}, got, c.website)
	}
}

func TestOriginIsAskedForEachRequest(t *testing.T) {
	t.Parallel()
	info, errs := appinfo.New(appinfo.Input{
		AppName: "Acme", APIDomain: "https://api.example.com", WebsiteDomain: "not used",
		Origin: func(r *http.Request) string {
			if r == nil {
				return "HTTPS://example.com/"
			}
			return r.Header.Get("site")
		},
	})
	require.Empty(t, errs)
	assert.False(t, info.HasConstantOrigin())
	origin, err := info.Origin(nil)
	require.NoError(t, err)
	assert.Equal(t, "https://example.com", origin)

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("site", "https://example.org")
	relation, err := info.Relation(r)
	require.NoError(t, err)
	assert.False(t, relation.SameSite)
	r.Header.Set("site", "backend")
	_, err = info.Relation(r)
	assert.ErrorContains(t, err, "AppInfo.Origin")
}
