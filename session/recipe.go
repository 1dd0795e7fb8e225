package session

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/stepup-auth/stepup/internal/appinfo"
	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/keys"
	"github.com/stepup-auth/stepup/internal/token"
)

// Recipe is the handle of the session recipe of one instance, safe for concurrent use. Its methods go through the overridden tables.
type Recipe struct {
	env       *env.Env
	cfg       Config // with its defaults
	app       *appinfo.Info
	issuer    string // of all tokens
	functions Functions
	apis      APIs

	signing     *keys.Signing
	refreshKeys *keys.Refresh
	verified    verifiedTokens
	routes      func() routes
}

// VerifySession is the middleware that protects routes: it puts the session into the request's ctx, or answers the error and does not call the
// handler. Requests with OPTIONS and TRACE pass without a session.
func (r *Recipe) VerifySession(opts VerifyOptions) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodOptions || req.Method == http.MethodTrace {
				next.ServeHTTP(w, req)
				return
			}
			a, req := r.enter(w, req)
			if s, ok := r.admit(a, req, opts); ok {
				next.ServeHTTP(a, req.WithContext(NewContext(req.Context(), s)))
			}
		})
	}
}

// admit answers the request unless it may pass.
func (r *Recipe) admit(a *answer, req *http.Request, opts VerifyOptions) (s *Session, ok bool) {
	var err error
	if r.guarded(a, req, func() {
		req := r.remembering(req)
		s, err = r.apis.VerifySession(req.Context(), VerifySessionInput{opts, APIOptions{req, a}})
	}) {
		return nil, false
	}
	if err == nil && s == nil && !opts.SessionOptional {
		err = noSession() // an override forgot the error
	}
	if err != nil {
		r.HandleError(a, req, err)
		return nil, false
	}
	return s, !a.sent()
}

// Verify is VerifySession(VerifyOptions{Require: require})(next).
func (r *Recipe) Verify(next http.Handler, require ...ClaimValidator) http.Handler {
	return r.VerifySession(VerifyOptions{Require: require})(next)
}

const (
	refreshPath   = "/session/refresh"
	signOutPath   = "/signout"
	jwksPath      = "/jwt/jwks.json"
	discoveryPath = "/.well-known/openid-configuration"
)

// ownRoutes are those of the APIs that are switched on.
func (r *Recipe) ownRoutes() []env.Route {
	var routes []env.Route
	add := func(on bool, recipeID, method, path string, handle func(ctx context.Context, o APIOptions) (any, error)) {
		if !on {
			return
		}
		routes = append(routes, env.Route{RecipeID: recipeID, Method: method, Path: path, Handle: func(ctx context.Context, in env.Request) (any, error) {
			return handle(ctx, APIOptions{in.Request, in.Response})
		}})
	}
	add(r.apis.RefreshPOST != nil, "session", http.MethodPost, refreshPath, func(ctx context.Context, o APIOptions) (any, error) {
		_, err := r.apis.RefreshPOST(ctx, RefreshPOSTInput{o})
		return env.Plain{Body: struct{}{}}, err
	})
	add(r.apis.SignOutPOST != nil, "session", http.MethodPost, signOutPath, func(ctx context.Context, o APIOptions) (any, error) {
		s, err := r.GetSession(o.Response, o.Request, VerifyOptions{OverrideGlobalClaimValidators: noValidators})
		if err != nil {
			return nil, err
		}
		return nil, r.apis.SignOutPOST(ctx, SignOutPOSTInput{s, o})
	})
	add(r.apis.GetJWKSGET != nil, "jwt", http.MethodGet, jwksPath, func(ctx context.Context, o APIOptions) (any, error) {
		set, err := r.apis.GetJWKSGET(ctx, GetJWKSGETInput{o})
		header := http.Header{"Access-Control-Allow-Origin": {"*"}, "Cache-Control": {}}
		if seconds := set.Validity / time.Second; seconds > 0 {
			header["Cache-Control"] = []string{"max-age=" + decimal(int64(seconds)) + ", must-revalidate"}
		}
		return env.Plain{Header: header, Body: set}, err
	})
	add(r.apis.GetOpenIDDiscoveryConfigurationGET != nil, "openid", http.MethodGet, discoveryPath, func(ctx context.Context, o APIOptions) (any, error) {
		configuration, err := r.apis.GetOpenIDDiscoveryConfigurationGET(ctx, GetOpenIDDiscoveryConfigurationGETInput{o})
		return env.Plain{Header: http.Header{"Access-Control-Allow-Origin": {"*"}, "Cache-Control": {}}, Body: configuration}, err
	})
	return routes
}

func noValidators(context.Context, []ClaimValidator, *Session) ([]ClaimValidator, error) {
	return nil, nil
}

// refreshPOST is the default of APIs.RefreshPOST.
func (r *Recipe) refreshPOST(_ context.Context, in RefreshPOSTInput) (*Session, error) {
	return r.RefreshSession(in.Options.Response, in.Options.Request)
}

