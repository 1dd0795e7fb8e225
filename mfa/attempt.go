package mfa

import (
	"context"
	"errors"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// LimitReachedError is {"status":"LIMIT_REACHED_ERROR","retryAfterMs":...}: the budget of wrong codes is spent.
type LimitReachedError struct{ RetryAfter time.Duration }

// Error is for logs; front ends get the wait.
func (e *LimitReachedError) Error() string { return "too many wrong codes" }

// Refusal is LIMIT_REACHED_ERROR with the wait in milliseconds.
func (e *LimitReachedError) Refusal() (string, map[string]any) {
	return "LIMIT_REACHED_ERROR", map[string]any{"retryAfterMs": e.RetryAfter.Milliseconds()}
}

// WrongCodeError is {"status":"INVALID_CODE_ERROR","currentNumberOfFailedAttempts":...,"maxNumberOfFailedAttempts":...}.
type WrongCodeError struct{ CurrentNumberOfFailedAttempts, MaxNumberOfFailedAttempts int }

// Error is for logs; front ends get the counts.
func (e *WrongCodeError) Error() string { return "wrong code" }

// Refusal is INVALID_CODE_ERROR with the two counts.
func (e *WrongCodeError) Refusal() (string, map[string]any) {
	return "INVALID_CODE_ERROR", map[string]any{
		"currentNumberOfFailedAttempts": e.CurrentNumberOfFailedAttempts, "maxNumberOfFailedAttempts": e.MaxNumberOfFailedAttempts,
	}
}

// Attempt is for factors that check a secret of their own, such as a recovery code. It spends one attempt of the user's budget (Limits.MaxAttempts,
// shared with TOTP) before it calls check: right resets the budget, wrong is a *WrongCodeError, and while the budget is spent a *LimitReachedError is
// returned without calling check. An error of check is returned and the attempt stays counted, and so it does after a panic and when the caller hangs
// up. It completes nothing: MarkFactorAsCompleteInSession does. In a transaction of the host it is storage.ErrInsideTx, and nothing is counted.
func (m *MFA) Attempt(ctx context.Context, s *session.Session, id factor.ID, check func(ctx context.Context) (right bool, err error)) error {
	if err := checkID(id); err != nil {
		return err
	}
	ctx = m.enter(ctx)
	event := env.Event{
		Name: env.FactorChecked, UserID: s.UserID(), TenantID: s.TenantID(), SessionHandle: s.Handle(), FactorID: string(id),
	}
	budget := m.flow.Attempts
	failed, err := budget.Reserve(ctx, m.env.Store, s.UserID(), m.env.Now())
	if spent, ok := errors.AsType[*limits.SpentError](err); ok {
		event.Reason = env.ReasonLimited
		if spent.Stopped {
			event.Reason = env.ReasonStopped
		}
		m.env.Emit(ctx, event)
		return &LimitReachedError{spent.RetryAfter}
	}
	if err != nil {
		return err
	}
	right, err := check(ctx)
	if err != nil {
		return err
	}
	if !right {
		event.Reason = env.ReasonWrong
		m.env.Emit(ctx, event)
		if failed >= budget.Max {
			m.emitPasswordKnown(ctx, s)
		}
		return &WrongCodeError{min(failed, budget.Max), budget.Max}
	}
	if err := limits.ClearAttempts(ctx, m.env.Store, s.UserID(), m.env.Now()); err != nil {
		return err
	}
	event.OK = true
	m.env.Emit(ctx, event)
	return nil
}

// emitPasswordKnown tells that somebody who gave the right password spent the budget of second factors: they probably know the password and no more.
func (m *MFA) emitPasswordKnown(ctx context.Context, s *session.Session) {
	if claim, ok := Claim.GetValue(s); ok && claim.C.Has(factor.EmailPassword) {
		m.env.Emit(ctx, env.Event{
			Name: env.PasswordKnown, UserID: s.UserID(), TenantID: s.TenantID(), SessionHandle: s.Handle(), FactorID: string(factor.EmailPassword),
			Reason: env.ReasonLimited,
		})
	}
}

// ResetAttempts clears the counts of the user's wrong second factors, full stops included: for support staff. Waits for passwords end by themselves.
func (m *MFA) ResetAttempts(ctx context.Context, userID string) error {
	ctx = m.enter(ctx)
	if err := checkUserID(userID); err != nil {
		return err
	}
	if err := limits.ResetAttempts(ctx, m.env.Store, userID, m.env.Now()); err != nil {
		return err
	}
	m.env.Emit(ctx, env.Event{Name: env.AttemptsReset, UserID: userID, OK: true})
	return nil
}
