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
}

type callerKey struct{}

func withCaller(ctx context.Context, by caller) context.Context {
	return context.WithValue(ctx, callerKey{}, by)
}

// asCaller is withCaller for the session of a request.
func asCaller(ctx context.Context, s *session.Session, unverifiedOnly bool) context.Context {
	claim, _ := mfa.Claim.GetValue(s)
	return withCaller(ctx, caller{
		session: s, handle: s.Handle(), tenantID: s.TenantID(), afterPassword: claim.C.Has(factor.EmailPassword), unverifiedOnly: unverifiedOnly,
	})
}

func callerOf(ctx context.Context) caller {
	by, _ := ctx.Value(callerKey{}).(caller)
	return by
}
