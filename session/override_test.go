package session_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/session"
)

// spy notes which fields of the tables are called, by overrides that call the original. Each must find the instance and, in a request, the request.
type spy struct {
	mu     sync.Mutex
	called []string
	wrong  []string
}

func (s *spy) note(ctx context.Context, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called = append(s.called, name)
	if env.FromContext(ctx) == nil {
		s.wrong = append(s.wrong, name)
	}
}

func (s *spy) reset() { s.called = nil }

// wrap replaces every field of a table by one that notes its call.
func (s *spy) wrap(original, table any) {
	from, to := reflect.ValueOf(original), reflect.ValueOf(table).Elem()
	for i := range to.NumField() {
		name, f := to.Type().Field(i).Name, from.Field(i)
		to.Field(i).Set(reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
			s.note(args[0].Interface().(context.Context), name)
			return f.Call(args)
		}))
	}
}

func (s *spy) override() session.Override {
	return session.Override{
		Functions: func(original session.Functions, functions *session.Functions) { s.wrap(original, functions) },
		APIs:      func(original session.APIs, apis *session.APIs) { s.wrap(original, apis) },
	}
}

// The library itself calls every function through the table: from its methods, from the methods of a session, from its APIs and from other functions.
func TestTheTablesAreUsed(t *testing.T) {
	t.Parallel()
	s := &spy{}
	flag := session.NewBooleanClaim("flag", func(context.Context, session.FetchValueInput) (bool, bool, error) { return true, true, nil })
	b := newBundle(t, storetest.Open(t, "memory"), setup{cfg: session.Config{Override: s.override()}})
	handler := app(b, session.NewSession{RevokeReplaced: true})
	ctx := t.Context()
	signed := func() *session.Session { return b.sign("user-1") }
	check := func(name string, f func(own *session.Session) error, want ...string) {
		t.Helper()
		own := signed()
		s.reset()
		require.NoError(t, f(own), name)
		for _, field := range want {
			require.Contains(t, s.called, field, name)
		}
		require.Empty(t, s.wrong, "the instance is in ctx")
	}
	checkHTTP := func(method, path string, want ...string) {
		t.Helper()
		check(method+" "+path, func(own *session.Session) error {
			tokens := own.AllSessionTokensDangerously()
			bearer := tokens.AccessToken
			if path == "/auth/session/refresh" {
				bearer = tokens.RefreshToken
			}
			if res := serve(handler, request(method, path, "", bearer)); res.StatusCode >= 300 {
				return errors.New(res.Status)
			}
			return nil
		}, want...)
	}
	check("CreateNewSession...", func(*session.Session) error { signed(); return nil }, "CreateNewSession")
	checkHTTP("POST", "/login", "CreateNewSession", "RevokeSession")
	checkHTTP("GET", "/me", "VerifySession", "GetSession", "GetGlobalClaimValidators")
	checkHTTP("POST", "/auth/session/refresh", "RefreshPOST", "RefreshSession")
	checkHTTP("POST", "/auth/signout", "GetSession", "SignOutPOST", "RevokeSession")
	checkHTTP("GET", "/auth/jwt/jwks.json", "GetJWKSGET", "GetJWKS")
	checkHTTP("GET", "/auth/.well-known/openid-configuration", "GetOpenIDDiscoveryConfigurationGET", "GetOpenIDDiscoveryConfiguration")
	check("GetSession...", func(own *session.Session) error { _, err := b.verified(own.AccessToken()); return err }, "GetSession", "GetGlobalClaimValidators")
	check("RefreshSession...", func(own *session.Session) error {
		_, err := b.refreshed(own.AllSessionTokensDangerously().RefreshToken)
		return err
	}, "RefreshSession")
	check("GetSessionInformation", func(own *session.Session) error { _, err := b.GetSessionInformation(ctx, own.Handle()); return err }, "GetSessionInformation")
	check("GetAllSessionHandlesForUser", func(*session.Session) error {
		_, err := b.GetAllSessionHandlesForUser(ctx, session.GetAllSessionHandlesForUserInput{UserID: "user-1"})
		return err
	}, "GetAllSessionHandlesForUser")
	check("RevokeAllSessionsForUser", func(*session.Session) error {
		_, err := b.RevokeAllSessionsForUser(ctx, session.RevokeAllSessionsForUserInput{UserID: "user-1"})
		return err
	}, "RevokeAllSessionsForUser")
	check("RevokeSession", func(own *session.Session) error { _, err := b.RevokeSession(ctx, own.Handle()); return err }, "RevokeSession")
	check("RevokeMultipleSessions", func(own *session.Session) error {
		_, err := b.RevokeMultipleSessions(ctx, []string{own.Handle()})
		return err
	}, "RevokeMultipleSessions")
	check("UpdateSessionDataInDatabase", func(own *session.Session) error { return b.UpdateSessionDataInDatabase(ctx, own.Handle(), nil) }, "UpdateSessionDataInDatabase")
	check("MergeIntoAccessTokenPayload", func(own *session.Session) error {
		return b.MergeIntoAccessTokenPayload(ctx, own.Handle(), map[string]any{"a": 1})
	}, "MergeIntoAccessTokenPayload", "GetSessionInformation")
	check("RegenerateAccessToken", func(own *session.Session) error {
		_, err := b.RegenerateAccessToken(ctx, session.RegenerateAccessTokenInput{AccessToken: own.AccessToken()})
		return err
	}, "RegenerateAccessToken")
	check("ValidateClaims", func(*session.Session) error {
		_, err := b.ValidateClaims(ctx, session.ValidateClaimsInput{})
		return err
	}, "ValidateClaims")
	check("FetchAndSetClaim", func(own *session.Session) error { return b.FetchAndSetClaim(ctx, own.Handle(), flag) },
		"FetchAndSetClaim", "GetSessionInformation", "MergeIntoAccessTokenPayload")
	check("SetClaimValue", func(own *session.Session) error { return b.SetClaimValue(ctx, own.Handle(), flag, true) },
		"SetClaimValue", "MergeIntoAccessTokenPayload")
	check("GetClaimValue", func(own *session.Session) error { _, _, err := b.GetClaimValue(ctx, own.Handle(), flag); return err },
		"GetClaimValue", "GetSessionInformation")
	check("RemoveClaim", func(own *session.Session) error {
		if err := b.SetClaimValue(ctx, own.Handle(), flag, true); err != nil {
			return err
		}
		s.reset()
		return b.RemoveClaim(ctx, own.Handle(), flag)
	}, "RemoveClaim", "MergeIntoAccessTokenPayload")
	check("ValidateClaimsForSessionHandle", func(own *session.Session) error {
		return b.ValidateClaimsForSessionHandle(ctx, own.Handle(), session.VerifyOptions{Require: []session.ClaimValidator{flag.IsTrue()}})
	}, "GetGlobalClaimValidators", "ValidateClaims", "MergeIntoAccessTokenPayload")
	check("CreateJWT", func(*session.Session) error { _, err := b.CreateJWT(ctx, session.CreateJWTInput{}); return err }, "CreateJWT")
	check("GetJWKS", func(*session.Session) error { _, err := b.GetJWKS(ctx); return err }, "GetJWKS")
	check("GetOpenIDDiscoveryConfiguration", func(*session.Session) error { _, err := b.GetOpenIDDiscoveryConfiguration(ctx); return err },
		"GetOpenIDDiscoveryConfiguration")

	check("Session.Revoke", func(own *session.Session) error { return own.Revoke(ctx) }, "RevokeSession")
	check("Session.TimeCreated", func(own *session.Session) error { _, err := own.TimeCreated(ctx); return err }, "GetSessionInformation")
	check("Session.Expiry", func(own *session.Session) error { _, err := own.Expiry(ctx); return err }, "GetSessionInformation")
	check("Session.DataFromDatabase", func(own *session.Session) error { _, err := own.DataFromDatabase(ctx); return err }, "GetSessionInformation")
	check("Session.UpdateDataInDatabase", func(own *session.Session) error { return own.UpdateDataInDatabase(ctx, nil) }, "UpdateSessionDataInDatabase")
	check("Session.Merge...", func(own *session.Session) error { return own.MergeIntoAccessTokenPayload(ctx, map[string]any{"a": 1}) }, "RegenerateAccessToken")
	check("Session.FetchAndSetClaim", func(own *session.Session) error { return own.FetchAndSetClaim(ctx, flag) }, "RegenerateAccessToken")
	check("Session.SetClaimValue", func(own *session.Session) error { return own.SetClaimValue(ctx, flag, true) }, "RegenerateAccessToken")
	check("Session.AssertClaims", func(own *session.Session) error { return own.AssertClaims(ctx, flag.IsTrue()) }, "ValidateClaims", "RegenerateAccessToken")
	check("Session.ChangePayload", func(own *session.Session) error { return own.ChangePayload(ctx, env.Key{}, completed("a")) }, "RegenerateAccessToken")
	check("Recipe.ChangePayload", func(own *session.Session) error { return b.ChangePayload(ctx, env.Key{}, own.Handle(), completed("a")) },
		"GetSessionInformation", "MergeIntoAccessTokenPayload")
}

