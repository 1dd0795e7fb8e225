package users

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

// What Insert refuses. Nothing was written then.
var (
	ErrIDTaken       = errors.New("users: the id is taken")
	ErrInfoTaken     = errors.New("users: another login method of the recipe has the account info on the tenant")
	ErrUnknownTenant = errors.New("users: no such tenant")
)

var (
	insertRow = store.SQL("user.insert", `INSERT INTO {p}recipe_users (user_id, group_id, is_primary, version, recipe_id, time_joined, email,
	email_verified, phone, third_party_id, third_party_user_id)
VALUES ($1, $1, FALSE, 1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_id) DO NOTHING`)
	joinTenant = store.SQL("user.join", `INSERT INTO {p}user_tenants (user_id, tenant_id, recipe_id, group_id, group_time, email, phone,
	third_party_id, third_party_user_id)
SELECT u.user_id, n.tenant_id, u.recipe_id, u.group_id, CAST($3 AS BIGINT), u.email, u.phone, u.third_party_id, u.third_party_user_id
FROM {p}recipe_users u CROSS JOIN {p}tenants n WHERE u.user_id = $1 AND u.recipe_id <> '' AND n.tenant_id = $2 ON CONFLICT DO NOTHING`)
	deleteRow   = store.SQL("user.delete", `DELETE FROM {p}recipe_users WHERE user_id = $1`)
	tenantKnown = store.SQL("tenant.known", `SELECT tenant_id FROM {p}tenants WHERE tenant_id = $1`)
)

// Insert makes a login method, alone in its group, on the tenants that the row names; its group and version are given here. It joins the transaction
// of ctx or runs in one of its own, and is remembered only in the second case: see Keep.
func Insert(ctx context.Context, b *store.Backend, row Row) (*Group, error) {
	row.GroupID, row.Version = row.UserID, 1
	row.TimeJoined = time.UnixMilli(row.TimeJoined.UnixMilli()).UTC() // as it will be read
	row.TenantIDs = slices.Sorted(slices.Values(row.TenantIDs))       // the order of locks
	err := b.Tx(ctx, func(ctx context.Context) error {
		defer b.Forget(ctx, store.Users, store.Lists)
		n, err := b.Exec(ctx, insertRow, row.UserID, row.RecipeID, row.TimeJoined.UnixMilli(), row.Email, row.EmailVerified, row.Phone,
			row.ThirdPartyID, row.ThirdPartyUserID)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrIDTaken
		}
		for _, tenantID := range row.TenantIDs {
			n, err := b.Exec(ctx, joinTenant, row.UserID, tenantID, row.TimeJoined.UnixMilli())
			if err != nil {
				return err
			}
			if n == 0 {
				return refused(ctx, b, row.UserID, tenantID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	g := &Group{ID: row.UserID, Version: row.Version, Members: []Row{row}}
	Keep(ctx, b, g)
	return g, nil
}

// refused takes the row back, since a transaction of the host's may be committed all the same, and finds out why it could not join the tenant.
func refused(ctx context.Context, b *store.Backend, userID, tenantID string) error {
	if _, err := b.Exec(ctx, deleteRow, userID); err != nil {
		return err
	}
	known, err := b.Row(ctx, tenantKnown, []any{tenantID})
	if err != nil {
		return err
	}
	if !known {
		return ErrUnknownTenant
	}
	return ErrInfoTaken
}
