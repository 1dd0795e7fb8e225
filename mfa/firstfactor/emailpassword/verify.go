package emailpassword

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

const tooManyAttempts = "Too many attempts. Please wait a while before you try again."

// verifyCredentials is the default of Functions.VerifyCredentials.
func (r *Recipe) verifyCredentials(ctx context.Context, in VerifyCredentialsInput) (SignInResult, error) {
	if err := r.env.Store.RefuseInTx(ctx); err != nil {
		return SignInResult{}, err
	}
	var err error
	if in.TenantID, in.Email, err = normalise(in.TenantID, in.Email, in.Password); err != nil {
		return SignInResult{}, err
	}
	who, err := r.find(ctx, in.TenantID, in.Email)
	if err != nil {
		return SignInResult{}, err
	}
	if err := r.judge(ctx, in, who); err != nil {
		return SignInResult{}, err
	}
	return who, nil
}

// normalise judges the texts that a function was given, and puts tenant and email into the form in which they are looked up.
func normalise(tenantID, email, password string) (normalTenantID, normalEmail string, err error) {
	for _, text := range [...]struct{ field, value string }{{"TenantID", tenantID}, {"Email", email}, {"Password", password}} {
		if problem := input.Text(text.field, text.value); problem != "" {
			return "", "", badInput(problem)
		}
	}
	normalTenantID, ok := tenantid.Normalise(tenantID)
	if !ok {
		return "", "", session.ErrTenantNotFound
	}
	return normalTenantID, users.NormaliseEmail(email), nil
}

// find returns who has the email as a login method of this recipe on the tenant; the zero value is nobody.
func (r *Recipe) find(ctx context.Context, tenantID, email string) (SignInResult, error) {
	found, err := flow.Lookup(ctx, r.users, recipeID, tenantID, accountlinking.AccountInfo{Email: email})
	if err != nil || found.User == nil {
		return SignInResult{}, err
	}
	return SignInResult{User: found.User, RecipeUserID: found.Method.RecipeUserID}, nil
}

// judge checks the password of a login method, or of nobody, which nothing can pass, and says what came of it.
func (r *Recipe) judge(ctx context.Context, in VerifyCredentialsInput, who SignInResult) error {
	err := r.check(ctx, in, who.RecipeUserID)
	r.emitChecked(ctx, in.TenantID, who.User, err)
	return err
}

// emitChecked says what came of a password, if it was judged at all. A nil user is nobody.
func (r *Recipe) emitChecked(ctx context.Context, tenantID string, user *accountlinking.User, err error) {
	event := env.Event{Name: env.FactorChecked, TenantID: tenantID, FactorID: recipeID, OK: err == nil}
	if user != nil {
		event.UserID = user.ID
	}
	_, limited := errors.AsType[*session.GeneralError](err)
	switch {
	case err == nil:
	case limited:
		event.Reason = env.ReasonLimited
	case !errors.Is(err, ErrWrongCredentials):
		return
	case user == nil:
		event.Reason = env.ReasonUnknown
	default:
		event.Reason = env.ReasonWrong
	}
	r.env.Emit(ctx, event)
}

// check counts the attempt, then compares the password. No account, one without a usable hash and one with another password take the same
// statements and the same number of hashes.
func (r *Recipe) check(ctx context.Context, in VerifyCredentialsInput, id accountlinking.RecipeUserID) error {
	if len(in.Password) > maxPasswordBytes {
		return ErrWrongCredentials // nobody's
	}
	attempt, err := r.limit.Take(ctx, in.TenantID, in.Email)
	if wait, ok := errors.AsType[*limits.WaitError](err); ok {
		return &session.GeneralError{Message: tooManyAttempts, RetryAfter: wait.Wait}
	}
	if err != nil {
		return err
	}
	defer attempt.Release()

	// The hash is read after the attempt was counted: a new password that was set meanwhile is the one that counts.
	stored, found, err := r.credentialOf(ctx, id)
	if err != nil {
		return err
	}
	right, err := r.matches(ctx, in.Password, stored, found)
	if err != nil {
		return err
	}
	if !right {
		return ErrWrongCredentials
	}
	if err := attempt.Clear(ctx); err != nil {
		return err
	}
	if stored, err = r.renew(ctx, in.Password, stored); err != nil {
		return err
	}
	verificationFrom(ctx).matched(stored)
	return nil
}

func (r *Recipe) matches(ctx context.Context, password string, stored credential, found bool) (right bool, err error) {
	if !found {
		return false, r.hasher.checkDummy(ctx, password)
	}
	right, err = r.hasher.check(ctx, password, stored.hash)
	if unusable, ok := errors.AsType[*unusableHashError](err); ok {
		// A user who can never sign in again must not look like one who mistyped.
		r.env.Logger.ErrorContext(ctx, "emailpassword: the stored hash of a password cannot be used",
			"recipeUserId", string(stored.recipeUserID), "error", unusable)
		return false, nil
	}
	return right, err
}

// renew replaces an outdated hash by one of the present algorithm and cost, unless another password was set meanwhile.
func (r *Recipe) renew(ctx context.Context, password string, stored credential) (credential, error) {
	if !r.hasher.outdated(password, stored.hash) {
		return stored, nil
	}
	hash, err := r.hasher.hash(ctx, password)
	if err != nil {
		return stored, err
	}
	n, err := r.env.Store.Exec(ctx, rehashCredential, string(stored.recipeUserID), hash, stored.hash)
	if err == nil && n == 1 {
		stored.hash = hash
	}
	return stored, err
}