// Every field has a check above: a field that is added without one fails here.
func TestEveryFieldOfTheTablesIsChecked(t *testing.T) {
	t.Parallel()
	checked := []string{
		"CreateNewSession", "GetGlobalClaimValidators", "GetSession", "RefreshSession", "GetSessionInformation", "GetAllSessionHandlesForUser",
		"RevokeAllSessionsForUser", "RevokeSession", "RevokeMultipleSessions", "UpdateSessionDataInDatabase", "MergeIntoAccessTokenPayload",
		"RegenerateAccessToken", "ValidateClaims", "FetchAndSetClaim", "SetClaimValue", "GetClaimValue", "RemoveClaim", "CreateJWT", "GetJWKS",
		"GetOpenIDDiscoveryConfiguration",
		"RefreshPOST", "SignOutPOST", "GetJWKSGET", "GetOpenIDDiscoveryConfigurationGET", "VerifySession",
	}
	for _, table := range []reflect.Type{reflect.TypeFor[session.Functions](), reflect.TypeFor[session.APIs]()} {
		for i := range table.NumField() {
			require.True(t, slices.Contains(checked, table.Field(i).Name), table.Field(i).Name)
		}
	}
}

func TestANilFunctionIsAMistake(t *testing.T) {
	t.Parallel()
	var cfg session.Config
	cfg.Override.Functions = func(_ session.Functions, functions *session.Functions) {
		functions.GetSession, functions.CreateJWT = nil, nil
	}
	cfg.Override.APIs = func(_ session.APIs, apis *session.APIs) { apis.VerifySession = nil }
	_, err := tryBundle(t, storetest.Open(t, "memory"), setup{cfg: cfg})
	require.ErrorContains(t, err, "GetSession nil")
	require.ErrorContains(t, err, "CreateJWT nil")
	require.ErrorContains(t, err, "VerifySession nil")
}

