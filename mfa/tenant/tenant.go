// Package tenant holds tenants: named parts of the application with login settings of their own.
//
// The tenant public always exists, and is what "" means wherever a tenant is asked for. A front end names a tenant in the path, behind the base path:
// /auth/customer1/signin. Users, roles of users and sessions belong to tenants; metadata and second factors belong to people, on all tenants.
//
//	_, err := auth.Tenants().CreateOrUpdateTenant(ctx, "customer1", tenant.Update{
//		FirstFactors:             tenant.Only(factor.EmailPassword),
//		RequiredSecondaryFactors: tenant.Only(factor.TOTP),
//	})
//
// A new tenant has no first factor, so that nobody can sign in there, unless the call says otherwise: Only lists some, Unset takes those of the
// instance's configuration. The required secondary factors are what the default policy asks everybody for who signs in on the tenant: one of these
// and of the user's own.
package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Config of the recipe, which always exists.
type Config struct {
	Override Override
}

// Override changes what the recipe does.
type Override struct {
	// Functions gets the functions as they are, and changes the table that everything in this module calls. A field set to nil is an error at the
	// start.
	Functions func(original Functions, functions *Functions)
}

// Tenant is what is stored. Lists keep their order.
type Tenant struct {
	ID string `json:"tenantId"`
	// FirstFactors are the factors by which people can sign in. nil: not set, those of the configuration; empty: nobody can.
	FirstFactors []factor.ID `json:"firstFactors,omitzero"`
	// RequiredSecondaryFactors are asked for after the first factor. nil: none.
	RequiredSecondaryFactors []factor.ID `json:"requiredSecondaryFactors,omitzero"`
	// CoreConfig are settings that differ from those of the configuration: see Update.
	CoreConfig map[string]any `json:"coreConfig"`
}

// Update says what changes. The zero value of a field keeps what is stored.
type Update struct {
	FirstFactors             Factors
	RequiredSecondaryFactors Factors // Only() is the same as Unset()
	// CoreConfig has settings to change, nil to remove one: password_reset_token_lifetime, email_verification_token_lifetime and
	// passwordless_code_lifetime in milliseconds, passwordless_max_code_input_attempts (1 to 100). The tenant public has none, its settings are
	// those of the configuration.
	CoreConfig map[string]any
}

// Factors is a change of a list of factors: the zero value keeps it, Only replaces it, Unset removes it.
type Factors struct {
	changed bool
	list    []factor.ID // nil: not set
}

// Only means these and no others; Only() means none. Ids have up to 128 letters, digits and "_", "." or "-", and none stands twice. An id that is
// not built in is a factor of the application's own.
func Only(ids ...factor.ID) Factors {
	return Factors{changed: true, list: append([]factor.ID{}, ids...)}
}

// Unset goes back to what the instance's configuration says.
func Unset() Factors { return Factors{changed: true} }

// ErrTenantNotFound is returned by every function of every recipe that takes a tenant which does not exist. It is the value of package session.
var ErrTenantNotFound = session.ErrTenantNotFound

// Functions is what the recipe does. Ids of tenants are trimmed and lower-cased; one that no tenant can have is unknown.
type Functions struct {
	// GetTenantID gives the tenant of a request, asked once for each, with or without a session: by default the one that the front end named in
	// the path. An override may take it from the host name instead.
	GetTenantID func(ctx context.Context, in GetTenantIDInput) (string, error)
	// CreateOrUpdateTenant makes the tenant or changes it, in one step. An id, list or setting that cannot be is a *session.BadInputError, and
	// nothing is written.
	CreateOrUpdateTenant func(ctx context.Context, in CreateOrUpdateTenantInput) (CreateOrUpdateTenantResult, error)
	// GetTenant returns the tenant, or ErrTenantNotFound; never nil without an error.
	GetTenant func(ctx context.Context, in GetTenantInput) (*Tenant, error)
	// ListAllTenants returns all tenants, sorted by id.
	ListAllTenants func(ctx context.Context, in ListAllTenantsInput) ([]*Tenant, error)
}

