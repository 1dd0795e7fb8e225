package totp

import (
	"context"
	"encoding/json"
	"time"
)

// Functions is what the recipe does. User ids are those of persons; devices and the budget of wrong codes belong to a person on all tenants. A text
// that is no valid UTF-8, or holds U+0000, is a *session.BadInputError of every function.
//
// Each function must be safe for concurrent use. An override calls the original of its closure:
//
//	Functions: func(original totp.Functions, functions *totp.Functions) {
//		functions.VerifyTOTP = func(ctx context.Context, in totp.VerifyTOTPInput) error {
//			err := original.VerifyTOTP(ctx, in)
//			...
//		}
//	}
type Functions struct {
	// GetUserIdentifierInfoForUserID gives the account name that the authenticator app shows; "" leaves it out. The original takes the real email,
	// else the phone number, of the login method that has the user's id, else those of the other methods. ErrUnknownUserID: there is no such user.
	// CreateDevice calls it unless it was given a name.
	GetUserIdentifierInfoForUserID func(ctx context.Context, in GetUserIdentifierInfoForUserIDInput) (string, error)
	// CreateDevice makes an unverified device, which lives 24 h until VerifyDevice confirms it. One of the same name that was not verified is
	// replaced. Errors: ErrDeviceAlreadyExists, ErrTooManyDevices, ErrUnknownUserID.
	CreateDevice func(ctx context.Context, in CreateDeviceInput) (CreateDeviceResult, error)
	// ImportDevice makes a verified device of a secret that another system has given out. Errors: ErrDeviceAlreadyExists, ErrTooManyDevices.
	ImportDevice func(ctx context.Context, in ImportDeviceInput) (ImportDeviceResult, error)
	// UpdateDevice renames a device, verified or not. Errors: ErrUnknownDevice, ErrDeviceAlreadyExists.
	UpdateDevice func(ctx context.Context, in UpdateDeviceInput) error
	// ListDevices gives the devices by the time of their creation, unverified ones too; none for an unknown user. The factor is set up if it gives a
	// verified one; when the library asks for that, the original leaves the others out.
	ListDevices func(ctx context.Context, in ListDevicesInput) ([]Device, error)
	// RemoveDevice deletes a device. With the last verified one the factor leaves the user's sessions and their claims are computed anew; if that
	// fails the device is gone all the same, and the call may be repeated.
	RemoveDevice func(ctx context.Context, in RemoveDeviceInput) (RemoveDeviceResult, error)
	// VerifyDevice verifies a new device with its first code. Errors: ErrUnknownDevice, ErrTooManyDevices, *InvalidTOTPError, *LimitReachedError;
	// storage.ErrInsideTx inside a transaction of the host, whose rollback would lose the count of wrong codes.
	VerifyDevice func(ctx context.Context, in VerifyDeviceInput) (VerifyDeviceResult, error)
	// VerifyTOTP checks a code against the verified devices and spends an attempt unless it is right. Each code is accepted once. It completes no
	// factor: that is done by the HTTP APIs, and by mfa.MFA.MarkFactorAsCompleteInSession. Errors: ErrUnknownUserID when the user has no device,
	// *InvalidTOTPError, *LimitReachedError, and storage.ErrInsideTx as VerifyDevice.
	VerifyTOTP func(ctx context.Context, in VerifyTOTPInput) error
}

// Device is one authenticator. Its secret was given out once, by CreateDevice.
type Device struct {
	Name     string
	Period   time.Duration // whole seconds
	Skew     int           // how many periods before and after the present one are accepted
	Verified bool          // a right code was given for it
}

// MarshalJSON writes {"name":"...","period":30,"skew":1,"verified":true}, the period in seconds.
func (d Device) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name     string `json:"name"`
		Period   int64  `json:"period"`
		Skew     int    `json:"skew"`
		Verified bool   `json:"verified"`
	}{d.Name, int64(d.Period / time.Second), d.Skew, d.Verified})
}

// GetUserIdentifierInfoForUserIDInput is the input of that function.
type GetUserIdentifierInfoForUserIDInput struct{ UserID string }

// ListDevicesInput is the input of ListDevices.
type ListDevicesInput struct{ UserID string }

// CreateDeviceInput is the input of CreateDevice.
type CreateDeviceInput struct {
	UserID             string
	UserIdentifierInfo string        // the account name in the app. "": what GetUserIdentifierInfoForUserID says
	DeviceName         string        // up to 256 bytes without control characters. "": the first free of TOTP Device 1, TOTP Device 2, ...
	Skew               *int          // 0 to 2. nil: Config.DefaultSkew. A larger one than that raises the chance of a guess
	Period             time.Duration // whole seconds, 1 to 120. 0: Config.DefaultPeriod
}

