package userroles

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/session"
)

// Claims are those that the configuration puts into new sessions. Only mfa.New can call it.
func (r *Recipe) Claims(env.Key) []session.Claim {
	var claims []session.Claim
	if r.config.AddRolesToAccessToken {
		claims = append(claims, UserRoleClaim)
	}
	if r.config.AddPermissionsToAccessToken {
		claims = append(claims, PermissionClaim)
	}
	return claims
}

func (r *Recipe) fetchRoles(ctx context.Context, in env.FetchInput) (any, bool, error) {
	roles, err := r.GetRolesForUser(ctx, in.TenantID, in.UserID)
	return roles, err == nil, err
}

// largePermissions is about half of what a cookie takes.
const largePermissions = 2 << 10

// fetchPermissions goes through the table like everybody: whose override hides a role also hides its permissions. What the original
// GetPermissionsForRole would read role by role, it finds in ctx, where one query put it.
func (r *Recipe) fetchPermissions(ctx context.Context, in env.FetchInput) (any, bool, error) {
	roles, err := r.GetRolesForUser(ctx, in.TenantID, in.UserID)
	if err != nil {
		return nil, false, err
	}
	ctx = context.WithValue(ctx, preloadKey{}, &preload{tenantID: in.TenantID, userID: in.UserID})
	all := []string{}
	seen := map[string]bool{}
	for _, role := range roles {
		permissions, err := r.GetPermissionsForRole(ctx, role)
		if errors.Is(err, ErrUnknownRole) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, false, err
		}
		for _, p := range permissions {
			if !seen[p] {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	if size, _ := json.Marshal(all); len(size) > largePermissions {
		r.env.Logger.WarnContext(ctx, "the permissions of a user fill much of the access token, which must fit into a cookie of 4 KiB",
			"userId", in.UserID, "tenantId", in.TenantID, "bytes", len(size))
	}
	return all, true, nil
}

type preloadKey struct{}

// preload holds the permissions of all roles of one user, read when the first of them is asked for.
type preload struct {
	tenantID, userID string
	once             sync.Once
	byRole           map[string][]string
	err              error
}

var userPermissions = store.SQL("permissions.of.user", `SELECT u.role, p.permission FROM {p}user_roles u
LEFT JOIN {p}role_permissions p ON p.role = u.role WHERE u.tenant_id = $1 AND u.user_id = $2 ORDER BY u.role, p.permission`)

type rolePermission struct {
	role       string
	permission *string
}

func (p *preload) of(ctx context.Context, b *store.Backend, role string) ([]string, bool, error) {
	p.once.Do(func() {
		rows, err := store.Rows(ctx, b, userPermissions, []any{p.tenantID, p.userID}, func(scan func(...any) error) (r rolePermission, err error) {
			err = scan(&r.role, &r.permission)
			return r, err
		})
		p.err = err
		p.byRole = make(map[string][]string, len(rows))
		for _, r := range rows {
			if p.byRole[r.role] == nil {
				p.byRole[r.role] = []string{}
			}
			if r.permission != nil {
				p.byRole[r.role] = append(p.byRole[r.role], *r.permission)
			}
		}
	})
	permissions, ok := p.byRole[role]
	return slices.Clone(permissions), ok, p.err
}
