package emailpassword

import (
	"context"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/session"
)

// Functions is what the recipe does. Each may be replaced by [Override], must be safe for concurrent use, and returns a result that means
// something only when the error is nil.
//
// A TenantID of "" is the public tenant; one that does not exist is session.ErrTenantNotFound. Emails are trimmed and put into lower case by
// each function. Text that is not valid UTF-8, or holds U+0000, is a *session.BadInputError.
type Functions struct {
	// SignUp makes a user: it hashes the password, then calls CreateNewRecipeUser inside the transaction that holds all that a sign-up
	// writes. It demands of the password only what hashing demands (*PasswordPolicyViolatedError): the checks of the form are those of the
	// API. ErrEmailAlreadyExists leaves nothing behind.
	SignUp func(ctx context.Context, in SignUpInput) (SignInResult, error)
	// CreateNewRecipeUser only makes the login method: no policy is asked. A sign-up calls it with the hash, since it hashes before its
	// transaction, and with a ctx that carries the transaction: an override that writes rows of the host's own there (db.Tx(ctx)) gets both or
	// nothing, and may run again when the database asks for it. ErrEmailAlreadyExists if the tenant has a login method of this recipe with
	// the email.
	CreateNewRecipeUser func(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error)
	// SignIn checks the password by VerifyCredentials, unless the API has done that already, and returns whose it is. It makes no session.
	// Errors: those of VerifyCredentials.
	SignIn func(ctx context.Context, in SignInInput) (SignInResult, error)
	// VerifyCredentials checks a password. ErrWrongCredentials, with as many hashes computed when nobody has the email; *session.GeneralError
	// while whoever guesses at this email has to wait, for the right password too; storage.ErrInsideTx in a transaction, since a rollback
	// would lose the count. A right password whose hash is outdated is hashed anew.
	VerifyCredentials func(ctx context.Context, in VerifyCredentialsInput) (SignInResult, error)
}

// SignUpInput is a person who wants to come in.
type SignUpInput struct{ Email, Password, TenantID string }

// CreateNewRecipeUserInput has exactly one of Password and PasswordHash. The hash is of a kind that [Hashing] names.
type CreateNewRecipeUserInput struct{ Email, Password, PasswordHash, TenantID string }

// SignInInput is a person who says to be somebody.
type SignInInput struct{ Email, Password, TenantID string }

// VerifyCredentialsInput is a password to be checked.
type VerifyCredentialsInput struct{ Email, Password, TenantID string }

// SignInResult is whose password it is.
type SignInResult struct {
	User         *accountlinking.User
	RecipeUserID accountlinking.RecipeUserID // of the login method
}

var (
	// ErrWrongCredentials: nobody has the email on the tenant, or the password is another.
	ErrWrongCredentials = session.NewRefusal("WRONG_CREDENTIALS_ERROR", "wrong credentials")
	// ErrEmailAlreadyExists: the tenant has a login method of this recipe with the email. The sign-up API makes it a *FieldError.
	ErrEmailAlreadyExists = accountlinking.ErrEmailAlreadyExists
)

// PasswordPolicyViolatedError refuses a new password: PASSWORD_POLICY_VIOLATED_ERROR with failureReason, a text for the user. The sign-up API
// makes it a *FieldError.
type PasswordPolicyViolatedError struct{ FailureReason string }

// Error is for logs; it does not hold the password.
func (e *PasswordPolicyViolatedError) Error() string {
	return "password policy violated: " + e.FailureReason
}

// Refusal is PASSWORD_POLICY_VIOLATED_ERROR with the reason.
func (e *PasswordPolicyViolatedError) Refusal() (string, map[string]any) {
	return "PASSWORD_POLICY_VIOLATED_ERROR", map[string]any{"failureReason": e.FailureReason}
}

// SignUp is Functions.SignUp.
func (r *Recipe) SignUp(ctx context.Context, in SignUpInput) (SignInResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return SignInResult{}, err
	}
	return r.functions.SignUp(ctx, in)
}

// CreateNewRecipeUser is Functions.CreateNewRecipeUser.
func (r *Recipe) CreateNewRecipeUser(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return SignInResult{}, err
	}
	return r.functions.CreateNewRecipeUser(ctx, in)
}

// SignIn is Functions.SignIn.
func (r *Recipe) SignIn(ctx context.Context, in SignInInput) (SignInResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return SignInResult{}, err
	}
	return r.functions.SignIn(ctx, in)
}

// VerifyCredentials is Functions.VerifyCredentials, for a host that asks a signed-in user for the password once more. It returns no user, so
// that it is not mistaken for a sign-in.
func (r *Recipe) VerifyCredentials(ctx context.Context, tenantID, email, password string) error {
	ctx, err := r.bind(ctx)
	if err != nil {
		return err
	}
	_, err = r.functions.VerifyCredentials(ctx, VerifyCredentialsInput{Email: email, Password: password, TenantID: tenantID})
	return err
}
