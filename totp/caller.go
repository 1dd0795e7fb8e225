package totp

import (
	"context"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// caller is what an HTTP API knows and the input of the function that it calls cannot say. It goes in the context past the overrides; a function that
// the host calls has none.
type caller struct {
	session          *session.Session
	handle, tenantID string // of that session
	afterPassword    bool   // the session holds a right password
	unverifiedOnly   bool   // RemoveDevice answers errVerified for a verified device, which the session may not remove
	firstOnly        bool   // VerifyDevice answers errSetUp when there is a verified device, beside which the session may set up none
}

type callerKey struct{}

func withCaller(ctx context.Context, by caller) context.Context {
	return context.WithValue(ctx, callerKey{}, by)
}

// callerIn is what the session of a request says.
func callerIn(s *session.Session) caller {
	claim, _ := mfa.Claim.GetValue(s)
	return caller{session: s, handle: s.Handle(), tenantID: s.TenantID(), afterPassword: claim.C.Has(factor.EmailPassword)}
}

// callerOf returns the caller of a function that is about this user. An override that calls one about somebody else, with the ctx that it got, does that
// in nobody's session.
func callerOf(ctx context.Context, userID string) caller {
	by, _ := ctx.Value(callerKey{}).(caller)
	if by.session != nil && by.session.UserID() != userID {
		return caller{}
	}
	return by
}
