package session

import (
	"errors"
	"fmt"
	"time"
)

// Refusal is an expected negative answer. On the wire it is HTTP 200 with {"status": status, fields...}.
type Refusal interface {
	error
	Refusal() (status string, fields map[string]any)
}

// NewRefusal makes a sentinel: compare with errors.Is. The message is for logs; it is sent only with the status GENERAL_ERROR, for the user to
// see.
func NewRefusal(status, message string) error { return &statusError{status, message} }

type statusError struct{ status, message string }

func (e *statusError) Error() string { return e.message }

func (e *statusError) Refusal() (string, map[string]any) {
	if e.status == generalError {
		return e.status, map[string]any{"message": e.message}
	}
	return e.status, nil
}

const generalError = "GENERAL_ERROR"

// GeneralError is the answer that front ends show as it is: {"status":"GENERAL_ERROR","message":...}. Overrides of APIs return it. So do
// functions that send a message or check a password or one-time code, while a limit holds: nothing was sent, compared or counted then, and the
// header Retry-After says when to try again.
type GeneralError struct {
	Message    string
	RetryAfter time.Duration // sent in whole seconds, rounded up. 0: no limit caused it, or one that does not end by itself
}

// Error returns the message that the user sees.
func (e *GeneralError) Error() string { return e.Message }

// Refusal is GENERAL_ERROR with the message.
func (e *GeneralError) Refusal() (string, map[string]any) {
	return generalError, map[string]any{"message": e.Message}
}

// BadInputError is a 400 {"message": ...}; 413 or 415 where a body as a whole is too large or encoded. Errors of other packages that are a 400
// wrap one.
type BadInputError struct {
	Message string
	status  int // of a body as a whole; 0 is 400
}

// Error returns the message of the answer.
func (e *BadInputError) Error() string { return e.Message }

// UnauthorisedError is a 401 {"message":"unauthorised"}.
type UnauthorisedError struct {
	Message    string // for the log
	KeepTokens bool   // do not clear the tokens of the client
}

// Error returns the message for the log.
func (e *UnauthorisedError) Error() string { return e.Message }

// TryRefreshTokenError is a 401 {"message":"try refresh token"}.
type TryRefreshTokenError struct {
	Message string // for the log
}

// Error returns the message for the log.
func (e *TryRefreshTokenError) Error() string { return e.Message }

// TokenTheftDetectedError is a 401 {"message":"token theft detected"}: a refresh token was used again after its grace window, or an older one at
// all. The session has ended when it is returned.
type TokenTheftDetectedError struct {
	SessionHandle string
	UserID        string
	RecipeUserID  RecipeUserID
}

// Error is for logs; it holds no token.
func (e *TokenTheftDetectedError) Error() string { return "token theft detected" }

// InvalidClaimsError is a 403 {"message":"invalid claim","claimValidationErrors":[...]}.
type InvalidClaimsError struct{ Errors []ClaimValidationError }

// ClaimValidationError is the refusal of one validator.
type ClaimValidationError struct {
	ID     string `json:"id"`
	Reason any    `json:"reason,omitempty"`
}

// Error names the validators that refused.
func (e *InvalidClaimsError) Error() string {
	ids := make([]string, len(e.Errors))
	for i, v := range e.Errors {
		ids[i] = v.ID
	}
	return fmt.Sprintf("invalid claim %v", ids)
}

// ProtectedClaimError: an update of a payload, or a payload that an override of CreateNewSession changed, names a claim that belongs to the
// token (sub, rsub, tId, iat, exp, iss, stt, sessionHandle, antiCsrfToken and the two hashes of refresh tokens). It is a mistake of the program
// and so a 500; nothing was written.
type ProtectedClaimError struct{ Name string }

// Error names the claim.
func (e *ProtectedClaimError) Error() string {
	return "The user payload contains protected field " + e.Name
}

var (
	// ErrSessionDoesNotExist is returned by functions that take a handle. Methods of a *Session return an *UnauthorisedError instead.
	ErrSessionDoesNotExist = NewRefusal("SESSION_DOES_NOT_EXIST_ERROR", "session does not exist")
	// ErrTenantNotFound is returned by every function of every recipe that takes a tenant id. On the wire it is a 400 {"message":"Tenant not
	// found"} for the tenant of a path, and a 401 for that of a session.
	ErrTenantNotFound = errors.New("tenant not found")
	// ErrResponseWritten is returned by methods that must send a changed token when the answer's header has gone out.
	ErrResponseWritten = errors.New("session: tokens changed after the response was written")
)
