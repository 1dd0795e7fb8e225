package session

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/stepup-auth/stepup/internal/token"
)

// ValidateClaims validates a payload, for hosts that verified a token themselves. What is fetched anew is returned and not stored.
func (r *Recipe) ValidateClaims(ctx context.Context, in ValidateClaimsInput) (ValidateClaimsResult, error) {
	return r.functions.ValidateClaims(r.env.Bind(ctx), in)
}

// validateClaims is the default of Functions.ValidateClaims.
func (r *Recipe) validateClaims(ctx context.Context, in ValidateClaimsInput) (ValidateClaimsResult, error) {
	var result ValidateClaimsResult
	payload := in.AccessTokenPayload
	tenantID, ok := payload[token.TenantID].(string)
	if !ok {
		tenantID = PublicTenant
	}
	for _, v := range in.ClaimValidators {
		if err := checkValidator(v); err != nil {
			return result, fmt.Errorf("session: %w", err)
		}
		if v.Claim == nil || !v.ShouldRefetch(ctx, payload) {
			continue
		}
		value, ok, err := v.Claim.FetchValue(ctx, FetchValueInput{in.UserID, in.RecipeUserID, tenantID, payload})
		if err != nil {
			return result, fmt.Errorf("session: claim %s: %w", v.Claim.Key(), err)
		}
		if !ok {
			continue
		}
		if payload, err = fromJSON(payload, addToPayload(v.Claim, payload, value, r.env.Now())); err != nil {
			return result, fmt.Errorf("session: claim %s: %w", v.Claim.Key(), err)
		}
		result.AccessTokenPayloadUpdate = payload
	}
	for _, v := range in.ClaimValidators {
		validation, err := v.Validate(ctx, payload)
		if err != nil {
			return result, fmt.Errorf("session: validator %s: %w", v.ID, err)
		}
		if !validation.IsValid {
			result.InvalidClaims = append(result.InvalidClaims, ClaimValidationError{v.ID, validation.Reason})
		}
	}
	return result, nil
}

// ValidateClaimsForSessionHandle validates the stored payload: by the global validators, or as opts say, of which only Skip, Require and
// OverrideGlobalClaimValidators count; the Session that the last one gets is nil, since no token is at hand. What was fetched is stored. A failure is an
// *InvalidClaimsError; gone: ErrSessionDoesNotExist.
func (r *Recipe) ValidateClaimsForSessionHandle(ctx context.Context, handle string, opts VerifyOptions) error {
	ctx = r.env.Bind(ctx)
	info, err := r.functions.GetSessionInformation(ctx, GetSessionInformationInput{handle})
	if err != nil {
		return err
	}
	validators, err := r.functions.GetGlobalClaimValidators(ctx, GetGlobalClaimValidatorsInput{
		UserID: info.UserID, RecipeUserID: info.RecipeUserID, TenantID: info.TenantID,
		ClaimValidatorsAddedByOtherRecipes: slices.Clone(r.cfg.GlobalClaimValidators),
	})
	if err != nil {
		return err
	}
	if validators, err = opts.choose(ctx, validators, nil); err != nil || len(validators) == 0 {
		return err
	}
	var invalid []ClaimValidationError
	err = r.changePayload(ctx, handle, func(ctx context.Context, payload map[string]any) (map[string]any, error) {
		result, err := r.functions.ValidateClaims(ctx, ValidateClaimsInput{info.UserID, info.RecipeUserID, payload, validators})
		if err != nil {
			return nil, err
		}
		invalid = result.InvalidClaims
		if result.AccessTokenPayloadUpdate == nil {
			return nil, nil
		}
		return updateBetween(payload, result.AccessTokenPayloadUpdate)
	})
	if err != nil {
		return err
	}
	if len(invalid) > 0 {
		return &InvalidClaimsError{Errors: invalid}
	}
	return nil
}

// fetched is the update that sets a claim to its present value; without one there is nothing to change.
func (r *Recipe) fetched(ctx context.Context, c Claim, in FetchValueInput) (map[string]any, error) {
	value, ok, err := c.FetchValue(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("session: claim %s: %w", c.Key(), err)
	}
	if !ok {
		return nil, nil
	}
	return addToPayload(c, map[string]any{}, value, r.env.Now()), nil
}

