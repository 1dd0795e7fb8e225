package mfa_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
	"github.com/stepup-auth/stepup/userroles"
)

// registered is a factor that registers what a test says.
type registered struct {
	mfa.Registration
	err error
}

func (f registered) Attach(*mfa.MFA) (mfa.Registration, error) { return f.Registration, f.err }

var local = mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"}

// Every mistake is reported at once, each with its field, and afterwards nothing is kept.
func TestEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	password, authenticator := emailpassword.New(emailpassword.Config{Hashing: cheap}), totp.New(totp.Config{})
	_, err := mfa.New(t.Context(), mfa.Config{
		AppInfo: mfa.AppInfo{APIDomain: "nonsense"},
		Storage: db.DB,
		Factors: []mfa.Factor{
			password, authenticator, nil,
			emailpassword.New(emailpassword.Config{}),
			registered{mfa.Registration{SecondaryFactors: []factor.ID{"bad id", "passwordless"}}, nil},
			registered{mfa.Registration{RecipeID: "x", Routes: []mfa.Route{{Method: "DELETE", Path: "x"}}}, nil},
			registered{err: errors.New("out of order")},
		},
		FirstFactors: []factor.ID{factor.OTPEmail, factor.TOTP, "passwordless", "my-own"},
		Limits: mfa.Limits{
			MaxAttempts: 101, Cooldown: -time.Second, Guesses: mfa.GuessLimits{Free: 101, Stop: -1, Wait: time.Nanosecond, MaxWait: -1},
		},
		Sessions: session.Config{
			Claims:              []session.Claim{userroles.UserRoleClaim, userroles.UserRoleClaim},
			AccessTokenValidity: time.Hour, RefreshTokenValidity: time.Minute,
		},
		Override: mfa.Override{Functions: func(_ mfa.Functions, functions *mfa.Functions) { functions.GetFactorsSetupForUser = nil }},
		AccountLinking: accountlinking.Config{Override: accountlinking.Override{
			Functions: func(_ accountlinking.Functions, functions *accountlinking.Functions) { functions.GetUser = nil },
		}},
	})
	require.Error(t, err)
	for _, part := range []string{
		"AppName", "APIDomain", "WebsiteDomain",
		"Config.Factors[2]: it is nil",
		`Config.Factors[3]: its RecipeID "emailpassword" is that of Config.Factors[0]`,
		`Config.Factors[3]: Config.Factors[0] offers the factor "emailpassword" already`,
		"Config.Factors[4]: its RecipeID is empty",
		`Config.Factors[4]: factor id "bad id"`,
		`Config.Factors[4]: factor id "passwordless"`,
		"Config.Factors[5]: the route DELETE x",
		"Config.Factors[6]: out of order",
		`Config.FirstFactors: no factor of Config.Factors offers "otp-email" as a first factor`,
		`Config.FirstFactors: no factor of Config.Factors offers "totp" as a first factor`,
		`Config.FirstFactors: factor id "passwordless"`,
		"Limits.MaxAttempts is 101", "Limits.Cooldown is -1s", "Limits.Guesses.Free is 101", "Limits.Guesses.Stop is -1",
		"Limits.Guesses.Wait is 1ns", "Limits.Guesses.MaxWait is -1ns",
		"st-role", "RefreshTokenValidity",
		"Config.Override.Functions left the function GetFactorsSetupForUser nil",
		"AccountLinking.Override.Functions left the function GetUser nil",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "my-own", "an id of the application's own may be listed")

	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: db.DB, Factors: []mfa.Factor{password, authenticator}})
	require.NoError(t, err, "the same recipes and database may be given to the next New")

	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local})
	require.ErrorContains(t, err, "Config.Storage is not set")
	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: db.DB})
	require.ErrorContains(t, err, "serves another instance already")
	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: storetest.Open(t, "memory").DB, Factors: []mfa.Factor{password}})
	require.ErrorContains(t, err, "belongs to another instance")
	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: storetest.Open(t, "memory").DB, FirstFactors: []factor.ID{}})
	require.ErrorContains(t, err, "'firstFactors' can be either undefined or a non-empty array")
}

// L-02: a budget that guesses a code with a chance of 1 in 10,000 is refused at the start.
func TestAGuessableConfiguration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		attempts, devices, skew int
		ok                      bool
	}{
		"the defaults: 75 in a million": {5, 5, 1, true},
		"99":                            {33, 1, 1, true},
		"100":                           {20, 5, 0, false},
		"105":                           {7, 5, 1, false},
		"125":                           {5, 5, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := mfa.New(t.Context(), mfa.Config{
				AppInfo: local, Storage: storetest.Open(t, "memory").DB, Limits: mfa.Limits{MaxAttempts: test.attempts},
				Factors: []mfa.Factor{totp.New(totp.Config{MaxDevices: test.devices, DefaultSkew: &test.skew})},
			})
			require.Equal(t, test.ok, err == nil, err)
		})
	}
}

