// Package flow is the sign-in flow that all factors share. A recipe that signs somebody in goes through it in this order:
//
//  1. its own checks of the body;
//  2. [Flow.LoadSession]: the flag of the body says whether this is a first factor or one for the session that the request carries;
//  3. [Flow.Find]: who is it, by account info;
//  4. [Flow.Admit]: may this factor be used here, as a first or a second one. It depends on session, tenant and policy only, and comes out the same
//     whether somebody was found or not;
//  5. the recipe's credentials: a password, a code;
//  6. the recipe's function, which writes;
//  7. [Flow.Finish]: the session, with the claim.
//
// Steps 1 and 2 are those of a route. The others are those of the API behind it, which an override may call with an input of its own: [Begin] judges
// that.
//
// It is the one internal package that imports public packages below mfa; what it needs of mfa itself are function values.
package flow

import (
	"context"
	"errors"
	"slices"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

// Flow is that of one instance. mfa.New fills it and hands it to each factor that has the method AttachFlow(*Flow) error. When the instance could not
// be made after all, AttachFlow(nil) takes it back.
type Flow struct {
	Env            *env.Env
	Sessions       *session.Recipe
	AccountLinking *accountlinking.Recipe
	Tenants        *tenant.Recipe

	AppName  string // of the application, the default issuer of authenticators
	Attempts limits.Attempts
	Guesses  limits.Guesses

	MFA MFA
}

// MFA is what the flow and the factors need of the package above.
type MFA struct {
	// ValidFirstFactors keeps those of ids that may begin a session on the tenant, in their order. userID says whose facts are read along with the tenant:
	// that of the user who signs in, or who is about to be made.
	ValidFirstFactors func(ctx context.Context, tenantID, userID string, ids []factor.ID) ([]factor.ID, error)
	// NewClaim asks the policy about a session that is about to be made, with id completed now: the payload to make it with.
	NewClaim func(ctx context.Context, tenantID, userID string, recipeUserID session.RecipeUserID, id factor.ID) (map[string]any, error)
	// Completed is called when the session that NewClaim was asked about has been made.
	Completed func(ctx context.Context, s *session.Session, id factor.ID)
	// FactorRemoved takes a factor that the user no longer has out of all of the user's sessions; s, if not nil, is that of the request.
	FactorRemoved func(ctx context.Context, s *session.Session, userID string, id factor.ID) error
}

// LoadSession reads the flag shouldTryLinkingWithSessionUser of the body. False, or none: this is a first factor, and a session that came along is not
// looked at; it will be replaced. True: a session is required, whatever its claims say, and what signs in is to become its user's.
func (f *Flow) LoadSession(ctx context.Context, o session.APIOptions) (*session.Session, error) {
	var body struct {
		Flag *bool `json:"shouldTryLinkingWithSessionUser"`
	}
	if err := o.Decode(&body); err != nil {
		return nil, err
	}
	if body.Flag == nil || !*body.Flag {
		return nil, nil
	}
	return f.Sessions.GetSession(o.Response, o.Request.WithContext(ctx), session.VerifyOptions{
		OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, nil
		},
	})
}

// TenantID is the tenant of an attempt: the session's, whatever the path said.
func TenantID(s *session.Session, ofPath string) string {
	if s != nil {
		return s.TenantID()
	}
	return ofPath
}

// Attempt is one sign-in or sign-up on its way through the flow.
type Attempt struct {
	RecipeID  string
	FactorIDs []factor.ID // that the credentials may complete
	TenantID  string      // normalised
	Session   *session.Session
	Options   session.APIOptions
}

// Begin puts the tenant of an attempt into its normal form. One that cannot be is session.ErrTenantNotFound.
func Begin(a Attempt) (*Attempt, error) {
	id, ok := tenantid.Normalise(TenantID(a.Session, a.TenantID))
	if !ok {
		return nil, session.ErrTenantNotFound
	}
	a.TenantID = id
	return &a, nil
}

// withoutTenant is the answer where the tenant does not exist: the path named a wrong one, or the session has outlived its tenant.
func (a *Attempt) withoutTenant(err error) error {
	if a.Session != nil && errors.Is(err, session.ErrTenantNotFound) {
		return &session.UnauthorisedError{Message: "Tenant not found"}
	}
	return err
}

// Found is who signs in: a user by one of its login methods, or nobody.
type Found struct {
	User   *accountlinking.User
	Method *accountlinking.LoginMethod
}

// UserID is "" for nobody.
func (f Found) UserID() string {
	if f.User == nil {
		return ""
	}
	return f.User.ID
}

// Find looks for who it is.
func (f *Flow) Find(ctx context.Context, a *Attempt, info accountlinking.AccountInfo) (Found, error) {
	found, err := Lookup(ctx, f.AccountLinking, a.RecipeID, a.TenantID, info)
	return found, a.withoutTenant(err)
}

