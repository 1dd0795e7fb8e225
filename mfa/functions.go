package mfa

import (
	"context"
	"sync"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Override is for decorators of the defaults; a policy by itself is Config.GetMFARequirementsForAuth. Each function gets the original table by
// value and changes the one behind the pointer.
type Override struct {
	Functions func(original Functions, functions *Functions)
	APIs      func(original APIs, apis *APIs)
}

// Functions is what MFA does. The library itself calls the overridden ones. None may be nil.
type Functions struct {
	// GetFactorsSetupForUser gives the factors that the user could complete: by default what the listed factors say, in their order.
	GetFactorsSetupForUser func(ctx context.Context, in GetFactorsSetupForUserInput) ([]factor.ID, error)
	// GetMFARequirementsForAuth is the policy: by default Config.GetMFARequirementsForAuth.
	GetMFARequirementsForAuth GetMFARequirementsForAuthFunc
	// AssertAllowedToSetupFactor returns a *session.InvalidClaimsError to refuse.
	AssertAllowedToSetupFactor func(ctx context.Context, in AssertAllowedToSetupFactorInput) error
	// MarkFactorAsCompleteInSession adds a factor to the session's claim and computes v.
	MarkFactorAsCompleteInSession func(ctx context.Context, in MarkFactorAsCompleteInSessionInput) error
	// The required factors of a user are a list in the user's metadata; adding and removing is one atomic step each.
	GetRequiredSecondaryFactorsForUser        func(ctx context.Context, in GetRequiredSecondaryFactorsForUserInput) ([]factor.ID, error)
	AddToRequiredSecondaryFactorsForUser      func(ctx context.Context, in AddToRequiredSecondaryFactorsForUserInput) error
	RemoveFromRequiredSecondaryFactorsForUser func(ctx context.Context, in RemoveFromRequiredSecondaryFactorsForUserInput) error
}

// APIs is what MFA serves. A nil field switches its route off.
type APIs struct {
	// ResyncSessionAndFetchMFAInfoPUT is PUT /mfa/info. It works in a session whose requirements are not met.
	ResyncSessionAndFetchMFAInfoPUT func(ctx context.Context, in ResyncSessionAndFetchMFAInfoPUTInput) (Info, error)
}

// GetMFARequirementsForAuthFunc is a policy: who must complete which factors. It is asked with no transaction open, perhaps several times per
// request. An error is a 500, or the refusal that it is, never "no second factor"; at a refresh it is a 500 unless it is a
// *session.UnauthorisedError. A nil item in the list is an error. At a sign-in it is asked after the recipe's function, overrides included, has
// returned and committed, and before the session is written: it sees the role that an override gave. After an error there is no session; a user that
// was made stays.
type GetMFARequirementsForAuthFunc func(ctx context.Context, in GetMFARequirementsForAuthInput) (factor.Requirements, error)

// Lazy is computed on the first call and remembered, its error too.
type Lazy[T any] func(ctx context.Context) (T, error)

// Value is a Lazy that is known already: for unit tests of policies.
func Value[T any](v T) Lazy[T] { return func(context.Context) (T, error) { return v, nil } }

func lazy[T any](ask func(ctx context.Context) (T, error)) Lazy[T] {
	var (
		mu    sync.Mutex
		asked bool
		value T
		err   error
	)
	return func(ctx context.Context) (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if !asked {
			value, err = ask(ctx)
			asked = true
		}
		return value, err
	}
}

// GetMFARequirementsForAuthInput is about one session, or one that is about to be made. User and FactorsSetUpForUser read the user; one statement
// answers the other three, by the session's user id. Nothing is read that the policy does not ask for.
type GetMFARequirementsForAuthInput struct {
	TenantID           string // of the session
	AccessTokenPayload map[string]any
	CompletedFactors   factor.Completed // in the session, the first factor among them

	User                              Lazy[*accountlinking.User]
	Roles                             Lazy[[]string] // in TenantID
	FactorsSetUpForUser               Lazy[[]factor.ID]
	RequiredSecondaryFactorsForUser   Lazy[[]factor.ID]
	RequiredSecondaryFactorsForTenant Lazy[[]factor.ID]
}

// The inputs of Functions and APIs.
type (
	GetFactorsSetupForUserInput     struct{ User *accountlinking.User }
	AssertAllowedToSetupFactorInput struct {
		Session                *session.Session
		FactorID               factor.ID
		MFARequirementsForAuth Lazy[factor.Requirements]
		FactorsSetUpForUser    Lazy[[]factor.ID]
	}
	MarkFactorAsCompleteInSessionInput struct {
		Session  *session.Session
		FactorID factor.ID // "": only v is computed anew
	}
	GetRequiredSecondaryFactorsForUserInput   struct{ UserID string }
	AddToRequiredSecondaryFactorsForUserInput struct {
		UserID   string
		FactorID factor.ID
	}
	RemoveFromRequiredSecondaryFactorsForUserInput struct {
		UserID   string
		FactorID factor.ID
	}
	ResyncSessionAndFetchMFAInfoPUTInput struct {
		Session *session.Session
		Options session.APIOptions
	}
)
