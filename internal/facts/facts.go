// Package facts reads what a policy may ask about a person on a tenant, all of it with one statement: the tenant's settings, the metadata, the
// roles and the verified TOTP devices. Within a request the first that asks runs it, the others are free, until something of it is written: whoever
// does calls Forget(ctx, store.Facts).
package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// Facts of one person on one tenant. They are shared: nobody may change them.
type Facts struct {
	Tenant *Tenant // nil: there is no such tenant
	UserMetadata
	Roles       []string     // on the tenant, sorted
	TOTPDevices []TOTPDevice // the verified ones, by name
}

// TOTPDevice is what lists show of a row of totp_devices.
type TOTPDevice struct {
	Name         string
	Period, Skew int // in seconds, in periods
}

// Tenant is a row of tenants. A nil list is not set.
type Tenant struct {
	ID                       string
	FirstFactors             []factor.ID
	RequiredSecondaryFactors []factor.ID
	CoreConfig               string // a JSON object
}

// UserMetadata is a row of user_metadata, as canonical JSON.
type UserMetadata struct {
	HasMetadata bool   // false: there is no row, and the texts are ""
	Metadata    string // an object, without the root key _supertokens
	Supertokens string // the value of that key; "" is none
}

var statement = store.SQL("facts", `
SELECT 'tenant' AS kind, first_factors AS a, required_secondary_factors AS b, core_config AS c FROM {p}tenants WHERE tenant_id = $1
UNION ALL SELECT 'metadata', metadata, supertokens, NULL FROM {p}user_metadata WHERE user_id = $2
UNION ALL SELECT 'role', role, NULL, NULL FROM {p}user_roles WHERE tenant_id = $1 AND user_id = $2
UNION ALL SELECT 'totp', name, CAST(period AS TEXT), CAST(skew AS TEXT) FROM {p}totp_devices WHERE user_id = $2 AND verified`)

type row struct {
	kind    string
	a, b, c *string
}

func scanRow(scan func(dest ...any) error) (r row, err error) {
	err = scan(&r.kind, &r.a, &r.b, &r.c)
	return r, err
}

// Get reads the facts. Both ids are in their normal form.
func Get(ctx context.Context, b *store.Backend, tenantID, userID string) (*Facts, error) {
	if f, ok := store.Recall[*Facts](ctx, b, store.Facts, factsKey(tenantID, userID)); ok {
		return f, nil
	}
	rows, err := store.Rows(ctx, b, statement, []any{tenantID, userID}, scanRow)
	if err != nil {
		return nil, err
	}
	f := &Facts{}
	for _, r := range rows {
		switch r.kind {
		case "tenant":
			if f.Tenant, err = ParseTenant(tenantID, r.a, r.b, *r.c); err != nil {
				return nil, err
			}
		case "metadata":
			f.UserMetadata = UserMetadata{HasMetadata: true, Metadata: *r.a, Supertokens: *r.b}
		case "role":
			f.Roles = append(f.Roles, *r.a)
		case "totp":
			period, errPeriod := strconv.Atoi(*r.b)
			skew, errSkew := strconv.Atoi(*r.c)
			if err := errors.Join(errPeriod, errSkew); err != nil {
				return nil, err
			}
			f.TOTPDevices = append(f.TOTPDevices, TOTPDevice{Name: *r.a, Period: period, Skew: skew})
		}
	}
	slices.Sort(f.Roles)
	f.keep(ctx, b, tenantID, userID)
	return f, nil
}

func (f *Facts) keep(ctx context.Context, b *store.Backend, tenantID, userID string) {
	slices.SortFunc(f.TOTPDevices, func(a, b TOTPDevice) int { return strings.Compare(a.Name, b.Name) })
	b.Keep(ctx, store.Facts, factsKey(tenantID, userID), f)
	b.Keep(ctx, store.Facts, tenantKey(tenantID), f.Tenant)
	b.Keep(ctx, store.Facts, metadataKey(userID), f.UserMetadata)
	b.Keep(ctx, store.Facts, totpKey(userID), f.TOTPDevices)
}

