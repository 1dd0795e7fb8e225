package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// routed is an instance with routes of other recipes, whose handlers tell which one it was.
func routed(t *testing.T, info session.AppInfo, change func(e *env.Env)) *bundle {
	t.Helper()
	return newBundle(t, storetest.Open(t, "memory"), setup{info: info, env: func(e *env.Env) {
		for _, r := range [][3]string{
			{"emailpassword", "POST", "/signin"}, {"emailpassword", "GET", "/signup/email/exists"}, {"passwordless", "GET", "/signup/email/exists"},
			{"multifactorauth", "PUT", "/mfa/info"}, {"thirdparty", "GET", "/authorisationurl"}, {"x", "GET", "/refresh"},
		} {
			e.Routes = append(e.Routes, env.Route{RecipeID: r[0], Method: r[1], Path: r[2], Handle: func(ctx context.Context, in env.Request) (any, error) {
				assert.Same(t, e, env.FromContext(ctx))
				assert.Same(t, in.Request, session.RequestFromContext(ctx))
				return env.Plain{Body: r[0] + " " + r[2] + " " + in.TenantID}, nil
			}})
		}
		if change != nil {
			change(e)
		}
	}})
}

func TestRouting(t *testing.T) {
	t.Parallel()
	b := routed(t, acme, nil)
	gateway := routed(t, session.AppInfo{
		AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example", APIGatewayPath: "/gate", APIBasePath: "/a.b",
	}, nil)
	root := routed(t, session.AppInfo{
		AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example", APIBasePath: "/",
	}, nil)
	for _, c := range []struct {
		b                 *bundle
		method, path, rid string
		want              string // "": it is not ours
	}{
		{b, "POST", "/auth/signin", "", "emailpassword /signin public"},
		{b, "POST", "/auth/signin/", "", "emailpassword /signin public"},
		{b, "POST", "/auth/signin?a=b", "", "emailpassword /signin public"},
		{b, "POST", "/auth/t1/signin", "", "emailpassword /signin t1"},
		{b, "POST", "/auth/T1/signin", "", "emailpassword /signin t1"},
		{b, "POST", "/auth/public/signin", "", "emailpassword /signin public"},
		{b, "POST", "/auth/appid-x/signin", "", "emailpassword /signin appid-x"},
		{b, "POST", "/auth/t_1/signin", "", ""},
		{b, "POST", "/auth/t1/t2/signin", "", ""},
		{b, "POST", "/auth//signin", "", ""},
		{b, "POST", "/auth/%73ignin", "", ""},
		{b, "POST", "/auth/Signin", "", ""},
		{b, "POST", "/AUTH/signin", "", ""},
		{b, "POST", "/authx/signin", "", ""},
		{b, "POST", "/auth", "", ""},
		{b, "POST", "/signin", "", ""},
		{b, "GET", "/auth/signin", "", ""},
		{b, "HEAD", "/auth/mfa/info", "", ""},
		{b, "OPTIONS", "/auth/signin", "", ""},
		{b, "PUT", "/auth/mfa/info", "emailpassword", "multifactorauth /mfa/info public"},
		{b, "PUT", "/auth/t1/mfa/info", "anti-csrf", "multifactorauth /mfa/info t1"},
		{b, "GET", "/auth/signup/email/exists", "", "emailpassword /signup/email/exists public"},
		{b, "GET", "/auth/signup/email/exists", "emailpassword", "emailpassword /signup/email/exists public"},
		{b, "GET", "/auth/signup/email/exists", "passwordless", "passwordless /signup/email/exists public"},
		{b, "GET", "/auth/t1/signup/email/exists", "passwordless", "passwordless /signup/email/exists t1"},
		{b, "GET", "/auth/signup/email/exists", "thirdpartypasswordless", "passwordless /signup/email/exists public"},
		{b, "GET", "/auth/signup/email/exists", "thirdpartyemailpassword", "emailpassword /signup/email/exists public"},
		{b, "GET", "/auth/signup/email/exists", "wrong", "emailpassword /signup/email/exists public"},
		{b, "GET", "/auth/authorisationurl", "thirdpartypasswordless", "thirdparty /authorisationurl public"},
		{b, "GET", "/auth/session/refresh", "", "x /refresh session"}, // a tenant of that name cannot be made
		{gateway, "POST", "/a.b/signin", "", "emailpassword /signin public"},
		{gateway, "POST", "/aXb/signin", "", ""},
		{gateway, "POST", "/gate/a.b/signin", "", ""},
		{root, "POST", "/signin", "", "emailpassword /signin public"},
		{root, "POST", "/t1/signin", "", "emailpassword /signin t1"},
	} {
		name := fmt.Sprintf("%s %s %s", c.method, c.path, c.rid)
		rid := func(r *http.Request) {
			if c.rid != "" {
				r.Header.Set("rid", c.rid)
			}
		}
		res := serve(c.b.Middleware(http.NotFoundHandler()), request(c.method, c.path, "", "", rid))
		if c.want == "" {
			require.Equal(t, "404 page not found\n", text(t, res), name)
			res = serve(c.b.Handler(), request(c.method, c.path, "", "", rid))
			require.Equal(t, http.StatusNotFound, res.StatusCode)
			require.Equal(t, `{"message":"not found"}`, text(t, res))
			continue
		}
		require.Equal(t, `"`+c.want+`"`, text(t, res), name)
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.Equal(t, "application/json; charset=utf-8", res.Header.Get("Content-Type"))
	}
}

