package mfa

import (
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// Event is something that happened to a user, a session or a factor. It holds no code, token, password, link or address.
type Event struct {
	Time          time.Time // UTC
	Name          EventName
	UserID        string // the primary user's; "" when nobody was found
	TenantID      string // "" where the event belongs to no tenant
	SessionHandle string // "" where there is no session
	FactorID      factor.ID
	OK            bool
	// Reason says more. Of EventFactorChecked, when not OK: "wrong", "replayed" (a used TOTP code), "limited" (the budget is spent, or a wait lasts),
	// "stopped" (too many failures in a row), "unknown" (no such user or device). Of EventSessionEnded: "sign_out", "revoked", "replaced". Of
	// EventSessionTheft: "reused". Of EventPasswordKnown: "limited".
	Reason string
}

// EventName says what happened. More may be added.
type EventName string

// What a sink is told.
const (
	EventFactorChecked      EventName = env.FactorChecked      // a password, code or Attempt was judged, right or not
	EventFactorCompleted    EventName = env.FactorCompleted    // a factor was added to a session, or its time renewed
	EventFactorSetUp        EventName = env.FactorSetUp        // a verified device came
	EventFactorRemoved      EventName = env.FactorRemoved      // a verified device went
	EventRequirementAdded   EventName = env.RequirementAdded   // to the list of a user
	EventRequirementRemoved EventName = env.RequirementRemoved // from the list of a user
	EventAttemptsReset      EventName = env.AttemptsReset
	EventPasswordKnown      EventName = env.PasswordKnown // a right password, then a spent budget of second factors
	EventSessionCreated     EventName = env.SessionCreated
	EventSessionEnded       EventName = env.SessionEnded // but not because it expired
	EventSessionTheft       EventName = env.SessionTheft
)
