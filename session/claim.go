package session

import (
	"context"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
)

// FetchValueInput says whose value a claim wants. UserID is the person, RecipeUserID the login method of the session. AccessTokenPayload is that
// of the whole token; it is shared and must not be changed.
type FetchValueInput struct {
	UserID             string
	RecipeUserID       RecipeUserID
	TenantID           string
	AccessTokenPayload map[string]any
}

// Claim is a value in the access token payload, with a way to fetch it anew. The functions return copies and never change their input.
type Claim interface {
	// Key of the value in the payload.
	Key() string
	// FetchValue asks for the present value; ok false leaves the claim out. It runs with no transaction open.
	FetchValue(ctx context.Context, in FetchValueInput) (value any, ok bool, err error)
	AddToPayload(payload map[string]any, value any) map[string]any
	RemoveFromPayload(payload map[string]any) map[string]any
}

// ClaimValidator decides whether a payload will do. Claim and ShouldRefetch are set both or neither. The payload is shared: its functions must
// not change it.
type ClaimValidator struct {
	ID            string // under which a refusal is reported
	Claim         Claim  // nil: never fetched
	ShouldRefetch func(ctx context.Context, payload map[string]any) bool
	Validate      func(ctx context.Context, payload map[string]any) (ClaimValidationResult, error)
}

// ClaimValidationResult of one validator; the zero value is a refusal. Reason is sent as JSON.
type ClaimValidationResult struct {
	IsValid bool
	Reason  any
}

// FetchFunc gives the present value of a claim. ok false leaves the claim out.
type FetchFunc[T any] func(ctx context.Context, in FetchValueInput) (value T, ok bool, err error)

// claimBase is what all kinds of claims share: the payload holds {"v": value, "t": milliseconds when it was set} under the key.
type claimBase[T any] struct {
	key      string
	fetch    FetchFunc[T]
	defaults []ValidatorOption
}

// Key of the value in the payload.
func (c *claimBase[T]) Key() string { return c.key }

// FetchValue asks the function that the claim was made with; a claim of this module that has none asks the instance of ctx.
func (c *claimBase[T]) FetchValue(ctx context.Context, in FetchValueInput) (any, bool, error) {
	if c.fetch != nil {
		return c.fetch(ctx, in)
	}
	if e := env.FromContext(ctx); e != nil && e.FetchClaim[c.key] != nil {
		return e.FetchClaim[c.key](ctx, env.FetchInput{
			UserID: in.UserID, RecipeUserID: string(in.RecipeUserID), TenantID: in.TenantID, Payload: in.AccessTokenPayload,
		})
	}
	return nil, false, fmt.Errorf("session: nothing fetches the claim %s: it has no fetch function, and ctx is not that of an instance which has", c.key)
}

// AddToPayload returns a copy of the payload with the value, set now.
func (c *claimBase[T]) AddToPayload(payload map[string]any, value any) map[string]any {
	return c.addToPayloadAt(payload, value, time.Now())
}

func (c *claimBase[T]) addToPayloadAt(payload map[string]any, value any, now time.Time) map[string]any {
	changed := maps.Clone(payload)
	if changed == nil {
		changed = map[string]any{}
	}
	changed[c.key] = map[string]any{"v": value, "t": float64(now.UnixMilli())}
	return changed
}

// addToPayload adds a value by the clock of the instance, where the claim keeps the time.
func addToPayload(c Claim, payload map[string]any, value any, now time.Time) map[string]any {
	if timed, ok := c.(interface {
		addToPayloadAt(map[string]any, any, time.Time) map[string]any
	}); ok {
		return timed.addToPayloadAt(payload, value, now)
	}
	return c.AddToPayload(payload, value)
}

// RemoveFromPayload returns a copy of the payload without the claim.
func (c *claimBase[T]) RemoveFromPayload(payload map[string]any) map[string]any {
	changed := maps.Clone(payload)
	delete(changed, c.key)
	return changed
}

// GetValueFromPayload returns the value; false when there is none, or one of another type.
func (c *claimBase[T]) GetValueFromPayload(payload map[string]any) (T, bool) {
	var zero T
	raw, _, ok := c.stored(payload)
	if !ok {
		return zero, false
	}
	return convert[T](raw)
}

// GetLastRefetchTime tells when the value was set.
func (c *claimBase[T]) GetLastRefetchTime(payload map[string]any) (time.Time, bool) {
	_, set, ok := c.stored(payload)
	return set, ok
}

// stored reads {"v", "t"} as it came from JSON or from AddToPayload.
func (c *claimBase[T]) stored(payload map[string]any) (value any, set time.Time, ok bool) {
	entry, isObject := payload[c.key].(map[string]any)
	if !isObject {
		return nil, time.Time{}, false
	}
	value, ok = entry["v"]
	if t, isNumber := entry["t"].(float64); isNumber {
		set = time.UnixMilli(int64(t))
	}
	return value, set, ok
}