// FetchAndSetClaim asks for the present value of a claim and stores it. Gone: ErrSessionDoesNotExist.
func (r *Recipe) FetchAndSetClaim(ctx context.Context, handle string, c Claim) error {
	return r.functions.FetchAndSetClaim(r.env.Bind(ctx), FetchAndSetClaimInput{handle, c})
}

// fetchAndSetClaim is the default of Functions.FetchAndSetClaim.
func (r *Recipe) fetchAndSetClaim(ctx context.Context, in FetchAndSetClaimInput) error {
	return r.changePayload(ctx, in.SessionHandle, func(ctx context.Context, payload map[string]any) (map[string]any, error) {
		text := func(name string) string {
			s, _ := payload[name].(string)
			return s
		}
		return r.fetched(ctx, in.Claim, FetchValueInput{
			text(token.Subject), RecipeUserID(text(token.RecipeUserID)), text(token.TenantID), payload,
		})
	})
}

// SetClaimValue stores a value of a claim. Gone: ErrSessionDoesNotExist.
func (r *Recipe) SetClaimValue(ctx context.Context, handle string, c Claim, v any) error {
	return r.functions.SetClaimValue(r.env.Bind(ctx), SetClaimValueInput{handle, c, v})
}

// setClaimValue is the default of Functions.SetClaimValue.
func (r *Recipe) setClaimValue(ctx context.Context, in SetClaimValueInput) error {
	return r.functions.MergeIntoAccessTokenPayload(ctx, MergeIntoAccessTokenPayloadInput{
		in.SessionHandle, addToPayload(in.Claim, map[string]any{}, in.Value, r.env.Now()),
	})
}

// RemoveClaim stores the absence of a claim. Gone: ErrSessionDoesNotExist.
func (r *Recipe) RemoveClaim(ctx context.Context, handle string, c Claim) error {
	return r.functions.RemoveClaim(r.env.Bind(ctx), RemoveClaimInput{handle, c})
}

// removeClaim is the default of Functions.RemoveClaim.
func (r *Recipe) removeClaim(ctx context.Context, in RemoveClaimInput) error {
	return r.changePayload(ctx, in.SessionHandle, func(_ context.Context, payload map[string]any) (map[string]any, error) {
		return updateBetween(payload, in.Claim.RemoveFromPayload(payload))
	})
}

// GetClaimValue reads a claim of the stored payload: what its method GetValueFromPayload returns if it has one, as all claims of this module have, else
// what stands under its key. Gone: ErrSessionDoesNotExist.
func (r *Recipe) GetClaimValue(ctx context.Context, handle string, c Claim) (value any, ok bool, err error) {
	return r.functions.GetClaimValue(r.env.Bind(ctx), GetClaimValueInput{handle, c})
}

// getClaimValue is the default of Functions.GetClaimValue.
func (r *Recipe) getClaimValue(ctx context.Context, in GetClaimValueInput) (value any, ok bool, err error) {
	info, err := r.functions.GetSessionInformation(ctx, GetSessionInformationInput{in.SessionHandle})
	if err != nil {
		return nil, false, err
	}
	value, ok = valueOf(in.Claim, info.CustomClaimsInAccessTokenPayload)
	return value, ok, nil
}

// valueOf calls GetValueFromPayload, whose result has a type of the claim's own.
func valueOf(c Claim, payload map[string]any) (value any, ok bool) {
	method := reflect.ValueOf(c).MethodByName("GetValueFromPayload")
	if method.IsValid() {
		t := method.Type()
		if t.NumIn() == 1 && t.In(0) == reflect.TypeFor[map[string]any]() && t.NumOut() == 2 && t.Out(1).Kind() == reflect.Bool {
			results := method.Call([]reflect.Value{reflect.ValueOf(payload)})
			if !results[1].Bool() {
				return nil, false
			}
			return results[0].Interface(), true
		}
	}
	value, ok = payload[c.Key()]
	return value, ok
}
