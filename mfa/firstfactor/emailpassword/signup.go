package emailpassword

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/email"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

// signUpPOST is the default of APIs.SignUpPOST.
func (r *Recipe) signUpPOST(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error) {
	attempt, given, err := r.begin(SignInPOSTInput(in))
	if err != nil {
		return SignInPOSTResult{}, err
	}
	ctx, id, err := r.planUserID(ctx)
	if err != nil {
		return SignInPOSTResult{}, err
	}
	if _, err := r.flow.Admit(ctx, attempt, id); err != nil {
		return SignInPOSTResult{}, err
	}
	if users.IsFakeEmail(given.Email) { // nobody begins a session with a stand-in address
		return SignInPOSTResult{}, fieldError(emailField, emailIsTaken)
	}
	ctx, v := withVerification(ctx)
	result, err := r.functions.SignUp(ctx, SignUpInput(given))
	if policy, ok := errors.AsType[*PasswordPolicyViolatedError](err); ok {
		return SignInPOSTResult{}, fieldError(passwordField, policy.FailureReason)
	}
	if errors.Is(err, ErrEmailAlreadyExists) {
		return SignInPOSTResult{}, fieldError(emailField, emailIsTaken)
	}
	if err != nil {
		return SignInPOSTResult{}, err
	}
	done, err := r.finish(ctx, attempt, result, given.Password, v)
	if errors.Is(err, ErrWrongCredentials) { // front ends know no such answer to a sign-up, and would take it for a success
		return SignInPOSTResult{}, errors.New("emailpassword: the new user was deleted, or given another password, before there was a session")
	}
	return done, err
}

func fieldError(id, problem string) error {
	return &FieldError{FormFields: []FieldProblem{{ID: id, Error: problem}}}
}

// signUp is the default of Functions.SignUp.
func (r *Recipe) signUp(ctx context.Context, in SignUpInput) (SignInResult, error) {
	tenantID, address, err := normalise(in.TenantID, in.Email, in.Password)
	if err != nil {
		return SignInResult{}, err
	}
	// Whether the address is taken is decided when it is written. It is asked before, too, since a hash is dear and most refusals are this one.
	if who, err := r.find(ctx, tenantID, address); err != nil || who.User != nil {
		return SignInResult{}, cmp.Or(err, ErrEmailAlreadyExists)
	}
	hash, err := r.hashNew(ctx, in.Password)
	if err != nil {
		return SignInResult{}, err
	}
	var result SignInResult
	made := &madeUser{}
	err = r.env.Store.Tx(ctx, func(ctx context.Context) error {
		result, err = r.functions.CreateNewRecipeUser(context.WithValue(ctx, madeUserKey{}, made), CreateNewRecipeUserInput{
			Email: in.Email, PasswordHash: hash, TenantID: in.TenantID,
		})
		return err
	})
	if err != nil {
		return SignInResult{}, err
	}
	if made.group != nil {
		users.Keep(ctx, r.env.Store, made.group)
		id := accountlinking.RecipeUserID(made.group.ID)
		verificationFrom(ctx).matched(credential{recipeUserID: id, hash: hash, version: made.group.Version})
	}
	return result, nil
}

// signUpFields reads and checks the form of a sign-up.
func (r *Recipe) signUpFields(ctx context.Context, tenantID string, formFields json.RawMessage) ([]Field, error) {
	fields, err := r.signUpForm.check(ctx, tenantID, formFields)
	if err != nil || r.cfg.CheckPassword == nil {
		return fields, err
	}
	address := users.NormaliseEmail(valueOf(fields, emailField))
	problem, err := r.cfg.CheckPassword(ctx, tenantID, address, valueOf(fields, passwordField))
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return nil, fieldError(passwordField, problem)
	}
	return fields, nil
}

// hashNew hashes a password that somebody chose.
func (r *Recipe) hashNew(ctx context.Context, password string) (string, error) {
	if password == "" {
		return "", badInput("Password must not be empty")
	}
	if problem := r.hasher.refuse(password); problem != "" {
		return "", &PasswordPolicyViolatedError{FailureReason: problem}
	}
	return r.hasher.hash(ctx, password)
}