// Lookup finds the user whose login method of the recipe, on the tenant, has the account info. The tenant is in its normal form.
func Lookup(ctx context.Context, people *accountlinking.Recipe, recipeID, tenantID string, info accountlinking.AccountInfo) (Found, error) {
	users, err := people.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{TenantID: tenantID, AccountInfo: info})
	if err != nil {
		return Found{}, err
	}
	var found Found
	for _, u := range users {
		// A user that has the info here by another recipe may have it on another tenant by this one.
		i := slices.IndexFunc(u.LoginMethods, func(m accountlinking.LoginMethod) bool {
			return m.RecipeID == recipeID && slices.Contains(m.TenantIDs, tenantID) && sameInfo(m, info)
		})
		if i < 0 {
			continue
		}
		if found.User != nil {
			return Found{}, errors.New("flow: two users of one tenant share an account info of one recipe")
		}
		found = Found{u, &u.LoginMethods[i]}
	}
	return found, nil
}

func sameInfo(m accountlinking.LoginMethod, info accountlinking.AccountInfo) bool {
	return m.HasSameEmailAs(info.Email) || m.HasSamePhoneNumberAs(info.PhoneNumber) ||
		info.ThirdParty != nil && m.HasSameThirdPartyInfoAs(*info.ThirdParty)
}

// noLinkingPolicy is looked for by clients and tests.
const noLinkingPolicy = "Please initialise the account linking recipe and define shouldDoAutomaticAccountLinking to enable MFA"

// Admission says how an attempt may go on.
type Admission struct {
	FactorIDs []factor.ID // of the attempt: at least one
}

// Admit says which of the attempt's factors may be completed. userID is that of who was found, or will be made; its facts answer for the tenant. None
// as a first factor: a *session.UnauthorisedError. In a transaction of the host, in which no session could be made at the end, it is store.ErrInsideTx,
// before anything is written.
func (f *Flow) Admit(ctx context.Context, a *Attempt, userID string) (Admission, error) {
	if err := f.Env.Store.RefuseInTx(ctx); err != nil {
		return Admission{}, err
	}
	if a.Session != nil {
		return Admission{}, &env.DeveloperError{Message: noLinkingPolicy}
	}
	valid, err := f.MFA.ValidFirstFactors(ctx, a.TenantID, userID, a.FactorIDs)
	if err != nil {
		return Admission{}, a.withoutTenant(err)
	}
	if len(valid) == 0 {
		return Admission{}, &session.UnauthorisedError{
			Message:    "A valid session is required to authenticate with secondary factors",
			KeepTokens: !f.Sessions.CarriesAccessToken(env.Key{}, a.Options.Request),
		}
	}
	return Admission{FactorIDs: valid}, nil
}

// SignedIn is what the recipe's function accepted.
type SignedIn struct {
	User         *accountlinking.User
	RecipeUserID session.RecipeUserID
	FactorID     factor.ID
	// CredentialVersion is the version of the login method that was read with its password's hash; 0 where no password was checked.
	CredentialVersion int64
}

// errNobody is a mistake of an override: the requirements of one user must not open a session of another, or of nobody.
var errNobody = errors.New("flow: a sign-in function returned no error, and no user with the login method RecipeUserID either")

func (in SignedIn) check() error {
	if in.User == nil || !HasMethod(in.User, in.RecipeUserID) {
		return errNobody
	}
	return nil
}

// HasMethod reports whether the login method is one of the user's.
func HasMethod(u *accountlinking.User, id session.RecipeUserID) bool {
	return slices.ContainsFunc(u.LoginMethods, func(m accountlinking.LoginMethod) bool { return m.RecipeUserID == id })
}

// maxTries bounds how often another request may get ahead.
const maxTries = 100

// Finish makes the session, with the claim that the policy says; a session that the request carries is replaced. The policy is asked when all that the
// recipe wrote has committed. When the user was linked, deleted or given a new password before the session is written, again says who it is now; its
// error means that the credentials hold no longer.
func (f *Flow) Finish(
	ctx context.Context, a *Attempt, in SignedIn, again func(ctx context.Context) (SignedIn, error),
) (*accountlinking.User, *session.Session, error) {
	for range maxTries {
		if err := in.check(); err != nil {
			return nil, nil, err
		}
		s, err := f.newSession(ctx, a, in)
		if err == nil {
			f.MFA.Completed(ctx, s, in.FactorID)
			return in.User, s, nil
		}
		if !errors.Is(err, env.ErrUserChanged) {
			return nil, nil, err
		}
		f.Env.Store.Forget(ctx, store.Users, store.Lists, store.Facts)
		if in, err = again(ctx); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, errors.New("flow: other requests got ahead of this sign-in too often")
}

func (f *Flow) newSession(ctx context.Context, a *Attempt, in SignedIn) (*session.Session, error) {
	payload, err := f.MFA.NewClaim(ctx, a.TenantID, in.User.ID, in.RecipeUserID, in.FactorID)
	if err != nil {
		return nil, err
	}
	ctx = env.WithSignIn(ctx, env.SignIn{UserID: in.User.ID, CredentialVersion: in.CredentialVersion})
	return f.Sessions.CreateNewSession(a.Options.Response, a.Options.Request.WithContext(ctx), session.NewSession{
		TenantID: a.TenantID, RecipeUserID: in.RecipeUserID, AccessTokenPayload: payload, RevokeReplaced: true,
	})
}