// signOutPOST is the default of APIs.SignOutPOST.
func (r *Recipe) signOutPOST(ctx context.Context, in SignOutPOSTInput) error {
	return in.Session.Revoke(withReason(ctx, env.ReasonSignOut))
}

// getJWKSGET is the default of APIs.GetJWKSGET.
func (r *Recipe) getJWKSGET(ctx context.Context, _ GetJWKSGETInput) (JWKS, error) {
	return r.GetJWKS(ctx)
}

// getOpenIDDiscoveryConfigurationGET is the default of APIs.GetOpenIDDiscoveryConfigurationGET.
func (r *Recipe) getOpenIDDiscoveryConfigurationGET(ctx context.Context, _ GetOpenIDDiscoveryConfigurationGETInput) (map[string]any, error) {
	return r.GetOpenIDDiscoveryConfiguration(ctx)
}

// verifySession is the default of APIs.VerifySession. Where it protects the path of the refresh itself, it refreshes.
func (r *Recipe) verifySession(_ context.Context, in VerifySessionInput) (*Session, error) {
	req := in.Options.Request
	if req.Method == http.MethodPost && r.pathOf(req) == r.app.BasePath+refreshPath {
		return r.RefreshSession(in.Options.Response, req)
	}
	return r.GetSession(in.Options.Response, req, in.VerifyOptions)
}

// CreateJWT signs a payload of the application's for others to verify, by the keys of GetJWKS. It is never taken for an access token.
func (r *Recipe) CreateJWT(ctx context.Context, in CreateJWTInput) (string, error) {
	private, written, err := privateCopy("Payload", in.Payload)
	if err != nil {
		return "", err
	}
	in.Payload = private
	return r.functions.CreateJWT(withTexts(r.env.Bind(ctx), texts{payload: written}), in)
}

const defaultJWTValidity = 3_153_600_000 * time.Second // 100 years

// createJWT is the default of Functions.CreateJWT.
func (r *Recipe) createJWT(ctx context.Context, in CreateJWTInput) (string, error) {
	validity := or(in.Validity, defaultJWTValidity)
	if validity < time.Second {
		return "", errors.New("session: CreateJWT: Validity must be at least one second")
	}
	now := r.env.Now()
	payload, err := canonical.Of(originalPayload(ctx, in.Payload))
	if err != nil {
		return "", &BadInputError{Message: "Payload: " + err.Error()}
	}
	own, err := canonical.Of(map[string]any{
		token.Issuer: r.issuer, token.IssuedAt: now.Unix(), token.Expiry: now.Unix() + int64(validity/time.Second),
	})
	if err != nil {
		return "", err
	}
	for name, raw := range own {
		if _, given := payload[name]; !given || name != token.Issuer {
			payload[name] = raw
		}
	}
	key, err := r.signing.Signer(ctx, now, !in.UseDynamicSigningKey)
	if err != nil {
		return "", err
	}
	return token.Sign(key, payload.Text())
}

// GetJWKS gives the public keys, those that verify access tokens and those of CreateJWT.
func (r *Recipe) GetJWKS(ctx context.Context) (JWKS, error) {
	return r.functions.GetJWKS(r.env.Bind(ctx), GetJWKSInput{})
}

// getJWKS is the default of Functions.GetJWKS. The set may be kept until a further key can be in it.
func (r *Recipe) getJWKS(ctx context.Context, _ GetJWKSInput) (JWKS, error) {
	now := r.env.Now()
	published, until, err := r.signing.Published(ctx, now, r.cfg.StaticSigningKeys)
	if err != nil {
		return JWKS{}, err
	}
	set := JWKS{Keys: []map[string]any{}, Validity: keys.Overlap}
	if !until.IsZero() {
		set.Validity = max(time.Second, until.Sub(now).Truncate(time.Second))
	}
	for _, key := range published {
		jwk, err := key.JWK()
		if err != nil {
			return JWKS{}, err
		}
		set.Keys = append(set.Keys, jwk)
	}
	return set, nil
}

// GetOpenIDDiscoveryConfiguration says who issues the tokens and where the keys are found.
func (r *Recipe) GetOpenIDDiscoveryConfiguration(ctx context.Context) (map[string]any, error) {
	return r.functions.GetOpenIDDiscoveryConfiguration(r.env.Bind(ctx), GetOpenIDDiscoveryConfigurationInput{})
}

// getOpenIDDiscoveryConfiguration is the default of Functions.GetOpenIDDiscoveryConfiguration. It lists only what exists.
func (r *Recipe) getOpenIDDiscoveryConfiguration(ctx context.Context, _ GetOpenIDDiscoveryConfigurationInput) (map[string]any, error) {
	published, _, err := r.signing.Published(ctx, r.env.Now(), r.cfg.StaticSigningKeys)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"issuer":                                r.issuer,
		"jwks_uri":                              r.issuer + jwksPath,
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithmsOf(published),
		"response_types_supported":              []string{"code", "id_token", "id_token token"},
	}, nil
}
