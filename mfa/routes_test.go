package mfa_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
)

// door says what a route does to a session of a user who owes a factor that is set up.
type door struct {
	body     string
	open     int  // status at v = false
	sends    bool // it may send tokens: the claim in them must then be v = false
	anybody  bool // it needs no session
	noTokens bool // its 200 must not carry any
}

// doors is the list of all routes. A route that is missing here fails the test: whoever adds one has to say what it does at v = false.
var doors = map[string]door{
	"POST /signup": {
		body: `{"formFields":[{"id":"email","value":"new@example.com"},{"id":"password","value":"analytical engine 1"}]}`, open: 200, sends: true, anybody: true,
	},
	"POST /signin": {
		body: `{"formFields":[{"id":"email","value":"ada@example.com"},{"id":"password","value":"analytical engine 1"}]}`, open: 200, sends: true, anybody: true,
	},
	"GET /emailpassword/email/exists":       {open: 200, anybody: true, noTokens: true},
	"GET /signup/email/exists":              {open: 200, anybody: true, noTokens: true},
	"POST /totp/device":                     {body: `{}`, open: 403},
	"GET /totp/device/list":                 {open: 200, noTokens: true},
	"POST /totp/device/remove":              {body: `{"deviceName":"TOTP Device 1"}`, open: 403},
	"POST /totp/device/verify":              {body: `{"deviceName":"TOTP Device 1","totp":"123456"}`, open: 403},
	"POST /totp/verify":                     {body: `{"totp":"abcdef"}`, open: 200, noTokens: true},
	"PUT /mfa/info":                         {body: `{}`, open: 200, sends: true},
	"POST /session/refresh":                 {open: 200, sends: true},
	"POST /signout":                         {open: 200},
	"GET /jwt/jwks.json":                    {open: 200, anybody: true, noTokens: true},
	"GET /.well-known/openid-configuration": {open: 200, anybody: true, noTokens: true},
}

func pathOf(route string) string {
	_, path, _ := strings.Cut(route, " ")
	if strings.HasSuffix(path, "/exists") {
		path += "?email=ada@example.com"
	}
	return "/auth" + path
}

// D-01 and D-03: every route that can send session headers gives v = false to a user who owes a factor, and what a half-done session may do is exactly
// this list.
func TestEveryDoorOfAHalfDoneSession(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody))
	var routes []string
	for _, r := range mfa.Routes(b.MFA) {
		routes = append(routes, r.Method+" "+r.Path)
	}
	for _, r := range routes {
		require.Contains(t, doors, r, "say in doors what this route does at v = false")
	}
	require.Len(t, doors, len(routes), "a door without a route")
	b.enrolled(ada)

	for route, d := range doors {
		c := b.client()
		require.True(t, c.SignIn(ada, password).Is("OK"))
		require.False(t, c.V())
		c.NoRefresh = true
		method, _, _ := strings.Cut(route, " ")
		var r frontend.Response
		if route == "POST /session/refresh" {
			r = c.RefreshSession()
		} else {
			r = send(t, b.url, method, pathOf(route), d.body, map[string]string{"Authorization": "Bearer " + c.Access, "st-auth-mode": "header"})
		}
		require.Equal(t, d.open, r.Status, "%s: %s", route, r.Body)
		if d.noTokens {
			require.Empty(t, r.Header.Get("front-token"), route)
		}
		if front := r.Header.Get("front-token"); front != "" && front != "remove" {
			require.True(t, d.sends, "%s sent tokens", route)
			require.Contains(t, decodeFront(t, front), `"v":false`, route)
		}
		if r.Status == http.StatusForbidden {
			require.Contains(t, r.Body, `"id":"st-mfa"`, route)
		}

		anonymous := send(t, b.url, method, pathOf(route), d.body, nil)
		if d.anybody {
			require.Equal(t, 200, anonymous.Status, "%s without a session: %s", route, anonymous.Body)
		} else {
			require.Equal(t, 401, anonymous.Status, "%s without a session: %s", route, anonymous.Body)
		}
	}
	require.NotContains(t, b.db.Dump("sessions"), `"v":true`+`}}`+" ada", "nobody got in")
}

