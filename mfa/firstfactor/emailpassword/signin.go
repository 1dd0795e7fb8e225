package emailpassword

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// signInPOST is the default of APIs.SignInPOST.
func (r *Recipe) signInPOST(ctx context.Context, in SignInPOSTInput) (SignInPOSTResult, error) {
	attempt, given, err := r.begin(in)
	if err != nil {
		return SignInPOSTResult{}, err
	}
	who, err := r.flow.Find(ctx, attempt, accountlinking.AccountInfo{Email: given.Email})
	if err != nil {
		return SignInPOSTResult{}, err
	}
	if _, err := r.flow.Admit(ctx, attempt, who.UserID()); err != nil {
		return SignInPOSTResult{}, err
	}
	ctx, v := withVerification(ctx)
	if users.IsFakeEmail(given.Email) {
		// Nobody begins a session with a stand-in address: it is answered, and takes as long, as an address that nobody has.
		return SignInPOSTResult{}, r.judge(ctx, given, SignInResult{})
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

// signIn is the default of Functions.SignIn.
func (r *Recipe) signIn(ctx context.Context, in SignInInput) (SignInResult, error) {
	return r.verify(ctx, VerifyCredentialsInput(in))
}

// verify asks Functions.VerifyCredentials, unless it has accepted this input in this request.
func (r *Recipe) verify(ctx context.Context, in VerifyCredentialsInput) (SignInResult, error) {
	v := verificationFrom(ctx)
	if result, accepted := v.recall(in); accepted {
		return result, nil
	}
	result, err := r.functions.VerifyCredentials(ctx, in)
	if err == nil {
		v.accept(in, result)
	}
	return result, err
}

// finish makes the session of who signed in or up.
func (r *Recipe) finish(ctx context.Context, attempt *flow.Attempt, result SignInResult, password string, v *verification) (SignInPOSTResult, error) {
	signedIn := flow.SignedIn{
		User: result.User, RecipeUserID: result.RecipeUserID, FactorID: factor.EmailPassword, CredentialVersion: v.version(result.RecipeUserID),
	}
	user, s, err := r.flow.Finish(ctx, attempt, signedIn, func(ctx context.Context) (flow.SignedIn, error) {
		now, err := r.again(ctx, signedIn, password, v)
		if err != nil {
			r.emitChecked(ctx, attempt.TenantID, now.User, err)
		}
		return now, err
	})
	return SignInPOSTResult{User: user, Session: s}, err
}

// again finds out who it is now, when the user has changed since the password was compared. The password is compared once more only where another hash
// is stored.
func (r *Recipe) again(ctx context.Context, in flow.SignedIn, password string, v *verification) (flow.SignedIn, error) {
	user, err := r.users.GetUser(ctx, string(in.RecipeUserID))
	if errors.Is(err, accountlinking.ErrUnknownUserID) || err == nil && !flow.HasMethod(user, in.RecipeUserID) {
		return flow.SignedIn{}, ErrWrongCredentials // the login method was deleted
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
	if !found || stored.hash != known.hash {
		right, err := r.matches(ctx, password, stored, found)
		if err != nil {
			return flow.SignedIn{}, err
		}
		if !right {
			return in, ErrWrongCredentials
		}
	}
	v.matched(stored)
	in.CredentialVersion = stored.version
	return in, nil
}
