package totp

import (
	"context"
	"errors"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

func (r *Recipe) verifyTOTP(ctx context.Context, in VerifyTOTPInput) error {
	q, err := r.question(in.TenantID, in.UserID, in.TOTP)
	if err != nil {
		return err
	}
	return r.count(ctx, q, func(ctx context.Context, budget *limits.Budget) (verdict, error) {
		if err := budget.Spent(); err != nil {
			return verdict{}, err
		}
		devices, err := r.devicesOnTenant(ctx, q)
		if err != nil {
			return verdict{}, err
		}
		if len(devices) == 0 {
			return verdict{}, ErrUnknownUserID
		}
		return r.judge(ctx, q, budget, verified(devices), useCounter)
	})
}

func (r *Recipe) verifyDevice(ctx context.Context, in VerifyDeviceInput) (VerifyDeviceResult, error) {
	q, err := r.question(in.TenantID, in.UserID, in.TOTP)
	if err = errors.Join(err, checkText("deviceName", in.DeviceName)); err != nil {
		return VerifyDeviceResult{}, err
	}
	firstOnly := callerOf(ctx, q.userID).firstOnly
	var setUp []device // with the new one
	err = r.count(ctx, q, func(ctx context.Context, budget *limits.Budget) (verdict, error) {
		devices, err := r.devicesOnTenant(ctx, q)
		if err != nil {
			return verdict{}, err
		}
		d, found := byName(devices, in.DeviceName)
		setUp = verified(devices)
		switch {
		case !found:
			return verdict{}, ErrUnknownDevice
		case d.verified:
			return verdict{}, errVerified
		case firstOnly && len(setUp) > 0:
			return verdict{}, errSetUp
		case len(setUp) >= r.maxDevices:
			return verdict{}, ErrTooManyDevices
		}
		setUp = append(setUp, d)
		if err := budget.Spent(); err != nil {
			return verdict{}, err
		}
		return r.judge(ctx, q, budget, []device{d}, verifyRow)
	})
	if errors.Is(err, errVerified) {
		return VerifyDeviceResult{WasAlreadyVerified: true}, nil
	}
	if err == nil {
		r.confirmed(ctx, q, setUp)
	}
	return VerifyDeviceResult{}, err
}

// errSetUp: there was to be no verified device.
var errSetUp = errors.New("totp: the factor is set up")

func verified(devices []device) []device {
	var only []device
	for _, d := range devices {
		if d.verified {
			only = append(only, d)
		}
	}
	return only
}

// question is a code that somebody gave.
type question struct {
	tenantID, userID, code string
	now                    time.Time // read once
}

func (r *Recipe) question(tenant, userID, code string) (question, error) {
	if err := errors.Join(checkUserID(userID), checkText("totp", code)); err != nil {
		return question{}, err
	}
	tenant, ok := tenantid.Normalise(tenant)
	if !ok {
		return question{}, session.ErrTenantNotFound
	}
	return question{tenantID: tenant, userID: userID, code: tidy(code), now: r.env.Now()}, nil
}

// verdict on a code that was looked at. It is valid once it has been committed.
type verdict struct {
	reason string // why it is not right; "": it is
	failed int    // wrong codes within the cooldown, this one included
	spent  bool   // it was the last one that the user had
}

// count runs f while the budget of the user is locked, and tells what came of it. An error of f counts nothing: nothing was compared then.
func (r *Recipe) count(ctx context.Context, q question, f func(ctx context.Context, budget *limits.Budget) (verdict, error)) error {
	var v verdict
	err := r.env.Store.CountingTx(ctx, func(ctx context.Context) error {
		budget, err := r.attempts.Lock(ctx, r.env.Store, q.userID, q.now)
		if err != nil {
			return err
		}
		v, err = f(ctx, budget)
		return err
	})
	spent, isSpent := errors.AsType[*limits.SpentError](err)
	switch {
	case isSpent:
		v.reason, err = env.ReasonLimited, &LimitReachedError{RetryAfter: spent.RetryAfter}
		if spent.Stopped {
			v.reason = env.ReasonStopped
		}
	case errors.Is(err, ErrUnknownUserID), errors.Is(err, ErrUnknownDevice):
		v.reason = env.ReasonUnknown
	case err != nil:
		return err
	case v.reason != "":
		err = &InvalidTOTPError{CurrentNumberOfFailedAttempts: v.failed, MaxNumberOfFailedAttempts: r.attempts.Max}
	}
	r.tell(ctx, q, v)
	return err
}

func (r *Recipe) tell(ctx context.Context, q question, v verdict) {
	by := callerOf(ctx, q.userID)
	event := env.Event{
		Name: env.FactorChecked, UserID: q.userID, TenantID: q.tenantID, SessionHandle: by.handle, FactorID: string(factor.TOTP),
		OK: v.reason == "", Reason: v.reason,
	}
	r.env.Emit(ctx, event)
	if v.spent && by.afterPassword {
		event.Name, event.FactorID, event.Reason = env.PasswordKnown, string(factor.EmailPassword), env.ReasonLimited
		r.env.Emit(ctx, event)
	}
}

// judge compares the code with those of the candidates and writes what came of it: the statement accept takes the counter of a right code.
func (r *Recipe) judge(ctx context.Context, q question, budget *limits.Budget, candidates []device, accept *store.Statement) (verdict, error) {
	if tooLong(q.code) {
		return verdict{reason: env.ReasonWrong, failed: budget.Failed() + 1}, nil
	}
	right, v, err := r.compare(ctx, q, candidates, accept)
	if err != nil {
		return verdict{}, err
	}
	if right {
		return verdict{}, budget.Clear(ctx)
	}
	if err := budget.Fail(ctx); err != nil {
		return verdict{}, err
	}
	v.failed, v.spent = budget.Failed(), budget.Spent() != nil
	return v, nil
}

func (r *Recipe) compare(ctx context.Context, q question, devices []device, accept *store.Statement) (right bool, v verdict, err error) {
	v.reason = env.ReasonWrong
	if !wellFormed(q.code) {
		return false, v, nil
	}
	candidates := make([]candidate, len(devices))
	for i, d := range devices {
		// A secret that cannot be opened is an error, never one device less.
		secret, err := r.unseal(d)
		if err != nil {
			return false, v, err
		}
		defer clear(secret)
		candidates[i] = candidate{secret: secret, period: d.period, skew: int64(d.skew), lastCounter: d.lastCounter}
	}
	m, err := findMatch(q.code, q.now, candidates, r.generate)
	if err != nil {
		return false, v, err
	}
	if m.device < 0 {
		if m.replayed {
			v.reason = env.ReasonReplayed
		}
		return false, v, nil
	}
	right, err = r.accept(ctx, accept, devices[m.device], candidates[m.device].secret, m.counter)
	return right, v, err
}