// I-04: what switches a safeguard off says so in its name, and is off. A new option of that kind has to be put on this list.
func TestInsecureOptions(t *testing.T) {
	t.Parallel()
	var found []string
	seen := map[reflect.Type]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Pointer {
			v = reflect.Zero(v.Type().Elem())
		}
		if v.Kind() != reflect.Struct || seen[v.Type()] || !strings.HasPrefix(v.Type().PkgPath(), "github.com/stepup-auth/stepup") {
			return
		}
		seen[v.Type()] = true
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if strings.Contains(field.Name, "Insecure") {
				found = append(found, path+field.Name)
				require.True(t, v.Field(i).IsZero())
			}
			walk(path+field.Name+".", v.Field(i))
		}
	}
	walk("mfa.", reflect.ValueOf(mfa.Config{}))
	walk("emailpassword.", reflect.ValueOf(emailpassword.Config{}))
	walk("totp.", reflect.ValueOf(totp.Config{}))
	walk("storage.", reflect.ValueOf(storage.Options{}))
	slices.Sort(found)
	require.Equal(t, []string{"emailpassword.Hashing.InsecureLowCost", "mfa.Limits.InsecureNoGuessLimits", "mfa.Sessions.InsecureCookies"}, found)

	// Keys are demanded for data that outlives the process; to go without has the same word in its name.
	_, err := sqlite.Open(t.Context(), t.TempDir()+"/x.db", storage.Options{})
	require.ErrorContains(t, err, "InsecureNoKeys")
}

// The library calls the overridden functions itself, and a nil API has no route.
func TestOverridesAreCalled(t *testing.T) {
	t.Parallel()
	var called []string
	note := func(name string) { called = append(called, name) }
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) {
		cfg.Override.Functions = func(original mfa.Functions, functions *mfa.Functions) {
			functions.GetFactorsSetupForUser = func(ctx context.Context, in mfa.GetFactorsSetupForUserInput) ([]factor.ID, error) {
				note("GetFactorsSetupForUser")
				return original.GetFactorsSetupForUser(ctx, in)
			}
			functions.GetMFARequirementsForAuth = func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				note("GetMFARequirementsForAuth")
				return original.GetMFARequirementsForAuth(ctx, in)
			}
			functions.AssertAllowedToSetupFactor = func(ctx context.Context, in mfa.AssertAllowedToSetupFactorInput) error {
				note("AssertAllowedToSetupFactor")
				return original.AssertAllowedToSetupFactor(ctx, in)
			}
			functions.MarkFactorAsCompleteInSession = func(ctx context.Context, in mfa.MarkFactorAsCompleteInSessionInput) error {
				note("MarkFactorAsCompleteInSession")
				return original.MarkFactorAsCompleteInSession(ctx, in)
			}
			functions.GetRequiredSecondaryFactorsForUser = func(ctx context.Context, in mfa.GetRequiredSecondaryFactorsForUserInput) ([]factor.ID, error) {
				note("GetRequiredSecondaryFactorsForUser")
				return original.GetRequiredSecondaryFactorsForUser(ctx, in)
			}
			functions.AddToRequiredSecondaryFactorsForUser = func(ctx context.Context, in mfa.AddToRequiredSecondaryFactorsForUserInput) error {
				note("AddToRequiredSecondaryFactorsForUser")
				return original.AddToRequiredSecondaryFactorsForUser(ctx, in)
			}
			functions.RemoveFromRequiredSecondaryFactorsForUser = func(ctx context.Context, in mfa.RemoveFromRequiredSecondaryFactorsForUserInput) error {
				note("RemoveFromRequiredSecondaryFactorsForUser")
				return original.RemoveFromRequiredSecondaryFactorsForUser(ctx, in)
			}
		}
		cfg.Override.APIs = func(original mfa.APIs, apis *mfa.APIs) {
			apis.ResyncSessionAndFetchMFAInfoPUT = func(ctx context.Context, in mfa.ResyncSessionAndFetchMFAInfoPUTInput) (mfa.Info, error) {
				note("ResyncSessionAndFetchMFAInfoPUT")
				require.NotNil(t, mfa.FromContext(ctx))
				return original.ResyncSessionAndFetchMFAInfoPUT(ctx, in)
			}
		}
	})
	expect := func(step string, want ...string) {
		t.Helper()
		slices.Sort(called)
		require.Equal(t, want, slices.Compact(called), step)
		called = nil
	}
	c := b.signedUp(ada)
	expect("sign-up", "GetMFARequirementsForAuth", "GetRequiredSecondaryFactorsForUser")
	c.Info()
	expect("info", "AssertAllowedToSetupFactor", "GetFactorsSetupForUser", "GetMFARequirementsForAuth", "GetRequiredSecondaryFactorsForUser", "ResyncSessionAndFetchMFAInfoPUT")
	c.EnrolTOTP(b.now())
	expect("enrol", "AssertAllowedToSetupFactor", "GetMFARequirementsForAuth", "GetRequiredSecondaryFactorsForUser", "MarkFactorAsCompleteInSession")
	require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
	expect("add", "AddToRequiredSecondaryFactorsForUser")
	require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), factor.TOTP))
	expect("remove", "RemoveFromRequiredSecondaryFactorsForUser")
	_, err := b.GetFactorsSetupForUser(t.Context(), c.UserID())
	require.NoError(t, err)
	expect("set up", "GetFactorsSetupForUser")

	off := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) {
		cfg.Override.APIs = func(_ mfa.APIs, apis *mfa.APIs) { apis.ResyncSessionAndFetchMFAInfoPUT = nil }
	})
	require.Equal(t, 404, off.signedUp(ada).Call("PUT", "/auth/mfa/info", map[string]any{}).Status)
}

func TestFromContextOutsideOfACall(t *testing.T) {
	t.Parallel()
	require.Nil(t, mfa.FromContext(t.Context()))
	b := newBundle(t, storetest.Open(t, "memory"))
	require.Same(t, b.MFA, mfa.FromContext(mfa.NewContext(t.Context(), b.MFA)))
	_, _, err := mfa.Claim.FetchValue(t.Context(), session.FetchValueInput{})
	require.ErrorContains(t, err, "an instance")
}