func TestAMountedHandler(t *testing.T) {
	t.Parallel()
	b := routed(t, acme, nil)
	mux := http.NewServeMux()
	mux.Handle("/auth/", http.StripPrefix("/auth", b.Handler()))
	require.Equal(t, `"emailpassword /signin public"`, text(t, serve(mux, request("POST", "/auth/signin", "", ""))), "the path of the request target counts")
	r := request("POST", "/auth/signin", "", "")
	r.RequestURI = ""
	require.Equal(t, http.StatusOK, serve(b.Handler(), r).StatusCode)
	r.RequestURI = "http://api.acme.example/auth/t1/signin"
	require.Equal(t, `"emailpassword /signin t1"`, text(t, serve(b.Handler(), r)), "as a proxy is asked")
}

func TestTheTenantOfARequest(t *testing.T) {
	t.Parallel()
	var fail error
	b := routed(t, acme, func(e *env.Env) {
		e.TenantID = func(ctx context.Context, fromPath string) (string, error) {
			if session.RequestFromContext(ctx).Host == "sub.acme.example" {
				return "sub", fail
			}
			return fromPath, fail
		}
	})
	host := func(r *http.Request) { r.Host = "sub.acme.example" }
	require.Equal(t, `"emailpassword /signin sub"`, text(t, serve(b.Handler(), request("POST", "/auth/signin", "", "", host))))
	require.Equal(t, `"emailpassword /signin t1"`, text(t, serve(b.Handler(), request("POST", "/auth/t1/signin", "", ""))))
	fail = session.ErrTenantNotFound
	res := serve(b.Handler(), request("POST", "/auth/t1/signin", "", ""))
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Equal(t, `{"message":"Tenant not found"}`, text(t, res))
}

// The tenant of the path does not matter to the APIs of a session.
func TestSessionAPIsIgnoreTheTenant(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	tokens := tokensOf(t, b, "user-1")
	res := serve(b.Handler(), request("POST", "/auth/nobody/session/refresh", "", tokens.RefreshToken))
	require.Equal(t, http.StatusOK, res.StatusCode)
	res = serve(b.Handler(), request("POST", "/auth/nobody/signout", "", res.Header.Get("st-access-token")))
	require.Equal(t, `{"status":"OK"}`, text(t, res))
}

type named struct {
	Name string `json:"name"`
}

