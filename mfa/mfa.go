// Package mfa is the product's door: multi-factor authentication for Go backends.
//
// An instance is made of a database, a list of factors, and one function that says who must complete which of them:
//
//	auth, err := mfa.New(ctx, mfa.Config{
//		AppInfo: mfa.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example"},
//		Storage: db, // sqlite.Open or postgres.Open
//		Factors: []mfa.Factor{emailpassword.New(emailpassword.Config{}), totp.New(totp.Config{})},
//		GetMFARequirementsForAuth: func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
//			roles, err := in.Roles(ctx)
//			if err != nil || !slices.Contains(roles, "admin") {
//				return nil, err // no second factor
//			}
//			return factor.Requirements{factor.TOTP}, nil
//		},
//	})
//	mux.Handle("GET /me", auth.Sessions().Verify(me)) // refused until all that is required has been done
//	http.ListenAndServe(addr, auth.Middleware(mux))
//
// [MFA.Middleware] serves the routes of all recipes, which SuperTokens' front ends call, and passes other requests on. What has been done in a session
// is in its claim st-mfa, see [Claim]; routes are protected by Verify of [MFA.Sessions], which refuses sessions whose requirements are not met.
//
// Every recipe has a table of functions and a table of APIs, which its Config.Override changes. In all overrides, policies and hooks [FromContext]
// returns the instance, and the request's own context values are there. An error or a panic there is an error answer, never a session without its
// second factor.
//
// Instances share nothing, start no goroutine, and are safe for concurrent use.
package mfa

import (
	"context"
	"net/http"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/usermetadata"
	"github.com/stepup-auth/stepup/userroles"
)

// MFA is one instance.
type MFA struct {
	env  *env.Env
	flow *flow.Flow

	functions     Functions
	apis          APIs
	registrations []Registration
	firstFactors  []factor.ID // Config.FirstFactors

	sessions       *session.Recipe
	accountLinking *accountlinking.Recipe
	tenants        *tenant.Recipe
	userRoles      *userroles.Recipe
	userMetadata   *usermetadata.Recipe
}

// FromContext returns the instance that is running the current call: inside every override, policy, hook and route it is not nil.
func FromContext(ctx context.Context) *MFA {
	e := env.FromContext(ctx)
	if e == nil {
		return nil
	}
	m, _ := e.Instance.(*MFA)
	return m
}

// NewContext is for tests of overrides: FromContext then returns m.
func NewContext(ctx context.Context, m *MFA) context.Context { return m.env.Bind(ctx) }

// enter is the first line of every method that may ask application code: the instance is in ctx, and what is read is remembered.
func (m *MFA) enter(ctx context.Context) context.Context {
	return m.env.Store.Remember(m.env.Bind(ctx))
}

// Middleware serves the routes of all recipes, below AppInfo.APIBasePath, and passes other requests on. It protects nothing by itself: that is Verify of
// Sessions.
func (m *MFA) Middleware(next http.Handler) http.Handler { return m.sessions.Middleware(next) }

// Handler serves the same routes and nothing else, to be mounted; any other request gets a 404 {"message":"not found"}.
func (m *MFA) Handler() http.Handler { return m.sessions.Handler() }

// CORS is session.Recipe.CORS: it answers preflights and lets the website's origin in, outside of everything else.
func (m *MFA) CORS(next http.Handler) http.Handler { return m.sessions.CORS(next) }

// HandleError answers an error as the library's own routes do: see session.Recipe.HandleError.
func (m *MFA) HandleError(w http.ResponseWriter, r *http.Request, err error) {
	m.sessions.HandleError(w, r, err)
}

// Sessions is the recipe that verifies, lists and ends sessions.
func (m *MFA) Sessions() *session.Recipe { return m.sessions }

// AccountLinking is the recipe of users and their login methods.
func (m *MFA) AccountLinking() *accountlinking.Recipe { return m.accountLinking }

// Tenants is the recipe of tenants and their login settings.
func (m *MFA) Tenants() *tenant.Recipe { return m.tenants }

// UserRoles is the recipe of roles and permissions.
func (m *MFA) UserRoles() *userroles.Recipe { return m.userRoles }

// UserMetadata is the recipe that keeps one JSON object per user.
func (m *MFA) UserMetadata() *usermetadata.Recipe { return m.userMetadata }

// DeleteExpired removes expired rows, in batches; call it from a cron job. Only disk space depends on it.
func (m *MFA) DeleteExpired(ctx context.Context) error { return m.sessions.DeleteExpired(ctx) }
