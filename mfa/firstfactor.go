package mfa

import (
	"context"
	"slices"

	"github.com/stepup-auth/stepup/internal/factorid"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
)

// validFirstFactors keeps those of ids that may begin a session on the tenant, in their order: this rule stands here only. What a tenant lists wins
// over what the configuration lists, that over all that is offered; of what is listed, an id counts that a factor offers, or one of the
// application's own. The user is only for reading the tenant together with what else a policy asks.
func (m *MFA) validFirstFactors(ctx context.Context, tenantID, userID string, ids []factor.ID) ([]factor.ID, error) {
	t, err := m.tenant(ctx, tenantID, userID)
	if err != nil {
		return nil, err
	}
	offered := m.offeredFirstFactors()
	listed := t.FirstFactors
	if listed == nil {
		listed = m.firstFactors
	}
	if listed == nil {
		listed = offered
	}
	var valid []factor.ID
	for _, id := range ids {
		if slices.Contains(listed, id) && (slices.Contains(offered, id) || !factorid.BuiltIn(id)) && !slices.Contains(valid, id) {
			valid = append(valid, id)
		}
	}
	return valid, nil
}

func (m *MFA) offeredFirstFactors() []factor.ID {
	var ids []factor.ID
	for _, r := range m.registrations {
		ids = append(ids, r.FirstFactors...)
	}
	return ids
}

func (m *MFA) offeredSecondaryFactors() []factor.ID {
	var ids []factor.ID
	for _, r := range m.registrations {
		ids = append(ids, r.SecondaryFactors...)
	}
	return ids
}

// offersSecondary tells tenants which second factors somebody could be asked for: those on offer, and the application's own.
func (m *MFA) offersSecondary(id factor.ID) bool {
	return !factorid.BuiltIn(id) || slices.Contains(m.offeredSecondaryFactors(), id)
}

// tenant reads a tenant by the overridable function. The facts of the user are read first, since they hold the tenant and what is asked next.
func (m *MFA) tenant(ctx context.Context, tenantID, userID string) (*tenant.Tenant, error) {
	if _, err := facts.Get(ctx, m.env.Store, tenantID, userID); err != nil {
		return nil, err
	}
	return m.tenants.GetTenant(ctx, tenantID)
}
