package accountlinking

import "github.com/stepup-auth/stepup/session"

// Refusals that several recipes share are declared here once; the recipes that return them export the same values under the same names.
var (
	// ErrUnknownUserID: nobody, and no login method, has the id.
	ErrUnknownUserID = session.NewRefusal("UNKNOWN_USER_ID_ERROR", "unknown user id")
	// ErrEmailAlreadyExists: another login method of the same recipe has the email on the tenant.
	ErrEmailAlreadyExists = session.NewRefusal("EMAIL_ALREADY_EXISTS_ERROR", "email already exists")
)
