package emailpassword

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/users"
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
			return apis.SignUpPOST(ctx, SignUpPOSTInput(in))
		}})
	}
	if apis.SignInPOST != nil {
		routes = append(routes, mfa.Route{Method: "POST", Path: "/signin", Handle: func(ctx context.Context, req *mfa.Request) (any, error) {
			in, err := r.readForm(ctx, req, r.signInForm.check)
			if err != nil {
				return nil, err
			}
			return apis.SignInPOST(ctx, in)
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

// readForm reads a body with a form and the flag that asks for a second factor, and loads the session that this needs.
func (r *Recipe) readForm(
	ctx context.Context, req *mfa.Request, check func(ctx context.Context, tenantID string, formFields json.RawMessage) ([]Field, error),
) (SignInPOSTInput, error) {
	var body struct {
		FormFields json.RawMessage `json:"formFields"`
		Flag       *bool           `json:"shouldTryLinkingWithSessionUser"`
	}
	if err := req.Decode(&body); err != nil {
		return SignInPOSTInput{}, err
	}
	fields, err := check(ctx, req.TenantID, body.FormFields)
	if err != nil {
		return SignInPOSTInput{}, err
	}
	s, err := r.flow.LoadSession(ctx, req.Options, body.Flag != nil && *body.Flag)
	if err != nil {
		return SignInPOSTInput{}, err
	}
	return SignInPOSTInput{FormFields: fields, TenantID: flow.TenantID(s, req.TenantID), Session: s, Options: req.Options}, nil
}

func (r *Recipe) attempt(tenantID string, s *session.Session, o session.APIOptions) *flow.Attempt {
	return &flow.Attempt{RecipeID: recipeID, FactorIDs: []factor.ID{factor.EmailPassword}, TenantID: tenantID, Session: s, Options: o}
}

// signInPOST is the default of APIs.SignInPOST.
func (r *Recipe) signInPOST(ctx context.Context, in SignInPOSTInput) (SignInPOSTResult, error) {
	attempt := r.attempt(in.TenantID, in.Session, in.Options)
	address := users.NormaliseEmail(valueOf(in.FormFields, emailField))
	given := VerifyCredentialsInput{Email: address, Password: valueOf(in.FormFields, passwordField), TenantID: in.TenantID}

	who, err := r.flow.Find(ctx, attempt, accountlinking.AccountInfo{Email: address})
	if err != nil {
		return SignInPOSTResult{}, err
	}
	userID := ""
	if who.User != nil {
		userID = who.User.ID
	}
	if _, err := r.flow.Admit(ctx, attempt, userID); err != nil {
		return SignInPOSTResult{}, err
	}
	ctx, v := withVerification(ctx)
	if users.IsFakeEmail(address) && in.Session == nil {
		// Nobody begins a session with a stand-in address. It is answered as any wrong password is.
		if err := r.judge(ctx, given, SignInResult{}); err != nil {
			return SignInPOSTResult{}, err
		}
		return SignInPOSTResult{}, ErrWrongCredentials
	}
	if _, err := r.verify(ctx, given); err != nil {
		return SignInPOSTResult{}, err
	}
	result, err := r.functions.SignIn(ctx, SignInInput(given))
	if err != nil {
		return SignInPOSTResult{}, err
	}
	return r.finish(ctx, attempt, result, given.Password, v)
}

// signUpPOST is the default of APIs.SignUpPOST.
func (r *Recipe) signUpPOST(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error) {
	attempt := r.attempt(in.TenantID, in.Session, in.Options)
	address := users.NormaliseEmail(valueOf(in.FormFields, emailField))
	ctx, id, err := r.planUserID(ctx)
	if err != nil {
		return SignInPOSTResult{}, err
	}
	who, err := r.flow.Find(ctx, attempt, accountlinking.AccountInfo{Email: address})
	if err != nil {
		return SignInPOSTResult{}, err
	}
	if _, err := r.flow.Admit(ctx, attempt, id); err != nil {
		return SignInPOSTResult{}, err
	}
	if who.User != nil || users.IsFakeEmail(address) {
		return SignInPOSTResult{}, fieldError(emailField, emailIsTaken) // before the password costs a hash
	}
	ctx, v := withVerification(ctx)
	given := SignUpInput{Email: address, Password: valueOf(in.FormFields, passwordField), TenantID: in.TenantID}
	result, err := r.functions.SignUp(ctx, given)
	if policy, ok := errors.AsType[*PasswordPolicyViolatedError](err); ok {
		return SignInPOSTResult{}, fieldError(passwordField, policy.FailureReason)
	}
	if errors.Is(err, ErrEmailAlreadyExists) {
		return SignInPOSTResult{}, fieldError(emailField, emailIsTaken)
	}
	if err != nil {
		return SignInPOSTResult{}, err
	}
	return r.finish(ctx, attempt, result, given.Password, v)
}

func fieldError(id, problem string) error {
	return &FieldError{FormFields: []FieldProblem{{ID: id, Error: problem}}}
}

var errNobody = errors.New("emailpassword: an overridden function returned neither a user nor an error")

// finish makes the session. If the user changes before it is written, the password is compared once more, but only when another hash is stored now.
func (r *Recipe) finish(ctx context.Context, attempt *flow.Attempt, result SignInResult, password string, v *verification) (SignInPOSTResult, error) {
	if result.User == nil {
		return SignInPOSTResult{}, errNobody
	}
	signedIn := flow.SignedIn{
		User: result.User, RecipeUserID: result.RecipeUserID, FactorID: factor.EmailPassword, CredentialVersion: v.version(result.RecipeUserID),
	}
	done, s, err := r.flow.Finish(ctx, attempt, signedIn, func(ctx context.Context) (flow.SignedIn, error) {
		return r.again(ctx, signedIn, password, v)
	})
	return SignInPOSTResult{User: done.User, Session: s}, err
}

func (r *Recipe) again(ctx context.Context, in flow.SignedIn, password string, v *verification) (flow.SignedIn, error) {
	user, err := r.users.GetUser(ctx, string(in.RecipeUserID))
	if errors.Is(err, accountlinking.ErrUnknownUserID) {
		return flow.SignedIn{}, ErrWrongCredentials
	}
	if err != nil {
		return flow.SignedIn{}, err
	}
	in.User = user
	known := v.credentialOf(in.RecipeUserID)
	if known.version == 0 { // an override judged the password by itself
		return in, nil
	}
	stored, found, err := r.credentialOf(ctx, in.RecipeUserID)
	if err != nil {
		return flow.SignedIn{}, err
	}
	right := found && stored.hash == known.hash
	if !right {
		if right, err = r.matches(ctx, password, stored, found); err != nil {
			return flow.SignedIn{}, err
		}
	}
	if !right {
		return flow.SignedIn{}, ErrWrongCredentials
	}
	v.matched(stored)
	in.CredentialVersion = stored.version
	return in, nil
}