// I-01: no body, path, query or header of any kind makes a panic or a 500, and what is malformed changes nothing.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c, _ := b.enrolled(ada)
		deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
		bodies := map[string]int{ // status where the route reads a body
			`{`: 400, `null`: 400, `[]`: 400, `"x"`: 400, `1`: 400, `{"formFields":1,"deviceName":1,"totp":1,"shouldTryLinkingWithSessionUser":1}`: 400,
			`{"formFields":null,"deviceName":null,"totp":null}`: 400, `{"formFields":[1],"deviceName":[],"totp":{}}`: 400,
			"{\"formFields\":\"\xff\",\"deviceName\":\"\xff\",\"totp\":\"\xff\"}": 400, `{"formFields":[],"totp":"\u0000","deviceName":"\u0000"}`: 400,
			`{"totp":"1","totp":"2","deviceName":"x","deviceName":"y","formFields":[],"formFields":[]}`: 400, deep: 400,
			`{"TOTP":"123456","DeviceName":"x","FormFields":[]}`: 400, "\xef\xbb\xbf{}": 400, `{} {}`: 400,
			`{"formFields":[{"id":"email","value":{}},{"id":"password","value":[]}],"deviceName":true,"totp":false}`: 400,
		}
		huge := `{"x":"` + strings.Repeat("a", 1<<20) + `"}`
		reads := []string{"POST /signup", "POST /signin", "POST /totp/device", "POST /totp/device/remove", "POST /totp/device/verify", "POST /totp/verify"}
		before := db.Dump()
		for route := range doors {
			method, _, _ := strings.Cut(route, " ")
			if route == "POST /session/refresh" || route == "POST /signout" {
				continue // they read no body and change the session
			}
			header := map[string]string{"Authorization": "Bearer " + c.Access, "st-auth-mode": "header", "rid": "anti-csrf"}
			for body, want := range bodies {
				if route == "POST /totp/device" && strings.Contains(body, "TOTP") {
					continue // all its members are optional
				}
				r := send(t, b.url, method, pathOf(route), body, header)
				if slices.Contains(reads, route) {
					require.Equal(t, want, r.Status, "%s with %.60q: %s", route, body, r.Body)
					require.NotEmpty(t, r.JSON["message"], "%s with %.60q", route, body)
				} else {
					require.Less(t, r.Status, 500, "%s with %.60q: %s", route, body, r.Body)
				}
			}
			if slices.Contains(reads, route) {
				require.Equal(t, 413, send(t, b.url, method, pathOf(route), huge, header).Status, route)
				for _, encoding := range []string{"gzip", "deflate", "br"} {
					r := send(t, b.url, method, pathOf(route), `{}`, map[string]string{"Authorization": "Bearer " + c.Access, "Content-Encoding": encoding})
					require.Equal(t, 415, r.Status, route)
				}
				r := send(t, b.url, method, pathOf(route), `{}`, map[string]string{"Authorization": "Bearer " + c.Access, "Content-Type": "application/json; charset=latin1"})
				require.Equal(t, 400, r.Status, route)
			}
			for _, odd := range []string{"HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "PROPFIND"} {
				require.Equal(t, 404, send(t, b.url, odd, pathOf(route), "", header).Status, "%s %s falls through to the application", odd, route)
			}
		}
		for _, query := range []string{"", "?email=", "?email=a&email=b", "?email=%ff", "?email=%00", "?email=" + strings.Repeat("a", 8000), "?%zz"} {
			r := send(t, b.url, "GET", "/auth/emailpassword/email/exists"+query, "", nil)
			require.Less(t, r.Status, 500, "%s: %s", query, r.Body)
		}
		require.Equal(t, before, db.Dump(), "nothing was changed")

		// An unknown tenant of the path is a 400 where the tenant counts, and nothing where it does not.
		for route, d := range doors {
			method, _, _ := strings.Cut(route, " ")
			for _, tenant := range []string{"nosuch", "users", "UPPER", strings.Repeat("a", 65)} {
				path := strings.Replace(pathOf(route), "/auth/", "/auth/"+tenant+"/", 1)
				r := send(t, b.url, method, path, d.body, nil)
				require.Less(t, r.Status, 500, "%s: %s", path, r.Body)
				if strings.Contains(path, "sign") && !strings.Contains(path, "signout") || strings.Contains(path, "exists") {
					require.Equal(t, 400, r.Status, "%s: %s", path, r.Body)
					require.JSONEq(t, `{"message":"Tenant not found"}`, r.Body)
				}
			}
		}
	})
}

// Tokens of every broken form are refused with a 401, on every route that wants one.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	c := b.signedUp(ada)
	for _, token := range []string{
		"", ".", "..", "...", "x", c.Access[:len(c.Access)-1], c.Access + "A", c.Access + ".x", strings.ToUpper(c.Access),
		strings.Repeat(".", 1<<14), strings.Repeat("a", 20000), "\"" + c.Access + "\"", "null", c.Refresh,
	} {
		for _, route := range []string{"PUT /mfa/info", "GET /totp/device/list", "POST /signout"} {
			method, _, _ := strings.Cut(route, " ")
			r := send(t, b.url, method, pathOf(route), "", map[string]string{"Authorization": "Bearer " + token})
			require.Equal(t, 401, r.Status, "%s with %.40q: %s", route, token, r.Body)
		}
		r := send(t, b.url, "POST", "/auth/session/refresh", "", map[string]string{"Authorization": "Bearer " + token})
		if token != c.Refresh {
			require.Equal(t, 401, r.Status, "refresh with %.40q: %s", token, r.Body)
		}
	}
}

// FuzzRoutes sends anything to every route.
func FuzzRoutes(f *testing.F) {
	f.Add("POST", "/auth/signin", `{"formFields":[{"id":"email","value":"a@b.cc"},{"id":"password","value":"x"}]}`, "header", "rid")
	f.Add("PUT", "/auth/mfa/info", `{}`, "cookie", "")
	f.Add("POST", "/auth/t1/totp/verify", `{"totp":"123456"}`, "", "anti-csrf")
	f.Add("GET", "/auth/emailpassword/email/exists?email=%00", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, body, mode, rid string) {
		b := fuzzed(t)
		req, err := http.NewRequest(method, "http://localhost:3001"+path, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		req.Header["St-Auth-Mode"] = []string{mode}
		req.Header["Rid"] = []string{rid}
		w := &recorder{header: http.Header{}}
		b.Middleware(http.NotFoundHandler()).ServeHTTP(w, req)
		if w.status >= 500 {
			t.Fatalf("%s %s %q: %d %s", method, path, body, w.status, w.body.String())
		}
	})
}

func fuzzed(t *testing.T) *bundle { return newBundle(t, storetest.Open(t, "memory")) }

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
func (r *recorder) Write(p []byte) (int, error) { r.WriteHeader(200); return r.body.Write(p) }

func send(t *testing.T, base, method, path, body string, header map[string]string) frontend.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return frontend.Response{Status: res.StatusCode, Header: res.Header, Body: string(text), JSON: parse(string(text))}
}
