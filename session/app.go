package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stepup-auth/stepup/internal/appinfo"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/keys"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/internal/token"
	"github.com/stepup-auth/stepup/mfa/storage"
)

// RecipeUserID is the id of one login method; a plain string is the id of a person.
type RecipeUserID string

// PublicTenant is the tenant that always exists. Where a tenant id is taken, "" means it.
const PublicTenant = "public"

// AppInfo says where the application lives. Domains and paths are brought into one form, and mistakes are reported by field.
type AppInfo struct {
	AppName   string // required; shown in mails and authenticator apps
	APIDomain string // required, such as "https://api.example.com"
	// WebsiteDomain is the origin of the front end. Required unless Origin is set.
	WebsiteDomain string
	// Origin wins over WebsiteDomain, for an API that serves several front ends. It decides SameSite, CORS and the links in messages, so it
	// must answer from a fixed list and never echo a header unchecked. r is nil outside of a request.
	Origin          func(r *http.Request) string
	APIBasePath     string // default "/auth"
	WebsiteBasePath string // default "/auth"
	APIGatewayPath  string // a prefix that a gateway strips before the request arrives
}

// App is what the recipes of one instance share.
type App struct {
	AppInfo AppInfo
	Storage *storage.DB      // required; one DB serves one instance
	Logger  *slog.Logger     // default slog.Default()
	Now     func() time.Time // default time.Now
	Random  io.Reader        // default crypto/rand.Reader
}

// signingAlgorithm is that of new signing keys; a key keeps its own for life.
const signingAlgorithm = token.ES256

// New makes a session recipe that stands alone, for a host without MFA: mfa.New makes its own. It validates the whole configuration, reports every
// mistake at once, each naming its field, and makes the first keys.
func New(ctx context.Context, app App, cfg Config) (*Recipe, error) {
	if app.Storage == nil {
		return nil, errors.New("session: App.Storage is not set")
	}
	if app.Logger == nil {
		app.Logger = slog.Default()
	}
	if app.Now == nil {
		app.Now = time.Now
	}
	if app.Random == nil {
		app.Random = rand.Reader
	}
	backend := app.Storage.Backend(store.Key{})
	if !backend.Take() {
		return nil, errors.New("session: App.Storage serves another instance already; open the database once more")
	}
	e := &env.Env{Store: backend, Logger: app.Logger, Clock: app.Now, Random: app.Random, FetchClaim: map[string]env.FetchFunc{}}
	r, err := Attach(ctx, e, app.AppInfo, cfg)
	if err != nil {
		backend.Release()
		return nil, fmt.Errorf("session: %w", err)
	}
	return r, nil
}

// Attach is called by mfa.New, when all other recipes have put their routes into the Env.
func Attach(ctx context.Context, e *env.Env, info AppInfo, cfg Config) (*Recipe, error) {
	app, errs := appinfo.New(appinfo.Input(info))
	cfg = cfg.withDefaults(app)
	if len(errs) == 0 {
		errs = append(errs, cfg.checkCookies(app)...)
	}
	errs = append(errs, cfg.check()...)
	r := &Recipe{env: e, cfg: cfg, app: app, issuer: app.APIDomain + app.BasePath}
	errs = append(errs, r.makeTables()...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	keyConfig := keys.Config{
		Store: e.Store, Log: e.Logger, Random: e.Random, Algorithm: signingAlgorithm,
		Interval: cfg.SigningKeyInterval, AccessValidity: cfg.AccessTokenValidity, RefreshValidity: cfg.RefreshTokenValidity,
	}
	r.signing, r.refreshKeys = keys.NewSigning(keyConfig), keys.NewRefresh(keyConfig)
	// The first keys are made now: a missing or wrong key of the storage shows at start, not at the first sign-in.
	now := e.Now()
	if _, err := r.signing.Signer(ctx, now, cfg.StaticSigningKeys); err != nil {
		return nil, err
	}
	if _, err := r.refreshKeys.Current(ctx, now); err != nil {
		return nil, err
	}
	e.Routes = append(e.Routes, r.ownRoutes()...)
	e.Sweeps = append(e.Sweeps, r.deleteExpired)
	r.routes = sync.OnceValue(func() routes { return compile(slices.Clone(e.Routes)) })
	if cfg.sameSiteNoneWithoutSecure(app) {
		e.Logger.WarnContext(ctx, "session: cookies with SameSite=None and without Secure are dropped by browsers, on local domains too")
	}
	return r, nil
}

func (r *Recipe) makeTables() []error {
	r.functions = table.Override(Functions{
		CreateNewSession:                r.createNewSession,
		GetGlobalClaimValidators:        r.getGlobalClaimValidators,
		GetSession:                      r.getSession,
		RefreshSession:                  r.refreshSession,
		GetSessionInformation:           r.getSessionInformation,
		GetAllSessionHandlesForUser:     r.getAllSessionHandlesForUser,
		RevokeAllSessionsForUser:        r.revokeAllSessionsForUser,
		RevokeSession:                   r.revokeSession,
		RevokeMultipleSessions:          r.revokeMultipleSessions,
		UpdateSessionDataInDatabase:     r.updateSessionDataInDatabase,
		MergeIntoAccessTokenPayload:     r.mergeIntoAccessTokenPayload,
		RegenerateAccessToken:           r.regenerateAccessToken,
		ValidateClaims:                  r.validateClaims,
		FetchAndSetClaim:                r.fetchAndSetClaim,
		SetClaimValue:                   r.setClaimValue,
		GetClaimValue:                   r.getClaimValue,
		RemoveClaim:                     r.removeClaim,
		CreateJWT:                       r.createJWT,
		GetJWKS:                         r.getJWKS,
		GetOpenIDDiscoveryConfiguration: r.getOpenIDDiscoveryConfiguration,
	}, r.cfg.Override.Functions)
	r.apis = table.Override(APIs{
		RefreshPOST:                        r.refreshPOST,
		SignOutPOST:                        r.signOutPOST,
		GetJWKSGET:                         r.getJWKSGET,
		GetOpenIDDiscoveryConfigurationGET: r.getOpenIDDiscoveryConfigurationGET,
		VerifySession:                      r.verifySession,
	}, r.cfg.Override.APIs)
	errs := table.Missing(r.functions, "session: Config.Override.Functions")
	if r.apis.VerifySession == nil {
		errs = append(errs, errors.New("session: Config.Override.APIs left VerifySession nil, which would protect nothing"))
	}
	return errs
}
