package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/factorid"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

var (
	lockTenant = store.SQL("tenant.lock", `SELECT first_factors, required_secondary_factors, core_config FROM {p}tenants
WHERE tenant_id = $1 {lock}`)
	makeTenant = store.SQL("tenant.new", `INSERT INTO {p}tenants (tenant_id, first_factors, required_secondary_factors, core_config, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id) DO NOTHING`)
	setTenant = store.SQL("tenant.set", `UPDATE {p}tenants SET first_factors = $2, required_secondary_factors = $3, core_config = $4
WHERE tenant_id = $1`)
	listTenants = store.SQL("tenant.list", `SELECT tenant_id, first_factors, required_secondary_factors, core_config FROM {p}tenants
ORDER BY tenant_id`)
)

// row holds the columns of a tenant that an update changes. nil is a list that is not set.
type row struct {
	firstFactors, requiredSecondaryFactors *string
	coreConfig                             string
}

// fresh is a new tenant without an update: nobody can sign in there.
func fresh() row { return row{firstFactors: new("[]"), coreConfig: "{}"} }

// maxTries ends the race against others who make and delete the tenant at the same time.
const maxTries = 100

func (r *Recipe) createOrUpdateTenant(ctx context.Context, in CreateOrUpdateTenantInput) (result CreateOrUpdateTenantResult, err error) {
	id, change, err := r.check(in)
	if err != nil {
		return result, err
	}
	createdAt := r.env.Now().UnixMilli()
	err = r.env.Store.Tx(ctx, func(ctx context.Context) error {
		defer r.env.Store.Forget(ctx, store.Facts)
		result.CreatedNew = false // of an earlier try
		for range maxTries {
			var stored row
			found, err := r.env.Store.Row(ctx, lockTenant, []any{id},
				&stored.firstFactors, &stored.requiredSecondaryFactors, &stored.coreConfig)
			if err != nil {
				return err
			}
			if found {
				return r.write(ctx, id, stored, change)
			}
			made, err := change(fresh())
			if err != nil {
				return err
			}
			n, err := r.env.Store.Exec(ctx, makeTenant, id, made.firstFactors, made.requiredSecondaryFactors, made.coreConfig, createdAt)
			if n == 1 || err != nil {
				result.CreatedNew = n == 1
				return err
			}
		}
		return fmt.Errorf("tenant: %s keeps being made and deleted", id)
	})
	if err != nil {
		return CreateOrUpdateTenantResult{}, err
	}
	return result, nil
}

func (r *Recipe) write(ctx context.Context, id string, stored row, change func(row) (row, error)) error {
	changed, err := change(stored)
	if err != nil || changed.equal(stored) {
		return err
	}
	_, err = r.env.Store.Exec(ctx, setTenant, id, changed.firstFactors, changed.requiredSecondaryFactors, changed.coreConfig)
	return err
}

func (a row) equal(b row) bool {
	same := func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
	return same(a.firstFactors, b.firstFactors) && same(a.requiredSecondaryFactors, b.requiredSecondaryFactors) && a.coreConfig == b.coreConfig
}

func badInput(format string, args ...any) error {
	return &session.BadInputError{Message: fmt.Sprintf(format, args...)}
}

// check judges the input before anything is read, and returns what it does to a row.
func (r *Recipe) check(in CreateOrUpdateTenantInput) (id string, change func(row) (row, error), err error) {
	if id = tenantid.Public; in.TenantID != "" {
		var problem string
		if id, problem = tenantid.Check(in.TenantID); problem != "" {
			return "", nil, badInput("%s", problem)
		}
	}
	if r.isRoute(id) {
		return "", nil, badInput("Cannot use '%s' as a tenantId", id)
	}
	u := in.Update
	if err := errors.Join(checkFactors("firstFactors", u.FirstFactors.list),
		checkFactors("requiredSecondaryFactors", u.RequiredSecondaryFactors.list), r.checkOffered(u.RequiredSecondaryFactors.list)); err != nil {
		return "", nil, err
	}
	if id == tenantid.Public && len(u.CoreConfig) > 0 {
		return "", nil, badInput("Cannot modify base config")
	}
	settings, err := checkSettings(u.CoreConfig)
	if err != nil {
		return "", nil, err
	}
	return id, func(changed row) (row, error) {
		var err error
		if u.FirstFactors.changed {
			changed.firstFactors = text(u.FirstFactors.list)
		}
		if u.RequiredSecondaryFactors.changed {
			changed.requiredSecondaryFactors = nil
			if len(u.RequiredSecondaryFactors.list) > 0 {
				changed.requiredSecondaryFactors = text(u.RequiredSecondaryFactors.list)
			}
		}
		changed.coreConfig, err = merge(changed.coreConfig, settings)
		return changed, err
	}, nil
}

