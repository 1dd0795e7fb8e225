package mfa

import (
	"context"
	"fmt"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Factor is what Config.Factors takes: the recipes of this module, and factors of the application's own. It registers what it offers by one value,
// so that a field added later breaks no factor outside.
type Factor interface {
	// Attach is called once, by New. m may be kept but not used before New has returned.
	Attach(m *MFA) (Registration, error)
}

// Registration is what a factor tells the instance. Every field but RecipeID may be left out. Two of one list with one RecipeID, or that offer one
// factor id twice, are an error of New.
type Registration struct {
	RecipeID string
	// FirstFactors are those that may begin a session where no list restricts them. Without it an id is valid only when Config.FirstFactors or the
	// tenant lists it.
	FirstFactors []factor.ID
	// SecondaryFactors may be set up after the first, on all tenants; a policy may ask for less.
	SecondaryFactors []factor.ID

	// FactorsSetUpForUser says which of its factors the user could complete.
	FactorsSetUpForUser func(ctx context.Context, user *accountlinking.User) ([]factor.ID, error)
	// EmailsForFactors and PhoneNumbersForFactors are the contacts that front ends use, the first without asking. sessionMethod is one of the user's
	// login methods.
	EmailsForFactors       func(ctx context.Context, user *accountlinking.User, sessionMethod accountlinking.RecipeUserID) (map[factor.ID][]string, error)
	PhoneNumbersForFactors func(ctx context.Context, user *accountlinking.User, sessionMethod accountlinking.RecipeUserID) (map[factor.ID][]string, error)
	// FirstFactorsOfLoginMethod says which first factor a session without the claim may have begun with, best first; nil for a login method that is
	// not this factor's.
	FirstFactorsOfLoginMethod func(m accountlinking.LoginMethod) []factor.ID

	Routes                []Route
	Claims                []session.Claim          // added to every new session
	GlobalClaimValidators []session.ClaimValidator // run on every verified route
}

// Route is one HTTP API below APIBasePath, with or without a tenant segment before it.
type Route struct {
	Method, Path string // GET, POST or PUT; the path begins with "/"
	// Handle returns a value that is written as a JSON object with "status":"OK", nil for that alone, or an error (see session.Refusal).
	Handle func(ctx context.Context, r *Request) (any, error)
}

// Request is one request of a Route.
type Request struct {
	TenantID string // of the path; whether it exists is for the route to find out
	Options  session.APIOptions

	m       *MFA
	session *session.Session // once it was asked for
}

// Decode is Options.Decode: the JSON body, with exact keys.
func (r *Request) Decode(v any) error { return r.Options.Decode(v) }

// Session demands a session, but not that its requirements are met: it works at v = false. Errors are those of session.Recipe.GetSession.
func (r *Request) Session(ctx context.Context) (*session.Session, error) {
	if r.m == nil {
		return nil, fmt.Errorf("mfa: a Request that no instance has made has no session")
	}
	s, err := r.m.sessions.GetSession(r.Options.Response, r.Options.Request.WithContext(ctx), session.VerifyOptions{
		OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, nil
		},
	})
	r.session = s
	return s, err
}