// convert makes a T of a value that was decoded from JSON: the same kind, and for whole numbers without loss.
func convert[T any](raw any) (T, bool) {
	if v, ok := raw.(T); ok {
		return v, true
	}
	var out T
	ok := convertInto(reflect.ValueOf(&out).Elem(), reflect.ValueOf(raw))
	return out, ok
}

func convertInto(target, raw reflect.Value) bool {
	if raw.IsValid() && raw.Kind() == reflect.Interface {
		raw = raw.Elem()
	}
	if !raw.IsValid() {
		return false
	}
	switch kind := target.Kind(); {
	case kind == reflect.Slice && raw.Kind() == reflect.Slice:
		list := reflect.MakeSlice(target.Type(), raw.Len(), raw.Len())
		for i := range raw.Len() {
			if !convertInto(list.Index(i), raw.Index(i)) {
				return false
			}
		}
		target.Set(list)
		return true
	case kind == reflect.Interface:
		target.Set(raw)
		return true
	case kind == reflect.String && raw.Kind() == reflect.String, kind == reflect.Bool && raw.Kind() == reflect.Bool,
		target.CanFloat() && raw.CanFloat():
		target.Set(raw.Convert(target.Type()))
		return true
	case target.CanInt() && raw.CanFloat():
		f := raw.Float()
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 || target.OverflowInt(int64(f)) {
			return false
		}
		target.SetInt(int64(f))
		return true
	case target.CanUint() && raw.CanFloat():
		f := raw.Float()
		if f != math.Trunc(f) || f < 0 || f > 1<<53 || target.OverflowUint(uint64(f)) {
			return false
		}
		target.SetUint(uint64(f))
		return true
	case raw.Type().ConvertibleTo(target.Type()) && raw.Kind() == kind:
		target.Set(raw.Convert(target.Type()))
		return true
	}
	return false
}

// PrimitiveClaim is a claim of one value.
type PrimitiveClaim[T comparable] struct{ claimBase[T] }

// BooleanClaim is a claim that is true or false.
type BooleanClaim struct{ PrimitiveClaim[bool] }

// ArrayClaim is a claim of a list.
type ArrayClaim[T comparable] struct{ claimBase[[]T] }

// NewPrimitiveClaim makes a claim of one value. The defaults hold for all its validators; an option given to a validator wins.
func NewPrimitiveClaim[T comparable](key string, fetch FetchFunc[T], defaults ...ValidatorOption) *PrimitiveClaim[T] {
	return &PrimitiveClaim[T]{claimBase[T]{key: key, fetch: fetch, defaults: defaults}}
}

// NewBooleanClaim makes a claim that is true or false. The defaults are those of NewPrimitiveClaim.
func NewBooleanClaim(key string, fetch FetchFunc[bool], defaults ...ValidatorOption) *BooleanClaim {
	return &BooleanClaim{*NewPrimitiveClaim(key, fetch, defaults...)}
}

// NewArrayClaim makes a claim of a list. The defaults are those of NewPrimitiveClaim.
func NewArrayClaim[T comparable](key string, fetch FetchFunc[[]T], defaults ...ValidatorOption) *ArrayClaim[T] {
	return &ArrayClaim[T]{claimBase[[]T]{key: key, fetch: fetch, defaults: defaults}}
}

// GetValue returns the value in the session's token.
func (c *claimBase[T]) GetValue(s *Session) (T, bool) { return c.GetValueFromPayload(s.payload()) }

// ValidatorOption changes one validator, or as a default all validators of a claim. Of two alike the later one wins.
type ValidatorOption struct{ apply func(*validatorOptions) }

type validatorOptions struct {
	id                 string
	maxAge             time.Duration
	hasMaxAge          bool
	refetchFailedAfter time.Duration
	refetchesFailed    bool
}

// MaxAge makes the validator fetch a value anew that is older than d, and refuse it if it is older even then. math.MaxInt64: any age will do.
func MaxAge(d time.Duration) ValidatorOption {
	return ValidatorOption{func(o *validatorOptions) { o.maxAge, o.hasMaxAge = d, d != math.MaxInt64 }}
}

// RefetchFailedAfter makes the validator fetch a value anew that fails its test and is at least as old as d, so that what was granted meanwhile shows
// at once and not with the next refresh. Without it such a value is refused as it is.
func RefetchFailedAfter(d time.Duration) ValidatorOption {
	return ValidatorOption{func(o *validatorOptions) { o.refetchFailedAfter, o.refetchesFailed = d, true }}
}

// WithID replaces the id under which the refusal is reported. Default: the key of the claim.
func WithID(id string) ValidatorOption {
	return ValidatorOption{func(o *validatorOptions) { o.id = id }}
}

