package totp

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// APIs is what the recipe serves. All five need a session and work while its requirements are not met; those that change devices ask the database about it,
// so that a session that has ended is of no use there, though its access token has not. A field that an override sets to nil switches its route off. A
// text for the user to see is a *session.GeneralError of an override's own.
type APIs struct {
	// CreateDevicePOST is POST /totp/device. The session must be allowed to set the factor up: else it is a *session.InvalidClaimsError.
	CreateDevicePOST func(ctx context.Context, in CreateDevicePOSTInput) (CreateDeviceResult, error)
	// ListDevicesGET is GET /totp/device/list.
	ListDevicesGET func(ctx context.Context, in ListDevicesGETInput) ([]Device, error)
	// RemoveDevicePOST is POST /totp/device/remove. A verified device is removed only in a session whose requirements are met at this moment, else it
	// is a *session.InvalidClaimsError; one that is not verified is removed in any, as front ends do when the user goes back.
	RemoveDevicePOST func(ctx context.Context, in RemoveDevicePOSTInput) (RemoveDeviceResult, error)
	// VerifyDevicePOST is POST /totp/device/verify. It completes the factor in the session unless the device was verified before. The session must be
	// allowed to set the factor up; of several that may do so only as long as nobody has, the first does.
	VerifyDevicePOST func(ctx context.Context, in VerifyDevicePOSTInput) (VerifyDeviceResult, error)
	// VerifyTOTPPOST is POST /totp/verify. It completes the factor in the session, whether or not it is asked for.
	VerifyTOTPPOST func(ctx context.Context, in VerifyTOTPPOSTInput) error
}

// CreateDevicePOSTInput is the input of that API. DeviceName "" asks for a default name.
type CreateDevicePOSTInput struct {
	Session    *session.Session
	DeviceName string
	Options    session.APIOptions
}

// ListDevicesGETInput is the input of that API.
type ListDevicesGETInput struct {
	Session *session.Session
	Options session.APIOptions
}

// RemoveDevicePOSTInput is the input of that API.
type RemoveDevicePOSTInput struct {
	Session    *session.Session
	DeviceName string
	Options    session.APIOptions
}

// VerifyDevicePOSTInput is the input of that API.
type VerifyDevicePOSTInput struct {
	Session    *session.Session
	DeviceName string
	TOTP       string
	Options    session.APIOptions
}

// VerifyTOTPPOSTInput is the input of that API.
type VerifyTOTPPOSTInput struct {
	Session *session.Session
	TOTP    string
	Options session.APIOptions
}

func (r *Recipe) defaultAPIs() APIs {
	return APIs{
		CreateDevicePOST: r.createDevicePOST,
		ListDevicesGET:   r.listDevicesGET,
		RemoveDevicePOST: r.removeDevicePOST,
		VerifyDevicePOST: r.verifyDevicePOST,
		VerifyTOTPPOST:   r.verifyTOTPPOST,
	}
}

func (r *Recipe) createDevicePOST(ctx context.Context, in CreateDevicePOSTInput) (CreateDeviceResult, error) {
	if err := mfa.FromContext(ctx).AssertAllowedToSetupFactor(ctx, in.Session, factor.TOTP); err != nil {
		return CreateDeviceResult{}, err
	}
	result, err := r.functions.CreateDevice(ctx, CreateDeviceInput{UserID: in.Session.UserID(), DeviceName: in.DeviceName})
	if errors.Is(err, ErrUnknownUserID) {
		return CreateDeviceResult{}, &session.UnauthorisedError{Message: "Session user not found"}
	}
	return result, err
}

func (r *Recipe) listDevicesGET(ctx context.Context, in ListDevicesGETInput) ([]Device, error) {
	return r.functions.ListDevices(ctx, ListDevicesInput{UserID: in.Session.UserID()})
}