// TOTPDevicesChanged is the Forget of whoever wrote these verified devices of a person, all that there are, and committed that. What the request knows
// else of that person on the tenant it need not read again.
func TOTPDevicesChanged(ctx context.Context, b *store.Backend, tenantID, userID string, devices []TOTPDevice) {
	f, known := store.Recall[*Facts](ctx, b, store.Facts, factsKey(tenantID, userID))
	b.Forget(ctx, store.Facts)
	if known {
		changed := *f
		changed.TOTPDevices = slices.Clone(devices)
		changed.keep(ctx, b, tenantID, userID)
	}
}

// GetTenant reads a tenant; nil: there is none. It is free where the facts of anybody on it are remembered.
func GetTenant(ctx context.Context, b *store.Backend, tenantID string) (*Tenant, error) {
	if t, ok := store.Recall[*Tenant](ctx, b, store.Facts, tenantKey(tenantID)); ok {
		return t, nil
	}
	f, err := Get(ctx, b, tenantID, "") // nobody has that id
	if err != nil {
		return nil, err
	}
	return f.Tenant, nil
}

var getMetadata = store.SQL("metadata.get", `SELECT metadata, supertokens FROM {p}user_metadata WHERE user_id = $1`)

// GetMetadata reads the metadata of a person. It is free where the facts of that person on any tenant are remembered.
func GetMetadata(ctx context.Context, b *store.Backend, userID string) (UserMetadata, error) {
	if m, ok := store.Recall[UserMetadata](ctx, b, store.Facts, metadataKey(userID)); ok {
		return m, nil
	}
	m, err := ReadMetadata(ctx, b, userID)
	if err == nil {
		b.Keep(ctx, store.Facts, metadataKey(userID), m)
	}
	return m, err
}

// ReadMetadata is GetMetadata for somebody who is about to write: from the database, whatever is remembered.
func ReadMetadata(ctx context.Context, b *store.Backend, userID string) (m UserMetadata, err error) {
	m.HasMetadata, err = b.Row(ctx, getMetadata, []any{userID}, &m.Metadata, &m.Supertokens)
	return m, err
}

// GetTOTPDevices lists the verified devices of a person. It is free where the facts of that person on any tenant are remembered; otherwise it reads
// those on the tenant that most sessions are of.
func GetTOTPDevices(ctx context.Context, b *store.Backend, userID string) ([]TOTPDevice, error) {
	if devices, ok := store.Recall[[]TOTPDevice](ctx, b, store.Facts, totpKey(userID)); ok {
		return devices, nil
	}
	f, err := Get(ctx, b, tenantid.Public, userID)
	if err != nil {
		return nil, err
	}
	return f.TOTPDevices, nil
}

func factsKey(tenantID, userID string) string { return "facts\x00" + tenantID + "\x00" + userID }
func tenantKey(id string) string              { return "tenant\x00" + id }
func metadataKey(id string) string            { return "metadata\x00" + id }
func totpKey(id string) string                { return "totp\x00" + id }

// ParseTenant makes a Tenant of the columns of its row.
func ParseTenant(id string, firstFactors, requiredSecondaryFactors *string, coreConfig string) (*Tenant, error) {
	t := &Tenant{ID: id, CoreConfig: coreConfig}
	err := errors.Join(parseList(firstFactors, &t.FirstFactors), parseList(requiredSecondaryFactors, &t.RequiredSecondaryFactors))
	if err != nil {
		return nil, fmt.Errorf("storage: the lists of factors of the tenant %s are unreadable: %w", id, err)
	}
	return t, nil
}

func parseList(text *string, list *[]factor.ID) error {
	if text == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(*text), list); err != nil {
		return err
	}
	if *list == nil {
		return errors.New("null is no list")
	}
	return nil
}