// CreateDeviceResult is the one place where a secret is given out.
type CreateDeviceResult struct {
	DeviceName   string `json:"deviceName"`
	Secret       string `json:"secret"`       // base32, 32 characters: for people who cannot scan
	QRCodeString string `json:"qrCodeString"` // otpauth://totp/...
}

// ImportDeviceInput is the input of ImportDevice. UserIdentifierInfo is not used.
type ImportDeviceInput struct {
	CreateDeviceInput
	Secret string // base32 of 16 to 128 bytes, in either case, with or without spaces and padding
}

// ImportDeviceResult tells the name that the device got.
type ImportDeviceResult struct {
	DeviceName string `json:"deviceName"`
}

// UpdateDeviceInput is the input of UpdateDevice.
type UpdateDeviceInput struct{ UserID, ExistingDeviceName, NewDeviceName string }

// RemoveDeviceInput is the input of RemoveDevice.
type RemoveDeviceInput struct{ UserID, DeviceName string }

// RemoveDeviceResult tells whether there was such a device.
type RemoveDeviceResult struct {
	DidDeviceExist bool `json:"didDeviceExist"`
}

// VerifyDeviceInput is the input of VerifyDevice.
type VerifyDeviceInput struct{ TenantID, UserID, DeviceName, TOTP string }

// VerifyDeviceResult tells whether the device was verified before: then the code was not looked at, and must complete no factor.
type VerifyDeviceResult struct {
	WasAlreadyVerified bool `json:"wasAlreadyVerified"`
}

// VerifyTOTPInput is the input of VerifyTOTP.
type VerifyTOTPInput struct{ TenantID, UserID, TOTP string }

func (r *Recipe) defaultFunctions() Functions {
	return Functions{
		GetUserIdentifierInfoForUserID: r.getUserIdentifierInfoForUserID,
		CreateDevice:                   r.createDevice,
		ImportDevice:                   r.importDevice,
		UpdateDevice:                   r.updateDevice,
		ListDevices:                    r.listDevices,
		RemoveDevice:                   r.removeDevice,
		VerifyDevice:                   r.verifyDevice,
		VerifyTOTP:                     r.verifyTOTP,
	}
}

// bind is the door of every method.
func (r *Recipe) bind(ctx context.Context) (context.Context, error) {
	if r.env == nil {
		return nil, errNotAttached
	}
	return r.env.Bind(ctx), nil
}

// CreateDevice makes an unverified device and gives out its secret, once: see Functions.
func (r *Recipe) CreateDevice(ctx context.Context, in CreateDeviceInput) (CreateDeviceResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return CreateDeviceResult{}, err
	}
	return r.functions.CreateDevice(ctx, in)
}

// ImportDevice makes a verified device of a known secret: see Functions.
func (r *Recipe) ImportDevice(ctx context.Context, in ImportDeviceInput) (ImportDeviceResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return ImportDeviceResult{}, err
	}
	return r.functions.ImportDevice(ctx, in)
}

// UpdateDevice renames a device: see Functions.
func (r *Recipe) UpdateDevice(ctx context.Context, userID, existingDeviceName, newDeviceName string) error {
	ctx, err := r.bind(ctx)
	if err != nil {
		return err
	}
	return r.functions.UpdateDevice(ctx, UpdateDeviceInput{userID, existingDeviceName, newDeviceName})
}

// ListDevices gives the devices of a user, without their secrets: see Functions.
func (r *Recipe) ListDevices(ctx context.Context, userID string) ([]Device, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return nil, err
	}
	return r.functions.ListDevices(ctx, ListDevicesInput{userID})
}

// RemoveDevice deletes a device: see Functions.
func (r *Recipe) RemoveDevice(ctx context.Context, userID, deviceName string) (RemoveDeviceResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return RemoveDeviceResult{}, err
	}
	return r.functions.RemoveDevice(ctx, RemoveDeviceInput{userID, deviceName})
}

// VerifyDevice verifies a new device with its first code: see Functions.
func (r *Recipe) VerifyDevice(ctx context.Context, in VerifyDeviceInput) (VerifyDeviceResult, error) {
	ctx, err := r.bind(ctx)
	if err != nil {
		return VerifyDeviceResult{}, err
	}
	return r.functions.VerifyDevice(ctx, in)
}

// VerifyTOTP checks a code and spends an attempt unless it is right: see Functions.
func (r *Recipe) VerifyTOTP(ctx context.Context, tenantID, userID, totp string) error {
	ctx, err := r.bind(ctx)
	if err != nil {
		return err
	}
	return r.functions.VerifyTOTP(ctx, VerifyTOTPInput{tenantID, userID, totp})
}
