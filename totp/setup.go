package totp

import (
	"context"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// setUpTestKey marks the question whether the factor is set up: for it the verified devices will do, which the request mostly knows already.
type setUpTestKey struct{}

func (r *Recipe) verifiedDevices(ctx context.Context, userID string) ([]Device, error) {
	devices, err := facts.GetTOTPDevices(ctx, r.env.Store, userID)
	if err != nil {
		return nil, err
	}
	public := make([]Device, len(devices))
	for i, d := range devices {
		public[i] = Device{Name: d.Name, Period: time.Duration(d.Period) * time.Second, Skew: d.Skew, Verified: true}
	}
	return public, nil
}

// factorsSetUpForUser reports the factor when the user has a verified device.
func (r *Recipe) factorsSetUpForUser(ctx context.Context, user *accountlinking.User) ([]factor.ID, error) {
	ctx = context.WithValue(ctx, setUpTestKey{}, true)
	devices, err := r.functions.ListDevices(ctx, ListDevicesInput{UserID: user.ID})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(devices, func(d Device) bool { return d.Verified }) {
		return []factor.ID{factor.TOTP}, nil
	}
	return nil, nil
}

// imported tells that the user has one verified device more.
func (r *Recipe) imported(ctx context.Context, userID string) {
	r.env.Store.Forget(ctx, store.Facts)
	r.tellSetUp(ctx, userID, "")
}

// confirmed tells that one of these, the verified devices of the user, is new.
func (r *Recipe) confirmed(ctx context.Context, q question, devices []device) {
	known := make([]facts.TOTPDevice, len(devices))
	for i, d := range devices {
		known[i] = facts.TOTPDevice{Name: d.name, Period: int(d.period), Skew: d.skew}
	}
	facts.TOTPDevicesChanged(ctx, r.env.Store, q.tenantID, q.userID, known)
	r.tellSetUp(ctx, q.userID, q.tenantID)
}

func (r *Recipe) tellSetUp(ctx context.Context, userID, tenantID string) {
	r.env.Emit(ctx, env.Event{
		Name: env.FactorSetUp, UserID: userID, TenantID: tenantID, SessionHandle: callerOf(ctx, userID).handle, FactorID: string(factor.TOTP), OK: true,
	})
}
