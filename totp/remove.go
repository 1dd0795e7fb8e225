package totp

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/factor"
)

func (r *Recipe) removeDevice(ctx context.Context, in RemoveDeviceInput) (RemoveDeviceResult, error) {
	if err := errors.Join(checkUserID(in.UserID), checkText("deviceName", in.DeviceName)); err != nil {
		return RemoveDeviceResult{}, err
	}
	by := callerOf(ctx, in.UserID)
	var result RemoveDeviceResult
	var lost bool
	err := r.change(ctx, in.UserID, r.env.Now(), func(ctx context.Context, devices []device) error {
		d, found := byName(devices, in.DeviceName)
		result.DidDeviceExist = found
		// Also when an earlier removal was cut off before it reached the sessions: this one then finishes it.
		lost = (d.verified || !found) && !hasVerified(devices, d.id)
		if !found {
			return nil
		}
		return r.delete(ctx, d, by)
	})
	if err != nil {
		return RemoveDeviceResult{}, err
	}
	if lost {
		if err := r.factorRemoved(ctx, by.session, in.UserID, factor.TOTP); err != nil {
			return RemoveDeviceResult{}, err
		}
	}
	return result, nil
}

// delete removes one device. The statement itself spares a verified one that the session must not remove.
func (r *Recipe) delete(ctx context.Context, d device, by caller) error {
	defer r.env.Store.Forget(ctx, store.Facts)
	n, err := r.env.Store.Exec(ctx, deleteRow, d.id, !by.unverifiedOnly)
	if err != nil {
		return err
	}
	if n == 0 {
		return errVerified
	}
	if d.verified {
		r.env.Emit(ctx, env.Event{
			Name: env.FactorRemoved, UserID: d.userID, TenantID: by.tenantID, SessionHandle: by.handle, FactorID: string(factor.TOTP), OK: true,
		})
	}
	return nil
}

func hasVerified(devices []device, exceptID string) bool {
	for _, d := range devices {
		if d.verified && d.id != exceptID {
			return true
		}
	}
	return false
}

// errVerified: the device was to be unverified.
var errVerified = errors.New("totp: the device is verified")