type refusal struct{ wrapped error }

func (r refusal) Error() string { return "refused" }
func (r refusal) Refusal() (string, map[string]any) {
	return "MINE", map[string]any{"n": 1, "status": "OK"}
}
func (r refusal) Unwrap() error { return r.wrapped }

func TestAnswers(t *testing.T) {
	t.Parallel()
	plain := env.Plain{Header: http.Header{"Cache-Control": {"max-age=1"}, "X-Mine": {"yes"}}, Body: []int{1}}
	for name, c := range map[string]struct {
		result any
		err    error
		status int
		body   string
		header string // "name: value"
	}{
		"nothing":           {nil, nil, 200, `{"status":"OK"}`, "Cache-Control: no-store"},
		"empty":             {struct{}{}, nil, 200, `{"status":"OK"}`, ""},
		"an object":         {named{"<x>"}, nil, 200, `{"status":"OK","name":"\u003cx\u003e"}`, ""},
		"a map":             {map[string]any{"a": 1}, nil, 200, `{"status":"OK","a":1}`, ""},
		"no object":         {[]int{1}, nil, 500, `{"message":"internal error"}`, ""},
		"no JSON":           {func() {}, nil, 500, `{"message":"internal error"}`, ""},
		"plain":             {plain, nil, 200, `[1]`, "Cache-Control: max-age=1"},
		"plain, its header": {plain, nil, 200, `[1]`, "X-Mine: yes"},
		"plain, no header":  {env.Plain{Body: struct{}{}}, nil, 200, `{}`, "Cache-Control: no-store"},

		"bad input":           {nil, &session.BadInputError{Message: "what?"}, 400, `{"message":"what?"}`, ""},
		"bad input, wrapped":  {nil, fmt.Errorf("no: %w", &session.BadInputError{Message: "what?"}), 400, `{"message":"what?"}`, ""},
		"bad input, refused":  {nil, refusal{&session.BadInputError{Message: "what?"}}, 400, `{"message":"what?"}`, ""},
		"unknown tenant":      {nil, fmt.Errorf("no: %w", session.ErrTenantNotFound), 400, `{"message":"Tenant not found"}`, ""},
		"refusal":             {nil, fmt.Errorf("no: %w", refusal{}), 200, `{"status":"MINE","n":1}`, ""},
		"sentinel":            {nil, session.NewRefusal("NO", "for the log"), 200, `{"status":"NO"}`, ""},
		"no session":          {nil, session.ErrSessionDoesNotExist, 200, `{"status":"SESSION_DOES_NOT_EXIST_ERROR"}`, ""},
		"general":             {nil, &session.GeneralError{Message: "sorry"}, 200, `{"status":"GENERAL_ERROR","message":"sorry"}`, "Retry-After: "},
		"general sentinel":    {nil, session.NewRefusal("GENERAL_ERROR", "sorry"), 200, `{"status":"GENERAL_ERROR","message":"sorry"}`, ""},
		"limited":             {nil, &session.GeneralError{Message: "wait", RetryAfter: 1001 * time.Millisecond}, 200, `{"status":"GENERAL_ERROR","message":"wait"}`, "Retry-After: 2"},
		"unauthorised":        {nil, &session.UnauthorisedError{Message: "secret"}, 401, unauthorised, "Front-Token: remove"},
		"keeps tokens":        {nil, &session.UnauthorisedError{KeepTokens: true}, 401, unauthorised, "Front-Token: "},
		"try refresh":         {nil, &session.TryRefreshTokenError{Message: "secret"}, 401, tryRefreshToken, "Front-Token: "},
		"theft":               {nil, &session.TokenTheftDetectedError{SessionHandle: "h"}, 401, stolen, "Front-Token: remove"},
		"claims":              {nil, &session.InvalidClaimsError{Errors: []session.ClaimValidationError{{ID: "a", Reason: 1}, {ID: "b"}}}, 403, `{"claimValidationErrors":[{"id":"a","reason":1},{"id":"b"}],"message":"invalid claim"}`, ""},
		"claims without one":  {nil, &session.InvalidClaimsError{}, 403, `{"claimValidationErrors":[],"message":"invalid claim"}`, ""},
		"a reason of no JSON": {nil, &session.InvalidClaimsError{Errors: []session.ClaimValidationError{{Reason: func() {}}}}, 500, `{"message":"internal error"}`, ""},
		"mistake":             {nil, &env.DeveloperError{Message: "look here"}, 500, `{"message":"look here"}`, ""},
		"protected":           {nil, &session.ProtectedClaimError{Name: "sub"}, 500, `{"message":"internal error"}`, ""},
		"unexpected":          {nil, errors.New("the password is 1234"), 500, `{"message":"internal error"}`, "Cache-Control: no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, storetest.Open(t, "memory"), setup{env: func(e *env.Env) {
				e.Routes = []env.Route{{Method: "GET", Path: "/x", Handle: func(context.Context, env.Request) (any, error) { return c.result, c.err }}}
			}})
			res := serve(b.Handler(), request("GET", "/auth/x", "", ""))
			require.Equal(t, c.status, res.StatusCode)
			require.Equal(t, c.body, text(t, res))
			if header, value, ok := strings.Cut(c.header, ": "); ok {
				require.Equal(t, value, res.Header.Get(header))
			}
			if c.status == 500 && c.err != nil && name == "unexpected" {
				require.Contains(t, b.log.String(), "1234", "the cause is in the log")
			}
			if c.err != nil { // and by the host's own call the same
				w := httptest.NewRecorder()
				b.HandleError(w, request("GET", "/", "", ""), c.err)
				require.Equal(t, c.status, w.Code)
				require.Equal(t, c.body, w.Body.String())
			}
		})
	}
}