func TestANilAPISwitchesItsRouteOff(t *testing.T) {
	t.Parallel()
	var cfg session.Config
	cfg.Override.APIs = func(_ session.APIs, apis *session.APIs) {
		*apis = session.APIs{VerifySession: apis.VerifySession}
	}
	b := inMemory(t, cfg)
	handler := b.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, route := range []string{
		"POST /auth/session/refresh", "POST /auth/signout", "GET /auth/jwt/jwks.json", "GET /auth/.well-known/openid-configuration",
	} {
		method, path, _ := strings.Cut(route, " ")
		require.Equal(t, http.StatusTeapot, serve(handler, request(method, path, "", "")).StatusCode, route)
	}
}

// An override of the refresh may end the session, answer by itself, or refuse what was just made.
func TestOverridesOfRefreshPOST(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		override func(s *session.Session, in session.RefreshPOSTInput) error
		status   int
		body     string
		front    string // "" is a token
	}{
		"revokes": {func(s *session.Session, in session.RefreshPOSTInput) error {
			return s.Revoke(in.Options.Request.Context())
		}, 200, "{}", "remove"},
		"answers": {func(_ *session.Session, in session.RefreshPOSTInput) error {
			in.Options.Response.WriteHeader(http.StatusAccepted)
			in.Options.Response.Write([]byte("mine"))
			return nil
		}, 202, "mine", ""},
		"answers and fails": {func(_ *session.Session, in session.RefreshPOSTInput) error {
			in.Options.Response.Write([]byte("mine"))
			return errors.New("too late")
		}, 200, "mine", ""},
		"refuses": {func(*session.Session, session.RefreshPOSTInput) error { return &session.UnauthorisedError{} }, 401, unauthorised, "remove"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg session.Config
			cfg.Override.APIs = func(original session.APIs, apis *session.APIs) {
				apis.RefreshPOST = func(ctx context.Context, in session.RefreshPOSTInput) (*session.Session, error) {
					s, err := original.RefreshPOST(ctx, in)
					if err != nil {
						return nil, err
					}
					return s, c.override(s, in)
				}
			}
			b := inMemory(t, cfg)
			tokens := tokensOf(t, b, "user-1")
			res := serve(b.Handler(), request("POST", "/auth/session/refresh", "sRefreshToken="+tokens.RefreshToken, ""))
			require.Equal(t, c.status, res.StatusCode)
			require.Equal(t, c.body, text(t, res))
			if c.front != "" {
				require.Equal(t, c.front, res.Header.Get("front-token"))
				for _, cookie := range res.Cookies() {
					require.Empty(t, cookie.Value)
				}
			} else {
				require.Equal(t, "user-1", frontOf(t, res).UID)
			}
		})
	}
}

