package totp

import (
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// Attach tells mfa.New what the recipe offers.
func (r *Recipe) Attach(*mfa.MFA) (mfa.Registration, error) {
	return mfa.Registration{
		RecipeID:            "totp",
		SecondaryFactors:    []factor.ID{factor.TOTP},
		FactorsSetUpForUser: r.factorsSetUpForUser,
		Routes:              r.routes(table.Override(r.defaultAPIs(), r.cfg.Override.APIs)),
	}, nil
}

// AttachFlow is called by mfa.New, with nil when the instance could not be made after all.
func (r *Recipe) AttachFlow(f *flow.Flow) error {
	if f == nil {
		*r = Recipe{cfg: r.cfg}
		return nil
	}
	return r.attach(parts{
		env: f.Env, attempts: f.Attempts, appName: f.AppName, sessions: f.Sessions,
		getUser: f.AccountLinking.GetUser, factorRemoved: f.MFA.FactorRemoved,
	})
}