func TestStatusCodesAndHandlers(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{SessionExpiredStatusCode: 440, InvalidClaimStatusCode: 460})
	for err, want := range map[error]int{
		&session.UnauthorisedError{}: 440, &session.TryRefreshTokenError{}: 440, &session.TokenTheftDetectedError{}: 440, &session.InvalidClaimsError{}: 460,
	} {
		w := httptest.NewRecorder()
		b.HandleError(w, request("GET", "/", "", ""), err)
		require.Equal(t, want, w.Code)
	}

	type h = http.ResponseWriter
	write := func(w h, text string) { w.WriteHeader(499); io.WriteString(w, text) }
	b = inMemory(t, session.Config{OlderCookieDomain: new(""), ErrorHandlers: session.ErrorHandlers{
		OnUnauthorised:                 func(w h, _ *http.Request, e *session.UnauthorisedError) { write(w, "unauthorised "+e.Message) },
		OnTryRefreshToken:              func(w h, _ *http.Request, e *session.TryRefreshTokenError) { write(w, "refresh "+e.Message) },
		OnTokenTheftDetected:           func(w h, _ *http.Request, e *session.TokenTheftDetectedError) { write(w, "theft "+e.SessionHandle) },
		OnInvalidClaim:                 func(w h, _ *http.Request, e *session.InvalidClaimsError) { write(w, "claims "+e.Error()) },
		OnClearDuplicateSessionCookies: func(w h, _ *http.Request, message string) { write(w, "twice "+message[:11]) },
	}})
	for err, want := range map[error]string{
		&session.UnauthorisedError{Message: "m"}: "unauthorised m", &session.TryRefreshTokenError{Message: "m"}: "refresh m",
		&session.TokenTheftDetectedError{SessionHandle: "h"}:                             "theft h",
		&session.InvalidClaimsError{Errors: []session.ClaimValidationError{{ID: "one"}}}: "claims invalid claim [one]",
	} {
		w := httptest.NewRecorder()
		b.HandleError(w, request("GET", "/", "", ""), err)
		require.Equal(t, 499, w.Code)
		require.Equal(t, want, w.Body.String())
	}
	w := httptest.NewRecorder()
	b.HandleError(w, request("GET", "/", "", ""), &session.UnauthorisedError{})
	require.Equal(t, "remove", w.Header().Get("front-token"), "tokens are cleared before the handler runs")
	res := serve(b.Handler(), request("POST", "/auth/session/refresh", "sRefreshToken=a; sRefreshToken=b", ""))
	require.Equal(t, "twice The request", text(t, res))

	b = inMemory(t, session.Config{ErrorHandlers: session.ErrorHandlers{OnTryRefreshToken: func(h, *http.Request, *session.TryRefreshTokenError) {}}})
	w = httptest.NewRecorder()
	b.HandleError(w, request("GET", "/", "", ""), &session.TryRefreshTokenError{})
	require.Equal(t, 401, w.Code, "a handler that writes nothing does not make it a 200")
}