type (
	// GetTenantIDInput is the input of GetTenantID.
	GetTenantIDInput struct {
		TenantIDFromFrontend string // of the path, or public
	}
	// CreateOrUpdateTenantInput is the input of CreateOrUpdateTenant.
	CreateOrUpdateTenantInput struct {
		TenantID string
		Update   Update
	}
	// CreateOrUpdateTenantResult is the result of CreateOrUpdateTenant.
	CreateOrUpdateTenantResult struct{ CreatedNew bool }
	// GetTenantInput is the input of GetTenant.
	GetTenantInput struct{ TenantID string }
	// ListAllTenantsInput is the input of ListAllTenants.
	ListAllTenantsInput struct{}
)

// Recipe is the handle, safe for concurrent use. The zero value is of no use: mfa.New makes it.
type Recipe struct {
	env       *env.Env
	offered   func(factor.ID) bool
	functions Functions
}

// Attach makes the recipe. Only mfa.New can call it. offered tells whether a listed factor offers an id as second factor; it is asked when a tenant
// changes. nil allows every id.
func Attach(e *env.Env, offered func(factor.ID) bool, cfg Config) (*Recipe, error) {
	r := &Recipe{env: e, offered: offered}
	r.functions = table.Override(Functions{
		GetTenantID: r.getTenantID, CreateOrUpdateTenant: r.createOrUpdateTenant, GetTenant: r.getTenant, ListAllTenants: r.listAllTenants,
	}, cfg.Override.Functions)
	if err := errors.Join(table.Missing(r.functions, "Tenants.Override.Functions")...); err != nil {
		return nil, err
	}
	e.TenantID = r.tenantOf
	return r, nil
}

// tenantOf asks the overridable function for the tenant of a request, and brings its answer into the form of ids.
func (r *Recipe) tenantOf(ctx context.Context, fromPath string) (string, error) {
	id, err := r.functions.GetTenantID(r.env.Bind(ctx), GetTenantIDInput{TenantIDFromFrontend: fromPath})
	if err != nil {
		return "", err
	}
	normal, ok := tenantid.Normalise(id)
	if !ok {
		return "", ErrTenantNotFound
	}
	return normal, nil
}

func (r *Recipe) getTenantID(_ context.Context, in GetTenantIDInput) (string, error) {
	return in.TenantIDFromFrontend, nil
}

// CreateOrUpdateTenant makes the tenant or changes it. Calling it at every start is fine.
func (r *Recipe) CreateOrUpdateTenant(ctx context.Context, tenantID string, u Update) (CreateOrUpdateTenantResult, error) {
	return r.functions.CreateOrUpdateTenant(r.env.Bind(ctx), CreateOrUpdateTenantInput{TenantID: tenantID, Update: u})
}

// GetTenant returns the tenant, or ErrTenantNotFound.
func (r *Recipe) GetTenant(ctx context.Context, tenantID string) (*Tenant, error) {
	t, err := r.functions.GetTenant(r.env.Bind(ctx), GetTenantInput{TenantID: tenantID})
	if t == nil && err == nil {
		return nil, errors.New("tenant: GetTenant was overridden and returned neither a tenant nor an error")
	}
	return t, err
}

// ListAllTenants returns all tenants, sorted by id.
func (r *Recipe) ListAllTenants(ctx context.Context) ([]*Tenant, error) {
	return r.functions.ListAllTenants(r.env.Bind(ctx), ListAllTenantsInput{})
}

func (r *Recipe) getTenant(ctx context.Context, in GetTenantInput) (*Tenant, error) {
	id, ok := tenantid.Normalise(in.TenantID)
	if !ok {
		return nil, ErrTenantNotFound
	}
	row, err := facts.GetTenant(ctx, r.env.Store, id)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, ErrTenantNotFound
	}
	return newTenant(row)
}

// newTenant shares nothing with the row.
func newTenant(row *facts.Tenant) (*Tenant, error) {
	t := &Tenant{ID: row.ID, FirstFactors: slices.Clone(row.FirstFactors), RequiredSecondaryFactors: slices.Clone(row.RequiredSecondaryFactors)}
	if err := json.Unmarshal([]byte(row.CoreConfig), &t.CoreConfig); err != nil {
		return nil, fmt.Errorf("tenant: the stored settings of %s are unreadable: %w", row.ID, err)
	}
	return t, nil
}