// madeUser takes the user that was made in the transaction of a sign-up out of it, so that nobody has to read it after the commit.
type madeUser struct{ group *users.Group }

type madeUserKey struct{}

// createNewRecipeUser is the default of Functions.CreateNewRecipeUser.
func (r *Recipe) createNewRecipeUser(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error) {
	tenantID, address, err := normalise(in.TenantID, in.Email, in.Password)
	switch {
	case err != nil:
		return SignInResult{}, err
	case address == "" || len(address) > email.MaxBytes:
		return SignInResult{}, badInput(fmt.Sprintf("Email must have 1 to %d bytes", email.MaxBytes))
	}
	hash, err := r.hashToStore(ctx, in)
	if err != nil {
		return SignInResult{}, err
	}
	id, err := r.userID(ctx)
	if err != nil {
		return SignInResult{}, err
	}
	var group *users.Group
	err = r.env.Store.Tx(ctx, func(ctx context.Context) (err error) {
		group, err = users.Insert(ctx, r.env.Store, users.Row{
			UserID: id, RecipeID: recipeID, TimeJoined: r.env.Now(), Email: address,
			EmailVerified: users.IsFakeEmail(address), // there is no mailbox that could prove it
			TenantIDs:     []string{tenantID},
		})
		if err != nil {
			return err
		}
		_, err = r.env.Store.Exec(ctx, insertCredential, id, hash)
		return err
	})
	switch {
	case errors.Is(err, users.ErrInfoTaken):
		return SignInResult{}, ErrEmailAlreadyExists
	case errors.Is(err, users.ErrUnknownTenant):
		return SignInResult{}, session.ErrTenantNotFound
	case err != nil:
		return SignInResult{}, err
	}
	if made, ok := ctx.Value(madeUserKey{}).(*madeUser); ok {
		made.group = group
	}
	users.Keep(ctx, r.env.Store, group)
	return SignInResult{User: accountlinking.NewUser(group), RecipeUserID: accountlinking.RecipeUserID(id)}, nil
}

var errHashInside = errors.New("emailpassword: a sign-up calls CreateNewRecipeUser inside its transaction, where no password may be hashed: " +
	"an override has to pass PasswordHash on")

func (r *Recipe) hashToStore(ctx context.Context, in CreateNewRecipeUserInput) (string, error) {
	if (in.Password == "") == (in.PasswordHash == "") {
		return "", badInput("CreateNewRecipeUser needs exactly one of Password and PasswordHash")
	}
	if in.PasswordHash != "" {
		if _, err := r.hasher.parse(in.PasswordHash); err != nil {
			return "", badInput(err.Error())
		}
		return in.PasswordHash, nil
	}
	if ctx.Value(madeUserKey{}) != nil {
		return "", errHashInside
	}
	return r.hashNew(ctx, in.Password)
}

// plannedID is the id of the user that is about to sign up. It is good for one user.
type plannedID struct {
	id   string
	used atomic.Bool
}

type plannedIDKey struct{}

// planUserID makes the id before the user, so that what is read about it while the factor is admitted is known already when the session is made.
func (r *Recipe) planUserID(ctx context.Context) (context.Context, string, error) {
	id, err := newUserID(r.env.Random)
	if err != nil {
		return ctx, "", err
	}
	return context.WithValue(ctx, plannedIDKey{}, &plannedID{id: id}), id, nil
}

// userID is the planned one, or a new one.
func (r *Recipe) userID(ctx context.Context) (string, error) {
	if planned, ok := ctx.Value(plannedIDKey{}).(*plannedID); ok && planned.used.CompareAndSwap(false, true) {
		return planned.id, nil
	}
	return newUserID(r.env.Random)
}

// newUserID makes a UUID of version 4 (RFC 9562).
func newUserID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("emailpassword: making a user id: %w", err)
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
