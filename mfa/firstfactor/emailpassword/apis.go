package emailpassword

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// APIs is what the recipe serves. A field that an override sets to nil switches its route off. The form has been checked when SignUpPOST and SignInPOST
// are called; a text or problem of an override's own is a *FieldError or a *session.GeneralError.
type APIs struct {
	// EmailExistsGET tells the sign-up form, and anybody else, whether an address is taken, as a sign-up does too.
	EmailExistsGET func(ctx context.Context, in EmailExistsGETInput) (ExistsResult, error)
	// SignUpPOST makes a user and a session. An email that is taken is a *FieldError.
	SignUpPOST func(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error)
	// SignInPOST makes a session for who gives the right password: else ErrWrongCredentials, or a *session.GeneralError while guessing has to wait.
	SignInPOST func(ctx context.Context, in SignInPOSTInput) (SignInPOSTResult, error)
}

// SignUpPOSTInput is a checked sign-up form. Session is not nil when the front end asked for a second factor of that session's user.
type SignUpPOSTInput struct {
	FormFields []Field
	TenantID   string
	Session    *session.Session
	Options    session.APIOptions
}

// SignInPOSTInput is a checked sign-in form. Session is as in SignUpPOSTInput.
type SignInPOSTInput struct {
	FormFields []Field
	TenantID   string
	Session    *session.Session
	Options    session.APIOptions
}

// SignInPOSTResult is who signed up or in; only the user is sent, the session goes by headers and cookies.
type SignInPOSTResult struct {
	User    *accountlinking.User `json:"user"`
	Session *session.Session     `json:"-"`
}

func (r *Recipe) defaultAPIs() APIs {
	return APIs{EmailExistsGET: r.emailExistsGET, SignUpPOST: r.signUpPOST, SignInPOST: r.signInPOST}
}

// routes of the APIs that are not switched off.
func (r *Recipe) routes(apis APIs) []mfa.Route {
	var routes []mfa.Route
	if apis.SignUpPOST != nil {
		routes = append(routes, mfa.Route{Method: "POST", Path: "/signup", Handle: func(ctx context.Context, req *mfa.Request) (any, error) {
			in, err := r.readForm(ctx, req, r.signUpFields)
			if err != nil {
				return nil, err
			}
			result, err := apis.SignUpPOST(ctx, SignUpPOSTInput(in))
			return sent(result), err
		}})
	}
	if apis.SignInPOST != nil {
		routes = append(routes, mfa.Route{Method: "POST", Path: "/signin", Handle: func(ctx context.Context, req *mfa.Request) (any, error) {
			in, err := r.readForm(ctx, req, r.signInForm.check)
			if err != nil {
				return nil, err
			}
			result, err := apis.SignInPOST(ctx, in)
			return sent(result), err
		}})
	}
	if apis.EmailExistsGET != nil {
		exists := func(ctx context.Context, req *mfa.Request) (any, error) {
			emails := req.Options.Request.URL.Query()["email"]
			if len(emails) != 1 {
				return nil, badInput("Please provide the email as a GET param")
			}
			return apis.EmailExistsGET(ctx, EmailExistsGETInput{Email: emails[0], TenantID: req.TenantID, Options: req.Options})
		}
		routes = append(routes,
			mfa.Route{Method: "GET", Path: "/emailpassword/email/exists", Handle: exists},
			mfa.Route{Method: "GET", Path: "/signup/email/exists", Handle: exists}, // of older front ends
		)
	}
	return routes
}

// sent is a result on its way out. It has no JSON without a user: an override that returns nobody, and has not answered by itself, must not look like
// a sign-in.
type sent SignInPOSTResult

func (s sent) MarshalJSON() ([]byte, error) {
	if s.User == nil {
		return nil, errors.New("an overridden API returned neither a user nor an error")
	}
	return json.Marshal(SignInPOSTResult(s))
}

// readForm reads a body: first its form, then the flag that asks for a second factor, for which it loads the session. Whether the tenant of the path
// exists is for the API to find out.
func (r *Recipe) readForm(
	ctx context.Context, req *mfa.Request, check func(ctx context.Context, tenantID string, formFields json.RawMessage) ([]Field, error),
) (SignInPOSTInput, error) {
	var body struct {
		FormFields json.RawMessage `json:"formFields"`
	}
	if err := req.Decode(&body); err != nil {
		return SignInPOSTInput{}, err
	}
	fields, err := check(ctx, req.TenantID, body.FormFields)
	if err != nil {
		return SignInPOSTInput{}, err
	}
	s, err := r.flow.LoadSession(ctx, req.Options)
	if err != nil {
		return SignInPOSTInput{}, err
	}
	return SignInPOSTInput{FormFields: fields, TenantID: flow.TenantID(s, req.TenantID), Session: s, Options: req.Options}, nil
}

// begin is what both sign-up and sign-in start with: the attempt, and the credentials in the form in which they are looked up.
func (r *Recipe) begin(in SignInPOSTInput) (*flow.Attempt, VerifyCredentialsInput, error) {
	attempt, err := flow.Begin(flow.Attempt{
		RecipeID: recipeID, FactorIDs: []factor.ID{factor.EmailPassword}, TenantID: in.TenantID, Session: in.Session, Options: in.Options,
	})
	if err != nil {
		return nil, VerifyCredentialsInput{}, err
	}
	given := VerifyCredentialsInput{Password: valueOf(in.FormFields, passwordField)}
	given.TenantID, given.Email, err = normalise(attempt.TenantID, valueOf(in.FormFields, emailField), given.Password)
	return attempt, given, err
}