// A payload that an override changed may not name what belongs to the token; nothing is written then.
func TestAnOverrideOfCreateNewSession(t *testing.T) {
	t.Parallel()
	var cfg session.Config
	name := "extra"
	cfg.Override.Functions = func(original session.Functions, functions *session.Functions) {
		functions.CreateNewSession = func(ctx context.Context, in session.CreateNewSessionInput) (*session.Session, error) {
			in.AccessTokenPayload[name] = session.RequestFromContext(ctx) != nil
			return original.CreateNewSession(ctx, in)
		}
	}
	b := inMemory(t, cfg)
	require.Equal(t, false, b.sign("user-1").AccessTokenPayload()["extra"])
	c := newClient(t, app(b, session.NewSession{}), "header")
	require.Contains(t, string(frontOf(t, c.call("POST", "/login", "")).Up), `"extra":true`)
	before := b.db.Dump("sessions")
	name = "stt"
	_, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "user-1"})
	var protected *session.ProtectedClaimError
	require.ErrorAs(t, err, &protected)
	require.Equal(t, http.StatusInternalServerError, c.call("POST", "/login", "").StatusCode)
	require.Equal(t, before, b.db.Dump("sessions"))
}

// I-03: a panic in any override is a 500 without a session, with the cause in the log alone.
func TestPanicsInOverrides(t *testing.T) {
	t.Parallel()
	const secret = "the secret cause"
	for _, field := range []string{
		"CreateNewSession", "GetSession", "RefreshSession", "GetGlobalClaimValidators", "RevokeSession", "GetJWKS", "GetOpenIDDiscoveryConfiguration",
		"RefreshPOST", "SignOutPOST", "GetJWKSGET", "GetOpenIDDiscoveryConfigurationGET", "VerifySession",
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			armed, first := false, false // first: before the original is called
			hit := func(original, table any) {
				to := reflect.ValueOf(table).Elem().FieldByName(field)
				if !to.IsValid() {
					return
				}
				f := reflect.ValueOf(original).FieldByName(field)
				to.Set(reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
					if armed && first {
						panic(secret)
					}
					results := f.Call(args)
					if armed {
						panic(secret)
					}
					return results
				}))
			}
			b := inMemory(t, session.Config{Override: session.Override{
				Functions: func(o session.Functions, f *session.Functions) { hit(o, f) },
				APIs:      func(o session.APIs, f *session.APIs) { hit(o, f) },
			}})
			b.env.Routes = append(b.env.Routes, env.Route{Method: "POST", Path: "/signin", Handle: func(_ context.Context, in env.Request) (any, error) {
				_, err := b.CreateNewSession(in.Response, in.Request, session.NewSession{RecipeUserID: "user-1", RevokeReplaced: true})
				return nil, err
			}})
			handler := app(b, session.NewSession{})
			for _, first = range []bool{true, false} {
				failed := 0
				for _, route := range [][2]string{
					{"POST", "/auth/signin"}, {"GET", "/me"}, {"POST", "/auth/session/refresh"}, {"POST", "/auth/signout"}, {"GET", "/auth/jwt/jwks.json"},
					{"GET", "/auth/.well-known/openid-configuration"},
				} {
					armed = false
					tokens := tokensOf(t, b, "user-1")
					bearer := tokens.AccessToken
					if route[1] == "/auth/session/refresh" {
						bearer = tokens.RefreshToken
					}
					armed = true
					res := serve(handler, request(route[0], route[1], "", bearer))
					if res.StatusCode == http.StatusOK {
						continue
					}
					failed++
					require.Equal(t, http.StatusInternalServerError, res.StatusCode, route)
					require.Equal(t, `{"message":"internal error"}`, text(t, res))
					if route[1] == "/auth/signin" {
						for _, name := range []string{"Front-Token", "St-Access-Token", "St-Refresh-Token", "Set-Cookie"} {
							require.Empty(t, res.Header[name], "no session")
						}
					}
					require.Contains(t, b.log.String(), secret)
				}
				require.NotZero(t, failed)
			}
		})
	}
}

func TestPanicsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	mine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the host's own") })
	tokens := tokensOf(t, b, "user-1")
	for _, handler := range []http.Handler{b.Middleware(mine), b.Verify(mine), b.Middleware(b.Verify(mine)), b.CORS(mine)} {
		require.PanicsWithValue(t, "the host's own", func() { serve(handler, request("GET", "/", "", tokens.AccessToken)) })
	}
	var cfg session.Config
	cfg.Override.APIs = func(_ session.APIs, apis *session.APIs) {
		apis.SignOutPOST = func(context.Context, session.SignOutPOSTInput) error { panic(http.ErrAbortHandler) }
	}
	b = inMemory(t, cfg)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		serve(b.Handler(), request("POST", "/auth/signout", "", tokensOf(t, b, "user-1").AccessToken))
	})
}

