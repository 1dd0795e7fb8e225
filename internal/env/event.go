package env

import (
	"context"
	"runtime/debug"
	"time"
)

// Event is something that happened to a user, a session or a factor. It holds no code, token, password, link or address.
type Event struct {
	Time          time.Time
	Name          string
	UserID        string // the primary user's; "" when nobody was found
	TenantID      string
	SessionHandle string
	FactorID      string
	OK            bool
	Reason        string
}

// Emit tells the host's sink, with the time added, once the open transaction of ours has committed; the sink may read what was written. In a
// transaction of the host it does so at once. A panic in the sink is logged and changes nothing.
func (e *Env) Emit(ctx context.Context, event Event) {
	if e.OnEvent == nil {
		return
	}
	event.Time = e.Now()
	e.Store.AfterCommit(ctx, func(ctx context.Context) {
		defer func() {
			if p := recover(); p != nil {
				e.Logger.ErrorContext(ctx, "panic in OnEvent", "event", event.Name, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		e.OnEvent(ctx, event)
	})
}

// Names of events; package mfa exports them.
const (
	FactorChecked      = "factor.checked"
	FactorCompleted    = "factor.completed"
	FactorSetUp        = "factor.set_up"
	FactorRemoved      = "factor.removed"
	RequirementAdded   = "requirement.added"
	RequirementRemoved = "requirement.removed"
	AttemptsReset      = "attempts.reset"
	PasswordKnown      = "password.known"
	SessionCreated     = "session.created"
	SessionEnded       = "session.ended"
	SessionTheft       = "session.theft"
)

// Reasons of FactorChecked events that are not OK.
const (
	ReasonWrong    = "wrong"
	ReasonReplayed = "replayed" // a used TOTP counter
	ReasonLimited  = "limited"  // the budget is spent, or a wait lasts
	ReasonStopped  = "stopped"  // too many failures in a row
	ReasonUnknown  = "unknown"  // no such user or device
)

// ReasonReused is that of SessionTheft events.
const ReasonReused = "reused"

// Reasons of SessionEnded events.
const (
	ReasonSignOut  = "sign_out"
	ReasonRevoked  = "revoked"
	ReasonReplaced = "replaced"
)
