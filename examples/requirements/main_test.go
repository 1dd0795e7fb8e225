package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// A policy is unit tested without an instance, a database or a fake: the lazy inputs are plain functions.
func TestOnlyWhatIsSetUp(t *testing.T) {
	t.Parallel()
	got, err := onlyWhatIsSetUp(t.Context(), mfa.GetMFARequirementsForAuthInput{
		RequiredSecondaryFactorsForUser: mfa.Value([]factor.ID{factor.TOTP, factor.OTPEmail}),
		FactorsSetUpForUser:             mfa.Value([]factor.ID{factor.OTPEmail}),
	})
	require.NoError(t, err)
	require.Equal(t, factor.Requirements{factor.OneOf{factor.OTPEmail}}, got)
}

func TestWhatIsAskedForNext(t *testing.T) {
	t.Parallel()
	lists := mfa.Value([]factor.ID{factor.TOTP, factor.OTPEmail})
	cases := map[string][]factor.Requirement{ // after the password; after TOTP too; after the mail code as well
		"totp-for-all":        {factor.TOTP, nil, nil},
		"any-one-of":          {factor.OneOf{factor.TOTP, factor.OTPEmail}, nil, nil},
		"all-of":              {factor.AllOfInAnyOrder{factor.TOTP, factor.OTPEmail}, factor.AllOfInAnyOrder{factor.OTPEmail}, nil},
		"ordered":             {factor.TOTP, factor.OTPEmail, nil},
		"ordered-by-progress": {factor.TOTP, factor.OTPEmail, nil},
		"mixed":               {factor.TOTP, factor.OneOf{factor.OTPEmail, factor.OTPPhone}, nil},
		"tenants-list":        {factor.AllOfInAnyOrder{factor.TOTP, factor.OTPEmail}, factor.AllOfInAnyOrder{factor.OTPEmail}, nil},
		"users-list":          {factor.AllOfInAnyOrder{factor.TOTP, factor.OTPEmail}, factor.AllOfInAnyOrder{factor.OTPEmail}, nil},
		"only-what-is-set-up": {factor.OneOf{factor.TOTP, factor.OTPEmail}, nil, nil},
		"default-plus":        {factor.OneOf{factor.TOTP, factor.OTPEmail}, nil, nil},
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(policies)), slices.Collect(maps.Keys(cases)), "every policy has a case")
	for policy, want := range cases {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			completed := factor.Completed{}
			for i, id := range []factor.ID{factor.EmailPassword, factor.TOTP, factor.OTPEmail} {
				completed[id] = time.Unix(int64(i), 0)
				got, err := policies[policy](t.Context(), input{
					CompletedFactors:                  completed,
					FactorsSetUpForUser:               lists,
					RequiredSecondaryFactorsForUser:   lists,
					RequiredSecondaryFactorsForTenant: lists,
					Roles:                             mfa.Value([]string(nil)),
				})
				require.NoError(t, err)
				require.Equal(t, want[i], got.Next(completed), "after %s", id)
			}
		})
	}
}

func TestDefaultPlusTOTPForAdmins(t *testing.T) {
	t.Parallel()
	original := mfa.Functions{GetMFARequirementsForAuth: anyOneOf}
	functions := original
	defaultPlusTOTPForAdmins(original, &functions)
	mail := factor.Completed{factor.OTPEmail: {}}

	got, err := functions.GetMFARequirementsForAuth(t.Context(), input{Roles: mfa.Value([]string{"admin"})})
	require.NoError(t, err)
	require.Equal(t, factor.TOTP, got.Next(mail))
	got, err = functions.GetMFARequirementsForAuth(t.Context(), input{Roles: mfa.Value([]string(nil))})
	require.NoError(t, err)
	require.True(t, got.Satisfied(mail))
}

// An error never becomes "no second factor".
func TestErrorsOfTheInputsReachTheCaller(t *testing.T) {
	t.Parallel()
	away := errors.New("database away")
	lists := func(context.Context) ([]factor.ID, error) { return nil, away }
	for _, policy := range []string{"tenants-list", "users-list", "only-what-is-set-up", "default-plus"} {
		_, err := policies[policy](t.Context(), input{
			FactorsSetUpForUser:               lists,
			RequiredSecondaryFactorsForUser:   lists,
			RequiredSecondaryFactorsForTenant: lists,
			Roles:                             func(context.Context) ([]string, error) { return nil, away },
		})
		require.ErrorIs(t, err, away, policy)
	}
}

func TestTheProgram(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, []string{"-policy", "mixed", "-completed", "emailpassword,totp"}))
	require.Equal(t, "mixed                asks for [\"totp\",{\"oneOf\":[\"otp-email\",\"otp-phone\"]}]\n"+
		"                     next is [{\"oneOf\":[\"otp-email\",\"otp-phone\"]}]\n", out.String())
	out.Reset()
	require.NoError(t, run(t.Context(), &out, []string{"-policy", "default-plus", "-roles", "admin", "-completed", "emailpassword,otp-email,totp"}))
	require.Contains(t, out.String(), "next is nothing: v is true")
	out.Reset()
	require.NoError(t, run(t.Context(), &out, nil))
	for name := range policies {
		require.Contains(t, out.String(), name)
	}
	require.ErrorContains(t, run(t.Context(), &out, []string{"-policy", "nosuch"}), `no policy "nosuch"`)
}
