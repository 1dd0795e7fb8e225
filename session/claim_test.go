package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/session"
)

type plan string

// ctxAt is a ctx of an instance at a certain time.
func ctxAt(t *testing.T, now time.Time) context.Context {
	e := &env.Env{Clock: func() time.Time { return now }}
	return e.Bind(t.Context())
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func entry(v any, age time.Duration) map[string]any {
	return map[string]any{"v": v, "t": float64(noon.Add(-age).UnixMilli())}
}

func TestValidators(t *testing.T) {
	t.Parallel()
	words := session.NewArrayClaim[string]("words", nil)
	number := session.NewPrimitiveClaim[int]("number", nil)
	flag := session.NewBooleanClaim("flag", nil)
	tariff := session.NewPrimitiveClaim[plan]("plan", nil)
	aged := session.NewBooleanClaim("flag", nil, session.MaxAge(time.Minute))
	list := []any{"a", "b"}
	for name, c := range map[string]struct {
		validator session.ClaimValidator
		payload   map[string]any
		reason    string // "": it passes
		refetch   bool
	}{
		"equal":                {number.HasValue(5), map[string]any{"number": entry(5.0, 0)}, "", false},
		"not equal":            {number.HasValue(5), map[string]any{"number": entry(6.0, 0)}, `{"message":"wrong value","expectedValue":5,"actualValue":6}`, false},
		"no conversion":        {number.HasValue(1), map[string]any{"number": entry("1", 0)}, `{"message":"wrong value","expectedValue":1,"actualValue":"1"}`, false},
		"a fraction":           {number.HasValue(1), map[string]any{"number": entry(1.5, 0)}, `{"message":"wrong value","expectedValue":1,"actualValue":1.5}`, false},
		"of a named type":      {tariff.HasValue("paid"), map[string]any{"plan": entry("paid", 0)}, "", false},
		"absent":               {number.HasValue(5), map[string]any{}, `{"message":"value does not exist","expectedValue":5}`, true},
		"null entry":           {number.HasValue(5), map[string]any{"number": nil}, `{"message":"value does not exist","expectedValue":5}`, true},
		"no entry":             {number.HasValue(5), map[string]any{"number": 5.0}, `{"message":"value does not exist","expectedValue":5}`, true},
		"a null is a value":    {number.HasValue(5), map[string]any{"number": entry(nil, 0)}, `{"message":"wrong value","expectedValue":5,"actualValue":null}`, false},
		"true":                 {flag.IsTrue(), map[string]any{"flag": entry(true, 0)}, "", false},
		"not true":             {flag.IsTrue(), map[string]any{"flag": entry(false, 0)}, `{"message":"wrong value","expectedValue":true,"actualValue":false}`, false},
		"false":                {flag.IsFalse(), map[string]any{"flag": entry(false, 0)}, "", false},
		"includes":             {words.Includes("a"), map[string]any{"words": entry(list, 0)}, "", false},
		"does not include":     {words.Includes("c"), map[string]any{"words": entry(list, 0)}, `{"message":"wrong value","expectedToInclude":"c","actualValue":["a","b"]}`, false},
		"includes, absent":     {words.Includes("c"), map[string]any{}, `{"message":"value does not exist","expectedToInclude":"c"}`, true},
		"excludes":             {words.Excludes("c"), map[string]any{"words": entry(list, 0)}, "", false},
		"does not exclude":     {words.Excludes("a"), map[string]any{"words": entry(list, 0)}, `{"message":"wrong value","expectedToNotInclude":"a","actualValue":["a","b"]}`, false},
		"includes all":         {words.IncludesAll([]string{"b", "a"}), map[string]any{"words": entry(list, 0)}, "", false},
		"includes all of none": {words.IncludesAll(nil), map[string]any{"words": entry([]any{}, 0)}, "", false},
		"does not include all": {words.IncludesAll([]string{"a", "c"}), map[string]any{"words": entry(list, 0)}, `{"message":"wrong value","expectedToInclude":["a","c"],"actualValue":["a","b"]}`, false},
		"includes any":         {words.IncludesAny([]string{"c", "a"}), map[string]any{"words": entry(list, 0)}, "", false},
		"includes any of none": {words.IncludesAny([]string{}), map[string]any{"words": entry(list, 0)}, `{"message":"wrong value","expectedToIncludeAtLeastOneOf":[],"actualValue":["a","b"]}`, false},
		"excludes all":         {words.ExcludesAll([]string{"c"}), map[string]any{"words": entry(list, 0)}, "", false},
		"does not exclude all": {words.ExcludesAll([]string{"c", "a"}), map[string]any{"words": entry(list, 0)}, `{"message":"wrong value","expectedToNotInclude":["c","a"],"actualValue":["a","b"]}`, false},
		"no list":              {words.Excludes("a"), map[string]any{"words": entry("a", 0)}, `{"message":"wrong value","expectedToNotInclude":"a","actualValue":"a"}`, false},
		"young":                {flag.IsTrue(session.MaxAge(time.Minute)), map[string]any{"flag": entry(true, time.Minute)}, "", false},
		"old":                  {flag.IsTrue(session.MaxAge(time.Minute)), map[string]any{"flag": entry(true, time.Minute+500*time.Millisecond)}, `{"message":"expired","ageInSeconds":60.5,"maxAgeInSeconds":60}`, true},
		"old and wrong":        {flag.IsTrue(session.MaxAge(0)), map[string]any{"flag": entry(false, time.Second)}, `{"message":"expired","ageInSeconds":1,"maxAgeInSeconds":0}`, true},
		"the default's age":    {aged.IsTrue(), map[string]any{"flag": entry(true, time.Hour)}, `{"message":"expired","ageInSeconds":3600,"maxAgeInSeconds":60}`, true},
		"another age":          {aged.IsTrue(session.MaxAge(2 * time.Hour)), map[string]any{"flag": entry(true, time.Hour)}, "", false},
		"any age":              {aged.IsTrue(session.MaxAge(math.MaxInt64)), map[string]any{"flag": entry(true, 1000*time.Hour)}, "", false},
		"failed a while ago":   {flag.IsTrue(session.RefetchFailedAfter(time.Minute)), map[string]any{"flag": entry(false, time.Minute)}, `{"message":"wrong value","expectedValue":true,"actualValue":false}`, true},
		"failed just now":      {flag.IsTrue(session.RefetchFailedAfter(time.Minute)), map[string]any{"flag": entry(false, time.Minute-1e6)}, `{"message":"wrong value","expectedValue":true,"actualValue":false}`, false},
		"passed a while ago":   {flag.IsTrue(session.RefetchFailedAfter(0)), map[string]any{"flag": entry(true, time.Hour)}, "", false},
	} {
		ctx := ctxAt(t, noon)
		result, err := c.validator.Validate(ctx, c.payload)
		require.NoError(t, err)
		require.Equal(t, c.reason == "", result.IsValid, name)
		if c.reason != "" {
			raw, err := json.Marshal(result.Reason)
			require.NoError(t, err)
			require.JSONEq(t, c.reason, string(raw), name)
		}
		require.Equal(t, c.refetch, c.validator.ShouldRefetch(ctx, c.payload), name)
	}
	assert.Equal(t, "flag", flag.IsTrue().ID)
	assert.Equal(t, "mine", flag.IsTrue(session.WithID("yours"), session.WithID("mine")).ID)
}

func TestClaimsLeaveTheirInputAlone(t *testing.T) {
	t.Parallel()
	flag := session.NewBooleanClaim("flag", nil)
	before := map[string]any{"a": 1}
	with := flag.AddToPayload(before, true)
	assert.Equal(t, map[string]any{"a": 1}, before)
	value, ok := flag.GetValueFromPayload(with)
	assert.True(t, ok && value)
	set, ok := flag.GetLastRefetchTime(with)
	require.True(t, ok)
	assert.WithinDuration(t, time.Now(), set, time.Minute)
	without := flag.RemoveFromPayload(with)
	assert.Equal(t, before, without)
	assert.Contains(t, with, "flag")
	assert.Contains(t, flag.AddToPayload(nil, true), "flag")
	_, ok = flag.GetValueFromPayload(map[string]any{"flag": entry("true", 0)})
	assert.False(t, ok, "a value of another type")
	_, ok = flag.GetLastRefetchTime(nil)
	assert.False(t, ok)

	list := session.NewArrayClaim[int]("list", nil)
	numbers, ok := list.GetValueFromPayload(map[string]any{"list": entry([]any{1.0, 2.0}, 0)})
	require.True(t, ok)
	assert.Equal(t, []int{1, 2}, numbers)
	_, ok = list.GetValueFromPayload(map[string]any{"list": entry([]any{1.0, "2"}, 0)})
	assert.False(t, ok)
	small := session.NewPrimitiveClaim[uint8]("n", nil)
	for raw, want := range map[float64]bool{255: true, 256: false, -1: false, 0.5: false, 1e300: false} {
		_, ok = small.GetValueFromPayload(map[string]any{"n": entry(raw, 0)})
		assert.Equal(t, want, ok, raw)
	}
}

func TestWhoFetchesAClaim(t *testing.T) {
	t.Parallel()
	flag := session.NewBooleanClaim("flag", nil)
	_, _, err := flag.FetchValue(t.Context(), session.FetchValueInput{})
	require.ErrorContains(t, err, "flag")
	b := inMemory(t, session.Config{})
	b.env.FetchClaim["flag"] = func(_ context.Context, in env.FetchInput) (any, bool, error) {
		return in.UserID == "user-1" && in.RecipeUserID == "user-1" && in.TenantID == "public" && in.Payload["sessionHandle"] != "", true, nil
	}
	s := b.sign("user-1")
	require.NoError(t, s.FetchAndSetClaim(t.Context(), flag))
	value, ok := flag.GetValue(s)
	require.True(t, ok && value, "what the instance registered fetches a claim that is a package variable")
}

// counting is a claim that counts how often it is fetched.
func counting(key string, values ...any) (*session.PrimitiveClaim[int], *int) {
	n := new(int)
	return session.NewPrimitiveClaim(key, func(context.Context, session.FetchValueInput) (int, bool, error) {
		value := values[min(*n, len(values)-1)]
		*n++
		switch v := value.(type) {
		case int:
			return v, true, nil
		case error:
			return 0, false, v
		}
		return 0, false, nil
	}), n
}

func TestValidateClaims(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	one, fetchedOne := counting("one", 1, 2)
	two, fetchedTwo := counting("two", 2)
	none, _ := counting("none", nil)
	broken, _ := counting("broken", errors.New("no answer"))
	validate := func(payload map[string]any, validators ...session.ClaimValidator) (session.ValidateClaimsResult, error) {
		return b.ValidateClaims(t.Context(), session.ValidateClaimsInput{UserID: "u", RecipeUserID: "u", AccessTokenPayload: payload, ClaimValidators: validators})
	}
	seen := session.ClaimValidator{ID: "seen", Validate: func(_ context.Context, payload map[string]any) (session.ClaimValidationResult, error) {
		_, first := payload["one"].(map[string]any)
		_, second := payload["two"].(map[string]any)
		return session.ClaimValidationResult{IsValid: first && second}, nil
	}}
	payload := map[string]any{"a": 1.0}
	result, err := validate(payload, seen, one.HasValue(1), one.HasValue(5, session.WithID("five")), two.HasValue(2), seen)
	require.NoError(t, err)
	require.Equal(t, []session.ClaimValidationError{{ID: "five", Reason: map[string]any{"message": "wrong value", "expectedValue": 5, "actualValue": 1.0}}},
		result.InvalidClaims)
	require.Equal(t, []int{1, 1}, []int{*fetchedOne, *fetchedTwo}, "what the first fetch made good is not fetched again")
	require.Equal(t, map[string]any{"a": 1.0}, payload, "the input stays as it is")
	value, _ := one.GetValueFromPayload(result.AccessTokenPayloadUpdate)
	require.Equal(t, 1, value)

	result, err = validate(map[string]any{"one": entry(7.0, 0), "two": entry(8.0, 0)}, two.HasValue(1), one.HasValue(1))
	require.NoError(t, err)
	require.Nil(t, result.AccessTokenPayloadUpdate)
	require.Equal(t, []string{"two", "one"}, []string{result.InvalidClaims[0].ID, result.InvalidClaims[1].ID}, "all failures, in order")

	result, err = validate(map[string]any{}, none.HasValue(1))
	require.NoError(t, err)
	require.Nil(t, result.AccessTokenPayloadUpdate, "a fetch without a value leaves the payload alone")
	require.Len(t, result.InvalidClaims, 1)

	_, err = validate(map[string]any{}, broken.HasValue(1))
	require.ErrorContains(t, err, "no answer")
	failing := session.ClaimValidator{ID: "failing", Validate: func(context.Context, map[string]any) (session.ClaimValidationResult, error) {
		return session.ClaimValidationResult{IsValid: true}, errors.New("cannot tell")
	}}
	_, err = validate(map[string]any{}, failing)
	require.ErrorContains(t, err, "cannot tell", "C-02: an error is never a pass")
	zero := session.ClaimValidator{ID: "zero", Validate: func(context.Context, map[string]any) (session.ClaimValidationResult, error) {
		return session.ClaimValidationResult{}, nil
	}}
	result, err = validate(map[string]any{}, zero)
	require.NoError(t, err)
	raw, err := json.Marshal(result.InvalidClaims)
	require.NoError(t, err)
	require.JSONEq(t, `[{"id":"zero"}]`, string(raw), "the zero value refuses, without a reason")
	for _, v := range []session.ClaimValidator{{}, {ID: "x"}, {ID: "x", Validate: zero.Validate, Claim: one}} {
		_, err = validate(map[string]any{}, v)
		require.Error(t, err)
	}
}

func TestClaimsOfANewSession(t *testing.T) {
	t.Parallel()
	order := []string{}
	claim := func(key string, value any, ok bool) session.Claim {
		return session.NewPrimitiveClaim(key, func(_ context.Context, in session.FetchValueInput) (any, bool, error) {
			order = append(order, key)
			assert.Equal(t, []any{"user-1", session.RecipeUserID("user-1"), "public"}, []any{in.UserID, in.RecipeUserID, in.TenantID})
			assert.Equal(t, "user-1", in.AccessTokenPayload["sub"])
			assert.Equal(t, "y", in.AccessTokenPayload["x"])
			if key == "second" {
				assert.Equal(t, []any{"a"}, in.AccessTokenPayload["first"].(map[string]any)["v"], "as it will come back from JSON")
			}
			return value, ok, nil
		})
	}
	b := inMemory(t, session.Config{Claims: []session.Claim{claim("first", []string{"a"}, true), claim("second", 2, true), claim("third", 3, false)}})
	s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
		RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"x": "y", "iss": "stolen"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second", "third"}, order)
	at := float64(b.clock.Now().UnixMilli())
	require.Equal(t, map[string]any{"v": []any{"a"}, "t": at}, s.AccessTokenPayload()["first"])
	require.Equal(t, map[string]any{"v": 2.0, "t": at}, s.AccessTokenPayload()["second"])
	require.NotContains(t, s.AccessTokenPayload(), "third")
	require.Equal(t, "https://api.acme.example/auth", s.AccessTokenPayload()["iss"])

	failing, _ := counting("failing", errors.New("no answer"))
	b = inMemory(t, session.Config{Claims: []session.Claim{failing}})
	_, err = b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "user-1"})
	require.ErrorContains(t, err, "no answer")
	require.Zero(t, b.db.Rows("sessions"))
}