// I-01, I-03: malformed bodies are a 4xx and reach nobody.
func TestBodies(t *testing.T) {
	t.Parallel()
	type field struct {
		ID string `json:"id"`
	}
	type input struct {
		DeviceName string  `json:"deviceName"`
		Fields     []field `json:"formFields"`
		N          int     `json:"n"`
	}
	var got, again input
	b := newBundle(t, storetest.Open(t, "memory"), setup{cfg: session.Config{MaxBodyBytes: 1000}, env: func(e *env.Env) {
		e.Routes = []env.Route{{Method: "POST", Path: "/x", Handle: func(ctx context.Context, in env.Request) (any, error) {
			got, again = input{}, input{}
			o := session.APIOptions{Request: in.Request, Response: in.Response}
			if err := o.Decode(&got); err != nil {
				return nil, err
			}
			if err := o.Decode(got); err == nil {
				return nil, errors.New("no pointer")
			}
			return nil, session.APIOptions{Request: session.RequestFromContext(ctx)}.Decode(&again)
		}}}
	}})
	const invalid = `{"message":"API input error: Please make sure to pass a valid JSON input in the request body`
	kind := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", value) }
	}
	encoded := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Encoding", value) }
	}
	failing := func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), errReader{})) }
	limited := func(r *http.Request) { r.Body = http.MaxBytesReader(nil, r.Body, 3) }
	for name, c := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		text   string
	}{
		"empty":                  {"", nil, 200, ""},
		"an object":              {`{"deviceName":"x"}`, nil, 200, ""},
		"of any kind":            {`{"deviceName":"x"}`, kind("text/plain; charset=UTF-16"), 400, invalid},
		"text":                   {`{"deviceName":"x"}`, kind("text/plain; charset=utf-8"), 200, ""},
		"utf-16 is no utf-8":     {`{"deviceName":"x"}`, kind("application/json; charset=latin1"), 400, invalid},
		"blanks":                 {"  ", nil, 400, invalid},
		"no JSON":                {"deviceName=x", nil, 400, invalid + `"}`},
		"null":                   {"null", nil, 400, invalid + `"}`},
		"a list":                 {"[]", nil, 400, invalid + `"}`},
		"a key twice":            {`{"deviceName":"a","deviceName":"b"}`, nil, 400, invalid + `: the key \"deviceName\" occurs twice"}`},
		"another case":           {`{"deviceName":"x","devicename":"y","DEVICENAME":"z"}`, nil, 200, ""},
		"a wrong type":           {`{"deviceName":5}`, nil, 400, invalid + `: deviceName has the wrong type"}`},
		"a wrong type, deep":     {`{"formFields":[{"id":{}}]}`, nil, 400, invalid + `: formFields.id has the wrong type"}`},
		"deep":                   {`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", nil, 400, invalid},
		"U+0000":                 {`{"deviceName":"\u0000"}`, nil, 400, invalid},
		"invalid UTF-8":          {"{\"deviceName\":\"\xff\"}", nil, 400, invalid},
		"just fits":              {`{"deviceName":"x"}` + strings.Repeat(" ", 1000-18), nil, 200, ""},
		"too large":              {`{"deviceName":"x"}` + strings.Repeat(" ", 1001-18), nil, 413, `{"message":"API input error: the body is too large"}`},
		"too large for the host": {`{"deviceName":"x"}`, limited, 413, `{"message":"API input error: the body is too large"}`},
		"gzip":                   {`{"deviceName":"x"}`, encoded("gzip"), 415, `{"message":"API input error: a body with a Content-Encoding is not read"}`},
		"identity":               {`{"deviceName":"x"}`, encoded("identity"), 200, ""},
		"cut off":                {"{", failing, 400, `{"message":"API input error: the body could not be read"}`},
	} {
		got = input{}
		r := httptest.NewRequest("POST", "/auth/x", strings.NewReader(c.body))
		if c.change != nil {
			c.change(r)
		}
		res := serve(b.Handler(), r)
		require.Equal(t, c.status, res.StatusCode, name)
		if c.status == 200 {
			require.Equal(t, strings.Contains(c.body, `"x"`), got.DeviceName == "x", name)
			require.Equal(t, got, again, "as often as one likes")
			continue
		}
		require.True(t, strings.HasPrefix(text(t, res), c.text), name)
		require.NotContains(t, b.log.String(), "level=ERROR", name)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// The body can be decoded outside of the middleware, too, and then still be read.
func TestDecodeElsewhere(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"name":"x","NAME":"y"}`))
	o := session.APIOptions{Request: r}
	var v named
	for range 2 {
		v = named{}
		require.NoError(t, o.Decode(&v))
		require.Equal(t, "x", v.Name)
	}
	raw, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, `{"name":"x","NAME":"y"}`, string(raw))
	require.Error(t, session.APIOptions{}.Decode(&v))

	b := inMemory(t, session.Config{})
	handler := b.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v named
		if err := (session.APIOptions{Request: r}).Decode(&v); err != nil {
			b.HandleError(w, r, err)
			return
		}
		json.NewEncoder(w).Encode(v)
	}))
	r = httptest.NewRequest("POST", "/mine", strings.NewReader(`{"name":"x"}`))
	require.Equal(t, "{\"name\":\"x\"}\n", text(t, serve(handler, r)))
	r = httptest.NewRequest("POST", "/mine", strings.NewReader(`{"name":"x","name":"x"}`))
	require.Equal(t, http.StatusBadRequest, serve(handler, r).StatusCode)
}

