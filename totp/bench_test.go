package totp_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/totp"
)

// withCuriousPolicy asks for all that there is to ask for, the user too: that is one statement more where nothing else reads the user.
func withCuriousPolicy(cfg *mfa.Config, _ *totp.Config) {
	cfg.GetMFARequirementsForAuth = func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		if _, err := in.User(ctx); err != nil {
			return nil, err
		}
		if _, err := in.Roles(ctx); err != nil {
			return nil, err
		}
		if _, err := in.FactorsSetUpForUser(ctx); err != nil {
			return nil, err
		}
		if _, err := in.RequiredSecondaryFactorsForTenant(ctx); err != nil {
			return nil, err
		}
		_, err := in.RequiredSecondaryFactorsForUser(ctx)
		return factor.Requirements{factor.TOTP}, err
	}
}

// What each request costs with a policy that asks for everything, after wrong codes too, and however many devices and sessions there are.
func TestStatementsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, withCuriousPolicy)
		costs := func(what string, most int, request func()) {
			t.Helper()
			db.Probe.Reset()
			request()
			require.LessOrEqual(t, db.Probe.Count(), most, "%s: %q", what, db.Probe.Statements())
			t.Logf("%-30s %d of %d", what, db.Probe.Count(), most)
		}
		for _, sessions := range []int{1, 20} {
			email := map[int]string{1: ada, 20: bob}[sessions]
			v := s.signedUp(email)
			for range sessions {
				v = s.signedIn(email)
			}
			var name, secret string
			v.CreateDevice()
			costs("remove, not verified", 5, func() { v.remove("TOTP Device 1") }) // no session is looked for
			costs("create", 6, func() { name, secret = v.CreateDevice() })
			v.verifyDevice(name, s.wrong(secret))
			costs("verify device", 8, func() { require.True(t, v.verifyDevice(name, s.code(secret)).Is("OK")) })
			for sessions == 20 && len(v.names()) < 5 {
				s.turn(period)
				v.EnrolTOTP(s.now())
			}
			costs("list", 1, func() { v.names() })
			costs("already verified", 5, func() { require.True(t, v.verifyDevice(name, "").Is("OK")) })
			s.turn(period)
			v = s.signedIn(email)
			costs("wrong code", 3, func() { v.verifyTOTP("x") })
			costs("right code after wrong ones", 6+1, func() { require.True(t, v.verifyTOTP(s.code(secret)).Is("OK")) })
			s.turn(period)
			v = s.signedIn(email)
			costs("right code", 5+1, func() { require.True(t, v.verifyTOTP(s.code(secret)).Is("OK")) })
		}
	})
}

// A right code: request in, 200 with a new access token out.
func BenchmarkVerifyTOTP(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b, storetest.Open(b, name), func(cfg *mfa.Config, _ *totp.Config) {
				cfg.Sessions.AccessTokenValidity, cfg.Sessions.RefreshTokenValidity = 900*24*time.Hour, 1000*24*time.Hour
			})
			s.requires(factor.TOTP)
			v, secret := s.enrolled(ada)
			for b.Loop() {
				if r := v.verifyTOTP(s.code(secret)); !r.Is("OK") {
					b.Fatal(r.Status, r.Body)
				}
				s.turn(period)
			}
		})
	}
}
