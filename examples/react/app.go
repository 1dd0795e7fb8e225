package main

import (
	"context"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// origins of the two parts: one origin may serve both.
type origins struct{ API, Website string }

type app struct {
	auth    *mfa.MFA
	origins origins
	// secondFactors can be switched on by users, and administrators must complete one of them.
	secondFactors []factor.ID
}

// newApp makes the instance. now is the clock, nil for that of the system.
func newApp(ctx context.Context, db *storage.DB, o origins, now func() time.Time) (*app, error) {
	a := &app{origins: o, secondFactors: []factor.ID{factor.TOTP}}
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo:      mfa.AppInfo{AppName: "Acme", APIDomain: o.API, WebsiteDomain: o.Website},
		Storage:      db,
		FirstFactors: []factor.ID{factor.EmailPassword},
		Factors: []mfa.Factor{
			emailpassword.New(emailpassword.Config{}),
			totp.New(totp.Config{Issuer: "Acme", Override: totp.Override{APIs: optInByEnrolling}}),
		},
		GetMFARequirementsForAuth: a.requirements,
		// Short, so that whoever tries the example meets a refresh.
		Sessions: session.Config{AccessTokenValidity: 5 * time.Minute},
		Now:      now,
	})
	a.auth = auth
	return a, err
}

// requirements asks administrators for any one second factor, and everybody else for any one of those that they switched on.
func (a *app) requirements(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	roles, err := in.Roles(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(roles, admin) {
		return factor.Requirements{factor.OneOf(a.secondFactors)}, nil
	}
	chosen, err := in.RequiredSecondaryFactorsForUser(ctx)
	if err != nil {
		return nil, err
	}
	return factor.Requirements{factor.OneOf(chosen)}, nil // an empty choice asks for nothing
}

// optInByEnrolling switches the authenticator app on for whoever enrols one.
func optInByEnrolling(original totp.APIs, apis *totp.APIs) {
	apis.VerifyDevicePOST = func(ctx context.Context, in totp.VerifyDevicePOSTInput) (totp.VerifyDeviceResult, error) {
		result, err := original.VerifyDevicePOST(ctx, in)
		if err != nil || result.WasAlreadyVerified { // then no code was looked at
			return result, err
		}
		return result, mfa.FromContext(ctx).AddToRequiredSecondaryFactorsForUser(ctx, in.Session.UserID(), factor.TOTP)
	}
}