func (r *Recipe) removeDevicePOST(ctx context.Context, in RemoveDevicePOSTInput) (RemoveDeviceResult, error) {
	devices, err := r.functions.ListDevices(ctx, ListDevicesInput{UserID: in.Session.UserID()})
	if err != nil {
		return RemoveDeviceResult{}, err
	}
	verified := slices.ContainsFunc(devices, func(d Device) bool { return d.Verified && d.Name == in.DeviceName })
	result, err := r.removeInSession(ctx, in, verified)
	if errors.Is(err, errVerified) { // since it was looked at
		return r.removeInSession(ctx, in, true)
	}
	return result, err
}

func (r *Recipe) removeInSession(ctx context.Context, in RemoveDevicePOSTInput, verified bool) (RemoveDeviceResult, error) {
	by := callerIn(in.Session)
	by.unverifiedOnly = !verified
	if verified {
		// The v of the token may be old: the policy is asked anew.
		if _, err := mfa.FromContext(ctx).GetMFARequirementsForAuth(ctx, in.Session); err != nil {
			return RemoveDeviceResult{}, err
		}
		if err := in.Session.AssertClaims(ctx, mfa.Claim.HasCompletedMFARequirementsForAuth()); err != nil {
			return RemoveDeviceResult{}, err
		}
	}
	return r.functions.RemoveDevice(withCaller(ctx, by), RemoveDeviceInput{UserID: in.Session.UserID(), DeviceName: in.DeviceName})
}

func (r *Recipe) verifyDevicePOST(ctx context.Context, in VerifyDevicePOSTInput) (VerifyDeviceResult, error) {
	result, err := r.verifyInSession(ctx, in, false)
	if errors.Is(err, errSetUp) { // since it was looked at
		r.env.Store.Forget(ctx, store.Facts)
		result, err = r.verifyInSession(ctx, in, true)
	}
	if err != nil || result.WasAlreadyVerified { // then no code was looked at
		return result, sessionError(err)
	}
	return result, mfa.FromContext(ctx).MarkFactorAsCompleteInSession(ctx, in.Session, factor.TOTP)
}

// verifyInSession asks whether the session may set the factor up, and verifies the device. A session whose requirements are not met may do so while there
// is no verified device; setUp true: it was allowed to although there is one.
func (r *Recipe) verifyInSession(ctx context.Context, in VerifyDevicePOSTInput, setUp bool) (VerifyDeviceResult, error) {
	if err := mfa.FromContext(ctx).AssertAllowedToSetupFactor(ctx, in.Session, factor.TOTP); err != nil {
		return VerifyDeviceResult{}, err
	}
	by := callerIn(in.Session)
	claim, _ := mfa.Claim.GetValue(in.Session)
	by.firstOnly = !claim.V && !setUp
	return r.functions.VerifyDevice(withCaller(ctx, by), VerifyDeviceInput{
		TenantID: in.Session.TenantID(), UserID: in.Session.UserID(), DeviceName: in.DeviceName, TOTP: in.TOTP,
	})
}

func (r *Recipe) verifyTOTPPOST(ctx context.Context, in VerifyTOTPPOSTInput) error {
	err := r.functions.VerifyTOTP(withCaller(ctx, callerIn(in.Session)), VerifyTOTPInput{
		TenantID: in.Session.TenantID(), UserID: in.Session.UserID(), TOTP: in.TOTP,
	})
	if err != nil {
		return sessionError(err)
	}
	return mfa.FromContext(ctx).MarkFactorAsCompleteInSession(ctx, in.Session, factor.TOTP)
}

// sessionError says that the session is over whose tenant is gone: it is no mistake of the request.
func sessionError(err error) error {
	if errors.Is(err, session.ErrTenantNotFound) {
		return &session.UnauthorisedError{Message: "Tenant not found"}
	}
	return err
}