// An override that forgets the error does not open the route.
func TestAnOverrideWithoutSessionAndError(t *testing.T) {
	t.Parallel()
	var cfg session.Config
	cfg.Override.APIs = func(_ session.APIs, apis *session.APIs) {
		apis.VerifySession = func(context.Context, session.VerifySessionInput) (*session.Session, error) { return nil, nil }
	}
	b := inMemory(t, cfg)
	require.Equal(t, http.StatusUnauthorized, serve(app(b, session.NewSession{}), request("GET", "/me", "", tokensOf(t, b, "user-1").AccessToken)).StatusCode)

	cfg = session.Config{}
	cfg.Override.Functions = func(_ session.Functions, functions *session.Functions) {
		functions.GetSession = func(context.Context, session.GetSessionInput) (*session.Session, error) { return nil, nil }
	}
	b = inMemory(t, cfg)
	require.Equal(t, http.StatusUnauthorized, serve(app(b, session.NewSession{}), request("GET", "/me", "", "")).StatusCode)
}

// What VerifySession protects may be the path of the refresh itself.
func TestVerifySessionOfTheRefreshPath(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), setup{info: session.AppInfo{
		AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example", APIGatewayPath: "/gateway",
	}})
	var own *session.Session
	handler := b.Verify(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { own = session.FromContext(r.Context()) }))
	tokens := tokensOf(t, b, "user-1")
	res := serve(handler, request("POST", "/auth/session/refresh", "", tokens.RefreshToken))
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NotEqual(t, tokens.RefreshToken, own.AllSessionTokensDangerously().RefreshToken)
	require.Equal(t, http.StatusUnauthorized, serve(handler, request("GET", "/auth/session/refresh", "", tokens.RefreshToken)).StatusCode)
}

func TestValidatorsOfARoute(t *testing.T) {
	t.Parallel()
	claim := func(key string) *session.BooleanClaim { return session.NewBooleanClaim(key, nil) }
	one, two := claim("one"), claim("two")
	values := map[string]any{"one": map[string]any{"v": true, "t": 1}, "two": map[string]any{"v": false, "t": 1}}
	b := inMemory(t, session.Config{GlobalClaimValidators: []session.ClaimValidator{one.IsTrue(), two.IsTrue()}})
	s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "user-1", AccessTokenPayload: values})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		opts session.VerifyOptions
		ids  []string // refused
	}{
		"global":            {session.VerifyOptions{}, []string{"two"}},
		"skipped":           {session.VerifyOptions{Skip: []session.Claim{two}}, nil},
		"required":          {session.VerifyOptions{Skip: []session.Claim{two}, Require: []session.ClaimValidator{one.IsFalse(session.WithID("more"))}}, []string{"more"}},
		"required in spite": {session.VerifyOptions{Skip: []session.Claim{two}, Require: []session.ClaimValidator{two.IsTrue()}}, []string{"two"}},
		"overridden": {session.VerifyOptions{OverrideGlobalClaimValidators: func(_ context.Context, global []session.ClaimValidator, own *session.Session) ([]session.ClaimValidator, error) {
			assert.Equal(t, "user-1", own.UserID())
			assert.Len(t, global, 2)
			return append(slices.Clone(global), two.IsTrue(session.WithID("again"))), nil
		}}, []string{"two", "again"}},
		"none": {session.VerifyOptions{OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, nil
		}}, nil},
	} {
		_, err := b.GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{AccessToken: s.AccessToken(), Options: c.opts})
		if c.ids == nil {
			require.NoError(t, err, name)
			continue
		}
		var invalid *session.InvalidClaimsError
		require.ErrorAs(t, err, &invalid, name)
		var ids []string
		for _, e := range invalid.Errors {
			ids = append(ids, e.ID)
		}
		require.Equal(t, c.ids, ids, name)
	}
	failing := errors.New("cannot tell")
	_, err = b.GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{AccessToken: s.AccessToken(), Options: session.VerifyOptions{
		OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, failing
		},
	}})
	require.ErrorIs(t, err, failing)
}

func TestStorageErrInsideTxIsA500(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	res := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.HandleError(w, r, storage.ErrInsideTx) }), request("GET", "/", "", ""))
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	require.Equal(t, `{"message":"internal error"}`, text(t, res))
}
