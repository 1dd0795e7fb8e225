package mfa

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

const claimKey = "st-mfa"

// Claim is st-mfa: {"c": {"<factor id>": <seconds since the epoch>}, "v": <bool>} in the access token. c holds the factors that were completed in
// the session, each with the time of its last completion; v says whether all that the policy asks for is done.
var Claim MultiFactorAuthClaim

// MultiFactorAuthClaim is the type of Claim. Its value is fetched by the instance whose session is validated.
type MultiFactorAuthClaim struct{}

var _ session.Claim = Claim

// ClaimValue is the value of Claim.
type ClaimValue struct {
	C factor.Completed
	V bool
}

// Key is "st-mfa".
func (MultiFactorAuthClaim) Key() string { return claimKey }

// FetchValue asks the policy anew and returns a ClaimValue: the factors that the payload holds, or, in a session without the claim, the first
// factor that it must have begun with. It stores nothing.
func (MultiFactorAuthClaim) FetchValue(ctx context.Context, in session.FetchValueInput) (any, bool, error) {
	m := FromContext(ctx)
	if m == nil {
		return nil, false, fmt.Errorf("mfa: the claim %s is fetched by an instance, and ctx is not that of one", claimKey)
	}
	e, err := m.evaluatePayload(ctx, subject{in.UserID, in.RecipeUserID, in.TenantID}, in.AccessTokenPayload, "")
	return e.value(), err == nil, err
}

// AddToPayload returns a copy of the payload in which the factors of the ClaimValue are added to those that are there, and v is that of the value.
func (MultiFactorAuthClaim) AddToPayload(payload map[string]any, value any) map[string]any {
	changed := maps.Clone(payload)
	if changed == nil {
		changed = map[string]any{}
	}
	v, ok := value.(ClaimValue)
	if !ok {
		return changed
	}
	old, _ := Claim.GetValueFromPayload(payload)
	completed := factor.Completed{}
	maps.Copy(completed, old.C)
	maps.Copy(completed, v.C)
	changed[claimKey] = ClaimValue{completed, v.V}.payload()
	return changed
}

// RemoveFromPayload returns a copy of the payload without the claim.
func (MultiFactorAuthClaim) RemoveFromPayload(payload map[string]any) map[string]any {
	changed := maps.Clone(payload)
	delete(changed, claimKey)
	return changed
}

// milliseconds is above any time in seconds: older writers kept milliseconds.
const milliseconds = 1e11

// GetValueFromPayload returns the claim of a payload.
func (MultiFactorAuthClaim) GetValueFromPayload(payload map[string]any) (ClaimValue, bool) {
	raw, ok := payload[claimKey].(map[string]any)
	if !ok {
		return ClaimValue{}, false
	}
	times, _ := raw["c"].(map[string]any)
	value := ClaimValue{C: make(factor.Completed, len(times))}
	for id, t := range times {
		seconds, ok := t.(float64)
		if !ok {
			continue // no time: not completed
		}
		if seconds > milliseconds {
			seconds /= 1000
		}
		value.C[factor.ID(id)] = time.Unix(int64(seconds), 0).UTC()
	}
	value.V, _ = raw["v"].(bool)
	return value, true
}

// GetValue returns the claim of a session.
func (MultiFactorAuthClaim) GetValue(s *session.Session) (ClaimValue, bool) {
	return Claim.GetValueFromPayload(s.AccessTokenPayload())
}

// payload is the value as it stands in a payload that came from JSON.
func (v ClaimValue) payload() map[string]any {
	times := make(map[string]any, len(v.C))
	for id, t := range v.C {
		times[string(id)] = float64(t.Unix())
	}
	return map[string]any{"c": times, "v": v.V}
}

// maxSkew is how far in the future a completion may lie, between two servers' clocks, and count.
const maxSkew = 5 * time.Second

// believable leaves out the factors that claim to have been completed in the future. They stay in the claim: the clock that is wrong may be this one.
func believable(c factor.Completed, now time.Time) factor.Completed {
	for _, t := range c {
		if t.Sub(now) > maxSkew {
			c = maps.Clone(c)
			maps.DeleteFunc(c, func(_ factor.ID, t time.Time) bool { return t.Sub(now) > maxSkew })
			break
		}
	}
	return c
}