// routes of the APIs that are not switched off. Each first asks for the session, then looks at the body.
func (r *Recipe) routes(apis APIs) []mfa.Route {
	var routes []mfa.Route
	post := func(path string, served bool, session sessionFunc, handle bodyFunc) {
		if served {
			routes = append(routes, mfa.Route{Method: "POST", Path: path, Handle: withBody(session, handle)})
		}
	}
	post("/totp/device", apis.CreateDevicePOST != nil, r.liveSession, func(ctx context.Context, s *session.Session, req *mfa.Request, b body) (any, error) {
		name, err := b.optionalName()
		if err != nil {
			return nil, err
		}
		return apis.CreateDevicePOST(ctx, CreateDevicePOSTInput{s, name, req.Options})
	})
	if apis.ListDevicesGET != nil {
		routes = append(routes, mfa.Route{Method: "GET", Path: "/totp/device/list", Handle: func(ctx context.Context, req *mfa.Request) (any, error) {
			s, err := anySession(ctx, req)
			if err != nil {
				return nil, err
			}
			devices, err := apis.ListDevicesGET(ctx, ListDevicesGETInput{s, req.Options})
			return deviceList{append([]Device{}, devices...)}, err
		}})
	}
	post("/totp/device/remove", apis.RemoveDevicePOST != nil, r.liveSession, func(ctx context.Context, s *session.Session, req *mfa.Request, b body) (any, error) {
		name, ok := text(b.DeviceName)
		if !ok || name == "" {
			return nil, badInput("deviceName is required and must be a non-empty string")
		}
		return apis.RemoveDevicePOST(ctx, RemoveDevicePOSTInput{s, name, req.Options})
	})
	post("/totp/device/verify", apis.VerifyDevicePOST != nil, r.liveSession, func(ctx context.Context, s *session.Session, req *mfa.Request, b body) (any, error) {
		name, ok := text(b.DeviceName)
		if !ok {
			return nil, badInput("deviceName is required and must be a string")
		}
		code, err := b.code()
		if err != nil {
			return nil, err
		}
		return apis.VerifyDevicePOST(ctx, VerifyDevicePOSTInput{s, name, code, req.Options})
	})
	post("/totp/verify", apis.VerifyTOTPPOST != nil, anySession, func(ctx context.Context, s *session.Session, req *mfa.Request, b body) (any, error) {
		code, err := b.code()
		if err != nil {
			return nil, err
		}
		return nil, apis.VerifyTOTPPOST(ctx, VerifyTOTPPOSTInput{s, code, req.Options})
	})
	return routes
}

type deviceList struct {
	Devices []Device `json:"devices"`
}

// body of the four POSTs. The values are kept as they came, since an absent one is not null and null is no text.
type body struct {
	DeviceName json.RawMessage `json:"deviceName"`
	TOTP       json.RawMessage `json:"totp"`
}

type (
	sessionFunc func(ctx context.Context, req *mfa.Request) (*session.Session, error)
	bodyFunc    func(ctx context.Context, s *session.Session, req *mfa.Request, b body) (any, error)
)

// anySession demands a session, whatever its claims say.
func anySession(ctx context.Context, req *mfa.Request) (*session.Session, error) {
	return req.Session(ctx)
}

// liveSession is anySession that asks the database too: whoever was signed out elsewhere, or lost a factor there, does not get to set one up or to
// remove one until the access token ends.
func (r *Recipe) liveSession(ctx context.Context, req *mfa.Request) (*session.Session, error) {
	return r.sessions.GetSession(req.Options.Response, req.Options.Request.WithContext(ctx), session.VerifyOptions{
		CheckDatabase: true,
		OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, nil
		},
	})
}

func withBody(session sessionFunc, handle bodyFunc) func(ctx context.Context, req *mfa.Request) (any, error) {
	return func(ctx context.Context, req *mfa.Request) (any, error) {
		s, err := session(ctx, req)
		if err != nil {
			return nil, err
		}
		var b body
		if err := req.Decode(&b); err != nil {
			return nil, err
		}
		return handle(ctx, s, req, b)
	}
}

// optionalName is "" when the body has none.
func (b body) optionalName() (string, error) {
	if b.DeviceName == nil {
		return "", nil
	}
	name, ok := text(b.DeviceName)
	if !ok {
		return "", badInput("deviceName must be a string")
	}
	return name, checkNewName(name)
}

func (b body) code() (string, error) {
	code, ok := text(b.TOTP)
	if !ok {
		return "", badInput("totp is required and must be a string")
	}
	return code, nil
}

// text reads a value that must be a JSON string.
func text(raw json.RawMessage) (string, bool) {
	var s *string
	if json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}