// reasons name the expectation in the JSON of a refusal.
type expectation struct {
	key   string
	value any
}

// validator builds the validator of a claim: absent, too old, wrong, in this order.
func (c *claimBase[T]) validator(claim Claim, opts []ValidatorOption, expected expectation, test func(raw any) bool) ClaimValidator {
	o := validatorOptions{id: c.key}
	for _, opt := range slices.Concat(c.defaults, opts) {
		opt.apply(&o)
	}
	return ClaimValidator{
		ID:    o.id,
		Claim: claim,
		ShouldRefetch: func(ctx context.Context, payload map[string]any) bool {
			raw, set, ok := c.stored(payload)
			age := now(ctx).Sub(set)
			return !ok || o.hasMaxAge && age > o.maxAge || o.refetchesFailed && age >= o.refetchFailedAfter && !test(raw)
		},
		Validate: func(ctx context.Context, payload map[string]any) (ClaimValidationResult, error) {
			raw, set, ok := c.stored(payload)
			age := now(ctx).Sub(set)
			switch {
			case !ok:
				return refuse("value does not exist", expected, nil), nil
			case o.hasMaxAge && age > o.maxAge:
				return ClaimValidationResult{Reason: map[string]any{
					"message": "expired", "ageInSeconds": age.Seconds(), "maxAgeInSeconds": o.maxAge.Seconds(),
				}}, nil
			case !test(raw):
				return refuse("wrong value", expected, &raw), nil
			}
			return ClaimValidationResult{IsValid: true}, nil
		},
	}
}

func refuse(message string, expected expectation, actual *any) ClaimValidationResult {
	reason := map[string]any{"message": message, expected.key: expected.value}
	if actual != nil {
		reason["actualValue"] = *actual
	}
	return ClaimValidationResult{Reason: reason}
}

// now reads the clock of the instance of ctx.
func now(ctx context.Context) time.Time {
	if e := env.FromContext(ctx); e != nil {
		return e.Now()
	}
	return time.Now()
}

// HasValue passes when the claim is v.
func (c *PrimitiveClaim[T]) HasValue(v T, opts ...ValidatorOption) ClaimValidator {
	return c.validator(c, opts, expectation{"expectedValue", v}, func(raw any) bool {
		actual, ok := convert[T](raw)
		return ok && actual == v
	})
}

// IsTrue passes when the claim is true.
func (c *BooleanClaim) IsTrue(opts ...ValidatorOption) ClaimValidator {
	return c.HasValue(true, opts...)
}

// IsFalse passes when the claim is false.
func (c *BooleanClaim) IsFalse(opts ...ValidatorOption) ClaimValidator {
	return c.HasValue(false, opts...)
}

// Includes passes when v is in the list.
func (c *ArrayClaim[T]) Includes(v T, opts ...ValidatorOption) ClaimValidator {
	return c.list(opts, expectation{"expectedToInclude", v}, func(list []T) bool { return slices.Contains(list, v) })
}

// Excludes passes when v is not in the list.
func (c *ArrayClaim[T]) Excludes(v T, opts ...ValidatorOption) ClaimValidator {
	return c.list(opts, expectation{"expectedToNotInclude", v}, func(list []T) bool { return !slices.Contains(list, v) })
}

// IncludesAll passes when all of v are in the list; an empty v passes.
func (c *ArrayClaim[T]) IncludesAll(v []T, opts ...ValidatorOption) ClaimValidator {
	return c.list(opts, expectation{"expectedToInclude", v}, func(list []T) bool {
		return !slices.ContainsFunc(v, func(one T) bool { return !slices.Contains(list, one) })
	})
}

// IncludesAny passes when at least one of v is in the list; an empty v fails.
func (c *ArrayClaim[T]) IncludesAny(v []T, opts ...ValidatorOption) ClaimValidator {
	return c.list(opts, expectation{"expectedToIncludeAtLeastOneOf", v}, func(list []T) bool {
		return slices.ContainsFunc(v, func(one T) bool { return slices.Contains(list, one) })
	})
}

// ExcludesAll passes when none of v is in the list.
func (c *ArrayClaim[T]) ExcludesAll(v []T, opts ...ValidatorOption) ClaimValidator {
	return c.list(opts, expectation{"expectedToNotInclude", v}, func(list []T) bool {
		return !slices.ContainsFunc(v, func(one T) bool { return slices.Contains(list, one) })
	})
}

func (c *ArrayClaim[T]) list(opts []ValidatorOption, expected expectation, test func(list []T) bool) ClaimValidator {
	return c.validator(c, opts, expected, func(raw any) bool {
		list, ok := convert[[]T](raw)
		return ok && test(list)
	})
}