// isRoute reports whether requests to a tenant of that id could mean a route of this instance, such as one of a factor of the application's own.
func (r *Recipe) isRoute(id string) bool {
	return slices.ContainsFunc(r.env.Routes, func(route env.Route) bool {
		first, _, _ := strings.Cut(strings.TrimPrefix(route.Path, "/"), "/")
		return first == id
	})
}

func checkFactors(field string, ids []factor.ID) error {
	for i, id := range ids {
		if problem := factorid.Problem(id); problem != "" {
			return badInput("%s %s", field, problem)
		}
		if slices.Contains(ids[:i], id) {
			return badInput("%s input should not contain duplicate values", field)
		}
	}
	return nil
}

// checkOffered refuses a requirement that nobody could meet. Factors of the application's own may be completed by its own code.
func (r *Recipe) checkOffered(ids []factor.ID) error {
	for _, id := range ids {
		if r.offered != nil && factorid.BuiltIn(id) && !r.offered(id) {
			return badInput("requiredSecondaryFactors contains %s, which no factor of this instance offers as a second factor", id)
		}
	}
	return nil
}

func text(ids []factor.ID) *string {
	if ids == nil {
		return nil
	}
	raw, err := json.Marshal(ids)
	if err != nil {
		panic("tenant: factor ids are no JSON: " + err.Error())
	}
	return new(string(raw))
}

// largestSettings are the keys of CoreConfig with their largest values; the smallest is 1.
var largestSettings = map[string]int64{
	"password_reset_token_lifetime":        1 << 53,
	"email_verification_token_lifetime":    1 << 53,
	"passwordless_code_lifetime":           1 << 53,
	"passwordless_max_code_input_attempts": 100,
}

func checkSettings(config map[string]any) (canonical.Object, error) {
	object, err := canonical.Of(config)
	if err != nil {
		return nil, badInput("Invalid core config: %v", err)
	}
	for key, raw := range object {
		largest, known := largestSettings[key]
		if !known {
			return nil, badInput("Invalid core config: unknown setting %q", key)
		}
		if string(raw) == "null" {
			continue
		}
		if n, err := strconv.ParseInt(string(raw), 10, 64); err != nil || n < 1 || n > largest {
			return nil, badInput("Invalid core config: %s must be a whole number from 1 to %d", key, largest)
		}
	}
	return object, nil
}

func merge(stored string, change canonical.Object) (string, error) {
	object, err := canonical.Parse(stored)
	if err != nil {
		return "", fmt.Errorf("tenant: the stored settings are unreadable: %w", err)
	}
	for key, raw := range change {
		if string(raw) == "null" {
			delete(object, key)
		} else {
			object[key] = raw
		}
	}
	return object.Text(), nil
}

func (r *Recipe) listAllTenants(ctx context.Context, _ ListAllTenantsInput) ([]*Tenant, error) {
	rows, err := store.Rows(ctx, r.env.Store, listTenants, nil, func(scan func(...any) error) (*facts.Tenant, error) {
		var id string
		var stored row
		if err := scan(&id, &stored.firstFactors, &stored.requiredSecondaryFactors, &stored.coreConfig); err != nil {
			return nil, err
		}
		return facts.ParseTenant(id, stored.firstFactors, stored.requiredSecondaryFactors, stored.coreConfig)
	})
	if err != nil {
		return nil, err
	}
	tenants := make([]*Tenant, len(rows))
	for i, row := range rows {
		if tenants[i], err = newTenant(row); err != nil {
			return nil, err
		}
	}
	return tenants, nil
}
