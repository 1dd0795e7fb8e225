package mfa_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// at returns a ctx in which the clock shows that time.
func at(now time.Time) context.Context {
	e := &env.Env{Clock: func() time.Time { return now }}
	return e.Bind(context.Background())
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func payloadWith(v bool, completed map[string]time.Time) map[string]any {
	c := map[string]any{}
	for id, t := range completed {
		c[id] = float64(t.Unix())
	}
	return map[string]any{"theme": "dark", "st-mfa": map[string]any{"c": c, "v": v}}
}

func TestReadingTheClaim(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		payload map[string]any
		want    mfa.ClaimValue
		ok      bool
	}{
		"absent":              {map[string]any{}, mfa.ClaimValue{}, false},
		"null":                {map[string]any{"st-mfa": nil}, mfa.ClaimValue{}, false},
		"no object":           {map[string]any{"st-mfa": true}, mfa.ClaimValue{}, false},
		"empty":               {map[string]any{"st-mfa": map[string]any{}}, mfa.ClaimValue{C: factor.Completed{}}, true},
		"seconds":             {payloadWith(true, map[string]time.Time{"totp": noon}), mfa.ClaimValue{C: factor.Completed{"totp": noon}, V: true}, true},
		"a time of 0":         {payloadWith(false, map[string]time.Time{"totp": time.Unix(0, 0)}), mfa.ClaimValue{C: factor.Completed{"totp": time.Unix(0, 0).UTC()}}, true},
		"milliseconds of old": {map[string]any{"st-mfa": map[string]any{"c": map[string]any{"totp": float64(noon.UnixMilli())}, "v": false}}, mfa.ClaimValue{C: factor.Completed{"totp": noon}}, true},
		"no number":           {map[string]any{"st-mfa": map[string]any{"c": map[string]any{"totp": "now", "x": nil}, "v": "true"}}, mfa.ClaimValue{C: factor.Completed{}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := mfa.Claim.GetValueFromPayload(test.payload)
			require.Equal(t, test.ok, ok)
			require.Equal(t, test.want, got)
		})
	}
}

func TestChangingThePayload(t *testing.T) {
	t.Parallel()
	old := payloadWith(true, map[string]time.Time{"emailpassword": noon, "totp": noon})
	changed := mfa.Claim.AddToPayload(old, mfa.ClaimValue{C: factor.Completed{"totp": noon.Add(time.Minute), "my-factor": noon}, V: false})
	require.Equal(t, payloadWith(false, map[string]time.Time{"emailpassword": noon, "totp": noon.Add(time.Minute), "my-factor": noon}), changed)
	require.Equal(t, payloadWith(true, map[string]time.Time{"emailpassword": noon, "totp": noon}), old, "the input is left alone")

	require.Equal(t, map[string]any{"theme": "dark"}, mfa.Claim.RemoveFromPayload(old))
	require.Contains(t, old, "st-mfa")
	require.Equal(t, map[string]any{"st-mfa": map[string]any{"c": map[string]any{}, "v": true}}, mfa.Claim.AddToPayload(nil, mfa.ClaimValue{V: true}))
}

func TestHasCompletedMFARequirementsForAuth(t *testing.T) {
	t.Parallel()
	v := mfa.Claim.HasCompletedMFARequirementsForAuth()
	require.Equal(t, "st-mfa", v.ID)
	require.Equal(t, mfa.Claim, v.Claim)
	for name, test := range map[string]struct {
		payload map[string]any
		refetch bool
		valid   bool
		fails   bool
	}{
		"v true":    {payloadWith(true, nil), false, true, false},
		"v false":   {payloadWith(false, nil), false, false, false},
		"v no bool": {map[string]any{"st-mfa": map[string]any{"v": "true"}}, false, false, false},
		"absent":    {map[string]any{}, true, false, true},
		"null":      {map[string]any{"st-mfa": nil}, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.refetch, v.ShouldRefetch(t.Context(), test.payload))
			result, err := v.Validate(t.Context(), test.payload)
			require.Equal(t, test.fails, err != nil)
			require.Equal(t, test.valid, result.IsValid)
			if !test.valid && !test.fails {
				require.Equal(t, map[string]any{"message": "MFA requirement for auth is not satisfied"}, result.Reason)
			}
		})
	}
}