// S-09: only the configured origin is let in.
func TestCORS(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/mine", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "mine") })
	handler := b.CORS(b.Middleware(mux))
	with := func(origin string, preflight bool) func(*http.Request) {
		return func(r *http.Request) {
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			if preflight {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
		}
	}
	res := serve(handler, request("OPTIONS", "/auth/signout", "", "", with("https://acme.example", true)))
	require.Equal(t, http.StatusNoContent, res.StatusCode)
	require.Equal(t, "https://acme.example", res.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
	require.Equal(t, "GET, POST, PUT, DELETE", res.Header.Get("Access-Control-Allow-Methods"))
	require.Equal(t, "rid, fdi-version, anti-csrf, authorization, st-auth-mode, content-type", res.Header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "Origin", res.Header.Get("Vary"))
	require.Equal(t, []string{"rid", "fdi-version", "anti-csrf", "authorization", "st-auth-mode"}, session.GetAllCORSHeaders())

	res = serve(handler, request("GET", "/mine", "", "", with("https://acme.example", false)))
	require.Equal(t, "mine", text(t, res))
	require.Equal(t, "https://acme.example", res.Header.Get("Access-Control-Allow-Origin"))

	for _, origin := range []string{
		"", "null", "https://evil.example", "http://acme.example", "https://acme.example.evil.example", "https://ACME.example", "https://acme.example:8443",
	} {
		for _, r := range []*http.Request{
			request("OPTIONS", "/auth/signout", "", "", with(origin, true)), request("GET", "/mine", "", "", with(origin, false)),
			request("POST", "/auth/session/refresh", "", "", with(origin, false)), request("POST", "/auth/signout", "", "", with(origin, false)),
		} {
			res := serve(handler, r)
			require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"), origin)
			require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"), origin)
		}
	}
	res = serve(handler, request("GET", "/auth/jwt/jwks.json", "", "", with("https://evil.example", false)))
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"), "the key set is public")
	res = serve(handler, request("GET", "/auth/jwt/jwks.json", "", "", with("https://acme.example", false)))
	require.Equal(t, "https://acme.example", res.Header.Get("Access-Control-Allow-Origin"))

	broken := newBundle(t, storetest.Open(t, "memory"), setup{info: session.AppInfo{
		AppName: "Acme", APIDomain: "https://api.acme.example", Origin: func(*http.Request) string { return "backend" },
	}})
	res = serve(broken.CORS(mux), request("GET", "/mine", "", "", with("https://acme.example", false)))
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	res = serve(broken.Verify(mux), request("GET", "/mine", "", "", func(r *http.Request) {}))
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	res = serve(broken.Handler(), request("POST", "/auth/session/refresh", "", ""))
	require.Equal(t, http.StatusInternalServerError, res.StatusCode, "its cookies cannot be cleared")
}

func TestKeySetAndDiscovery(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), setup{info: session.AppInfo{
		AppName: "Acme", APIDomain: "api.acme.example", WebsiteDomain: "acme.example", APIGatewayPath: "/gate",
	}})
	res := serve(b.Handler(), request("GET", "/auth/jwt/jwks.json", "", ""))
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, fmt.Sprintf("max-age=%d, must-revalidate", 168*3600-15*60), res.Header.Get("Cache-Control"))
	var set struct{ Keys []map[string]string }
	require.NoError(t, json.Unmarshal([]byte(text(t, res)), &set))
	require.Len(t, set.Keys, 1)
	require.Equal(t, []string{"EC", "P-256", "ES256", "sig"}, []string{set.Keys[0]["kty"], set.Keys[0]["crv"], set.Keys[0]["alg"], set.Keys[0]["use"]})
	require.Len(t, set.Keys[0]["x"], 43)
	require.Len(t, set.Keys[0]["y"], 43)
	require.NotContains(t, set.Keys[0], "d")
	b.clock.Add(168*time.Hour - 15*time.Minute - 500*time.Millisecond)
	res = serve(b.Handler(), request("GET", "/auth/jwt/jwks.json", "", ""))
	require.Equal(t, "max-age=1, must-revalidate", res.Header.Get("Cache-Control"))

	res = serve(b.Handler(), request("GET", "/auth/.well-known/openid-configuration", "", ""))
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, res.Header["Cache-Control"])
	require.JSONEq(t, `{"issuer":"https://api.acme.example/gate/auth","jwks_uri":"https://api.acme.example/gate/auth/jwt/jwks.json",
		"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"],
		"response_types_supported":["code","id_token","id_token token"]}`, text(t, res))

	var cfg session.Config
	cfg.Override.APIs = func(_ session.APIs, apis *session.APIs) {
		apis.GetJWKSGET = func(context.Context, session.GetJWKSGETInput) (session.JWKS, error) {
			return session.JWKS{}, &session.GeneralError{Message: "no keys today"}
		}
	}
	res = serve(inMemory(t, cfg).Handler(), request("GET", "/auth/jwt/jwks.json", "", ""))
	require.Equal(t, `{"status":"GENERAL_ERROR","message":"no keys today"}`, text(t, res))
	require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
}

// frameworkWriter is what frameworks give: a writer of their own that they go on to use.
// Another writer between the middleware and the route has a header of its own.
// G-02: no log holds a token.
