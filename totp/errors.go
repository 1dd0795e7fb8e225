package totp

import (
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/session"
)

var (
	// ErrUnknownDevice is returned by UpdateDevice and VerifyDevice: the user has no device of that name.
	ErrUnknownDevice = session.NewRefusal("UNKNOWN_DEVICE_ERROR", "unknown device")
	// ErrDeviceAlreadyExists is returned by CreateDevice and ImportDevice when the name is that of a verified device, and by UpdateDevice when it is
	// that of any other.
	ErrDeviceAlreadyExists = session.NewRefusal("DEVICE_ALREADY_EXISTS_ERROR", "device already exists")
	// ErrTooManyDevices is returned by CreateDevice, ImportDevice and VerifyDevice beyond Config.MaxDevices. Front ends show its text.
	ErrTooManyDevices = session.NewRefusal("GENERAL_ERROR", "You have too many authenticator devices. Remove one first.")
	// ErrUnknownUserID is returned by VerifyTOTP when the user has no device, and by CreateDevice when there is no such user: the same value
	// as that of accountlinking.
	ErrUnknownUserID = accountlinking.ErrUnknownUserID
)

// InvalidTOTPError refuses a wrong code, or one that was used. On the wire it is INVALID_TOTP_ERROR with the two counts.
type InvalidTOTPError struct {
	CurrentNumberOfFailedAttempts int // within the cooldown, this one included
	MaxNumberOfFailedAttempts     int // when that many are reached, the next attempt is a *LimitReachedError
}

// Error is for logs; front ends get the counts.
func (e *InvalidTOTPError) Error() string { return "invalid totp" }

// Refusal is INVALID_TOTP_ERROR.
func (e *InvalidTOTPError) Refusal() (status string, fields map[string]any) {
	return "INVALID_TOTP_ERROR", map[string]any{
		"currentNumberOfFailedAttempts": e.CurrentNumberOfFailedAttempts,
		"maxNumberOfFailedAttempts":     e.MaxNumberOfFailedAttempts,
	}
}

// LimitReachedError refuses every code, right ones too, after too many wrong ones: it is that of mfa.
type LimitReachedError = mfa.LimitReachedError

var errNotAttached = errors.New("totp: the recipe belongs to no instance: give it to mfa.New in Config.Factors")