func TestHasCompletedRequirementList(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		list   factor.Requirements
		done   []string
		reason map[string]any // nil: valid
	}{
		"done":      {factor.Requirements{factor.TOTP}, []string{"totp"}, nil},
		"a factor":  {factor.Requirements{factor.TOTP}, nil, map[string]any{"message": "Factor validation failed: totp not completed", "factorId": factor.TOTP}},
		"in order":  {factor.Requirements{factor.TOTP, factor.OTPEmail}, []string{"totp"}, map[string]any{"message": "Factor validation failed: otp-email not completed", "factorId": factor.OTPEmail}},
		"one of":    {factor.Requirements{factor.OneOf{"a", "b"}}, nil, map[string]any{"message": "None of these factors are complete in the session: a, b", "oneOf": []factor.ID{"a", "b"}}},
		"all of":    {factor.Requirements{factor.AllOfInAnyOrder{"a", "b", "c"}}, []string{"b"}, map[string]any{"message": "Some of the factors are not complete in the session: a, c", "allOfInAnyOrder": []factor.ID{"a", "c"}}},
		"empty any": {factor.Requirements{factor.OneOf{}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := map[string]time.Time{}
			for _, id := range test.done {
				done[id] = noon
			}
			v := mfa.Claim.HasCompletedRequirementList(test.list)
			require.Equal(t, "st-mfa", v.ID)
			require.True(t, v.ShouldRefetch(t.Context(), map[string]any{}))
			result, err := v.Validate(at(noon), payloadWith(false, done))
			require.NoError(t, err)
			require.Equal(t, test.reason == nil, result.IsValid)
			if test.reason != nil {
				require.Equal(t, test.reason, result.Reason)
			}
		})
	}

	empty := mfa.Claim.HasCompletedRequirementList(nil)
	require.Nil(t, empty.Claim, "an empty list passes without a look at the claim")
	result, err := empty.Validate(t.Context(), map[string]any{})
	require.NoError(t, err)
	require.True(t, result.IsValid)

	_, err = mfa.Claim.HasCompletedRequirementList(factor.Requirements{factor.TOTP, nil}).Validate(at(noon), payloadWith(true, map[string]time.Time{"totp": noon}))
	require.ErrorContains(t, err, "item 1 of the list of requirements is nil")
}

// C-04: each factor's own time counts, against the present; a time in the future is no completion.
func TestStepUpByAge(t *testing.T) {
	t.Parallel()
	const age = 15 * time.Minute
	v := mfa.Claim.HasCompletedRequirementListWithin(age, factor.Requirements{factor.TOTP})
	payload := payloadWith(true, map[string]time.Time{"emailpassword": noon.Add(time.Hour), "totp": noon})
	for name, test := range map[string]struct {
		now   time.Time
		valid bool
	}{
		"at once":                  {noon, true},
		"a moment younger":         {noon.Add(age - time.Second), true},
		"exactly":                  {noon.Add(age), true},
		"a moment older":           {noon.Add(age + time.Second), false},
		"5 s before it was given":  {noon.Add(-5 * time.Second), true},
		"more than 5 s before":     {noon.Add(-5*time.Second - time.Millisecond), false},
		"long before it was given": {noon.Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := v.Validate(at(test.now), payload)
			require.NoError(t, err)
			require.Equal(t, test.valid, result.IsValid)
			if !test.valid {
				require.Equal(t, map[string]any{"message": "Factor validation failed: totp not completed", "factorId": factor.TOTP}, result.Reason)
			}
		})
	}
	result, err := mfa.Claim.HasCompletedRequirementList(factor.Requirements{factor.TOTP}).Validate(at(noon.Add(-6*time.Second)), payload)
	require.NoError(t, err)
	require.False(t, result.IsValid, "nor for the list without an age")
}
