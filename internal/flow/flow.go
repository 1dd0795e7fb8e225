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

// Attempt is one sign-in or sign-up on its way through the flow.
type Attempt struct {
	RecipeID  string
	FactorIDs []factor.ID // that the credentials may complete
	TenantID  string      // of the session if there is one, else of the path
	Session   *session.Session
	Options   session.APIOptions
}

// LoadSession reads the flag that the body holds. False: this is a first factor, and a session that came along is not looked at; it will be replaced.
// True: a session is required, whatever its claims say, and what signs in is to become its user's.
func (f *Flow) LoadSession(ctx context.Context, o session.APIOptions, flag bool) (*session.Session, error) {
	if !flag {
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

// Found is who signs in: a user by one of its login methods, or nobody.
type Found struct {
	User   *accountlinking.User
	Method *accountlinking.LoginMethod
}

// Find looks for the user whose login method of this recipe, on the attempt's tenant, has the account info. In a transaction of the host, in which no
// session could be made at the end, it is store.ErrInsideTx, before anything is written.
func (f *Flow) Find(ctx context.Context, a *Attempt, info accountlinking.AccountInfo) (Found, error) {
	if err := f.Env.Store.RefuseInTx(ctx); err != nil {
		return Found{}, err
	}
	users, err := f.AccountLinking.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{
		TenantID: a.TenantID, AccountInfo: info, DoUnionOfAccountInfo: true,
	})
	if err != nil {
		return Found{}, err
	}
	var found Found
	for _, u := range users {
		m := methodOf(u, a, info)
		if m == nil {
			continue
		}
		if found.User != nil {
			return Found{}, errors.New("flow: two users of one tenant share an account info of one recipe")
		}
		found = Found{u, m}
	}
	return found, nil
}

func methodOf(u *accountlinking.User, a *Attempt, info accountlinking.AccountInfo) *accountlinking.LoginMethod {
	for i := range u.LoginMethods {
		m := &u.LoginMethods[i]
		if m.RecipeID == a.RecipeID && slices.Contains(m.TenantIDs, a.TenantID) && sameInfo(m, info) {
			return m
		}
	}
	return nil
}

func sameInfo(m *accountlinking.LoginMethod, info accountlinking.AccountInfo) bool {
	return m.HasSameEmailAs(info.Email) || m.HasSamePhoneNumberAs(info.PhoneNumber) ||
		info.ThirdParty != nil && m.HasSameThirdPartyInfoAs(*info.ThirdParty)
}

// noLinkingPolicy is looked for by clients and tests.
const noLinkingPolicy = "Please initialise the account linking recipe and define shouldDoAutomaticAccountLinking to enable MFA"

// Admit says which of the attempt's factors may be completed. userID is that of who was found, or will be made; its facts answer for the tenant. None
// as a first factor: a *session.UnauthorisedError, which keeps the tokens of a client that has a session.
func (f *Flow) Admit(ctx context.Context, a *Attempt, userID string) ([]factor.ID, error) {
	if a.Session != nil {
		return nil, &env.DeveloperError{Message: noLinkingPolicy}
	}
	valid, err := f.MFA.ValidFirstFactors(ctx, a.TenantID, userID, a.FactorIDs)
	if err != nil {
		return nil, err
	}
	if len(valid) == 0 {
		return nil, &session.UnauthorisedError{Message: "A valid session is required to authenticate with secondary factors"}
	}
	return valid, nil
}

// SignedIn is what the recipe's function accepted.
type SignedIn struct {
	User         *accountlinking.User
	RecipeUserID session.RecipeUserID
	FactorID     factor.ID
	// CredentialVersion is the version of the login method that was read with its password's hash; 0 where no password was checked.
	CredentialVersion int64
}

// maxTries bounds how often another request may get ahead.
const maxTries = 100

// Finish makes the session, with the claim that the policy says; a session that the request carries is replaced. The policy is asked when all that the
// recipe wrote has committed. When the user was linked, deleted or given a new password before the session is written, again says who it is now: nil
// User means that the credentials hold no longer, and so does its error.
func (f *Flow) Finish(ctx context.Context, a *Attempt, in SignedIn, again func(ctx context.Context) (SignedIn, error)) (SignedIn, *session.Session, error) {
	for range maxTries {
		payload, err := f.MFA.NewClaim(ctx, a.TenantID, in.User.ID, in.RecipeUserID, in.FactorID)
		if err != nil {
			return SignedIn{}, nil, err
		}
		creating := env.WithCredentialVersion(ctx, in.CredentialVersion)
		s, err := f.Sessions.CreateNewSession(a.Options.Response, a.Options.Request.WithContext(creating), session.NewSession{
			TenantID: a.TenantID, RecipeUserID: in.RecipeUserID, AccessTokenPayload: payload, RevokeReplaced: true,
		})
		if err == nil {
			f.MFA.Completed(ctx, s, in.FactorID)
			return in, s, nil
		}
		if !errors.Is(err, env.ErrUserChanged) {
			return SignedIn{}, nil, err
		}
		f.Env.Store.Forget(ctx, store.Users, store.Lists, store.Facts)
		if in, err = again(ctx); err != nil {
			return SignedIn{}, nil, err
		}
	}
	return SignedIn{}, nil, errors.New("flow: other requests got ahead of this sign-in too often")
}