// validator is what the validators of the claim share: the claim is fetched only where it is missing.
func validator(validate func(ctx context.Context, payload map[string]any) (session.ClaimValidationResult, error)) session.ClaimValidator {
	return session.ClaimValidator{
		ID:    claimKey,
		Claim: Claim,
		ShouldRefetch: func(_ context.Context, payload map[string]any) bool {
			_, ok := payload[claimKey].(map[string]any)
			return !ok
		},
		Validate: validate,
	}
}

// HasCompletedMFARequirementsForAuth passes when v is true. It is a global validator of every instance.
func (MultiFactorAuthClaim) HasCompletedMFARequirementsForAuth() session.ClaimValidator {
	return validator(func(_ context.Context, payload map[string]any) (session.ClaimValidationResult, error) {
		claim, _ := payload[claimKey].(map[string]any)
		if claim == nil {
			return session.ClaimValidationResult{}, errClaimMissing
		}
		if v, _ := claim["v"].(bool); v {
			return session.ClaimValidationResult{IsValid: true}, nil
		}
		return session.ClaimValidationResult{Reason: map[string]any{"message": "MFA requirement for auth is not satisfied"}}, nil
	})
}

var errClaimMissing = fmt.Errorf("mfa: the claim %s is missing where it was to be validated", claimKey)

// HasCompletedRequirementList passes when the factors completed in the session satisfy the list, for a route that asks for more than the policy
// does. A nil item of the list is an error.
func (MultiFactorAuthClaim) HasCompletedRequirementList(r factor.Requirements) session.ClaimValidator {
	return requirementList(r, func(c factor.Completed, now time.Time) factor.Completed { return c })
}

// HasCompletedRequirementListWithin is HasCompletedRequirementList, but counts only what was completed within maxAge: step-up. A factor's age is
// that of its own last completion, to the second; neither the session's creation nor a refresh makes it younger.
func (MultiFactorAuthClaim) HasCompletedRequirementListWithin(maxAge time.Duration, r factor.Requirements) session.ClaimValidator {
	return requirementList(r, func(c factor.Completed, now time.Time) factor.Completed {
		recent := maps.Clone(c)
		maps.DeleteFunc(recent, func(_ factor.ID, t time.Time) bool { return now.Sub(t) > maxAge })
		return recent
	})
}

func requirementList(r factor.Requirements, counts func(factor.Completed, time.Time) factor.Completed) session.ClaimValidator {
	r = slices.Clone(r)
	v := validator(func(ctx context.Context, payload map[string]any) (session.ClaimValidationResult, error) {
		if err := checkItems(r); err != nil {
			return session.ClaimValidationResult{}, err
		}
		claim, ok := Claim.GetValueFromPayload(payload)
		if !ok {
			return session.ClaimValidationResult{}, errClaimMissing
		}
		now := clock(ctx)
		next := r.Next(counts(believable(claim.C, now), now))
		if next == nil {
			return session.ClaimValidationResult{IsValid: true}, nil
		}
		return session.ClaimValidationResult{Reason: reason(next)}, nil
	})
	if len(r) == 0 { // passes without a look at the claim
		v.Claim, v.ShouldRefetch = nil, nil
		v.Validate = func(context.Context, map[string]any) (session.ClaimValidationResult, error) {
			return session.ClaimValidationResult{IsValid: true}, nil
		}
	}
	return v
}

// reason tells front ends what is open.
func reason(next factor.Requirement) map[string]any {
	ids := next.IDs()
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	list := strings.Join(names, ", ")
	switch next.(type) {
	case factor.OneOf:
		return map[string]any{"message": "None of these factors are complete in the session: " + list, "oneOf": ids}
	case factor.AllOfInAnyOrder:
		return map[string]any{"message": "Some of the factors are not complete in the session: " + list, "allOfInAnyOrder": ids}
	}
	return map[string]any{"message": "Factor validation failed: " + list + " not completed", "factorId": ids[0]}
}

// checkItems refuses a list with a nil item: it could be neither satisfied nor asked for.
func checkItems(r factor.Requirements) error {
	if i := slices.IndexFunc(r, func(item factor.Requirement) bool { return item == nil }); i >= 0 {
		return fmt.Errorf("mfa: item %d of the list of requirements is nil", i)
	}
	return nil
}

// clock reads the time of the instance of ctx.
func clock(ctx context.Context) time.Time {
	if e := env.FromContext(ctx); e != nil {
		return e.Now()
	}
	return time.Now().UTC()
}
