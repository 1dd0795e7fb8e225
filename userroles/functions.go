package userroles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/session"
)

const (
	maxName     = 255 // characters
	maxPage     = 500
	defaultPage = 100
	// maxTries ends what starts over because others change roles and tenants at the same time.
	maxTries = 100
)

var errBusy = errors.New("userroles: roles or tenants keep changing")

func badInput(problem string) error { return &session.BadInputError{Message: problem} }

func checkName(field, empty, name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return "", badInput(empty)
	}
	if utf8.RuneCountInString(name) > maxName {
		return "", badInput(fmt.Sprintf("%s must not be longer than %d characters", field, maxName))
	}
	if p := input.Text(field, name); p != "" {
		return "", badInput(p)
	}
	return name, nil
}

func checkRole(role string) (string, error) {
	return checkName("role", "Field name 'role' cannot be an empty String", role)
}

func checkPermission(permission string) (string, error) {
	return checkName("permission", "Field name 'permissions' cannot contain an empty string", permission)
}

// checkPermissions returns them sorted, the order of locks, and without repeats.
func checkPermissions(permissions []string) ([]string, error) {
	checked := make([]string, len(permissions))
	for i, p := range permissions {
		var err error
		if checked[i], err = checkPermission(p); err != nil {
			return nil, err
		}
	}
	slices.Sort(checked)
	return slices.Compact(checked), nil
}

func checkUser(tenantID, userID string) (string, error) {
	if p := input.UserID("userId", userID); p != "" {
		return "", badInput(p)
	}
	return checkTenant(tenantID)
}

func checkTenant(tenantID string) (string, error) {
	normal, ok := tenantid.Normalise(tenantID)
	if !ok {
		return "", session.ErrTenantNotFound
	}
	return normal, nil
}

var (
	addRole = store.SQL("role.add", `INSERT INTO {p}user_roles (tenant_id, user_id, role)
SELECT t.tenant_id, CAST($2 AS TEXT), r.role FROM {p}tenants t CROSS JOIN {p}roles r WHERE t.tenant_id = $1 AND r.role = $3 ON CONFLICT DO NOTHING`)
	whyRole = store.SQL("role.why", `SELECT (SELECT count(*) FROM {p}tenants WHERE tenant_id = $1),
	(SELECT count(*) FROM {p}roles WHERE role = $3),
	(SELECT count(*) FROM {p}user_roles WHERE tenant_id = $1 AND user_id = $2 AND role = $3)`)
	removeRole = store.SQL("role.remove", `DELETE FROM {p}user_roles WHERE tenant_id = $1 AND user_id = $2 AND role = $3`)
	usersPage  = store.SQL("role.users", `SELECT user_id FROM {p}user_roles WHERE role = $1 AND tenant_id = $2 AND user_id > $3
ORDER BY user_id LIMIT $4`)
	copyRoles = store.SQL("roles.copy", `INSERT INTO {p}user_roles (tenant_id, user_id, role)
SELECT f.tenant_id, CAST($2 AS TEXT), f.role FROM {p}user_roles f WHERE f.user_id = $1 ORDER BY f.tenant_id, f.role ON CONFLICT DO NOTHING`)
	// Only what was copied: a role that was given meanwhile stays.
	dropRoles = store.SQL("roles.drop", `DELETE FROM {p}user_roles WHERE user_id = $1 AND EXISTS (SELECT 1 FROM {p}user_roles c
WHERE c.user_id = $2 AND c.tenant_id = {p}user_roles.tenant_id AND c.role = {p}user_roles.role)`)
)

// why finds out what an insertion or deletion of no row means: no such tenant, no such role, or whether the user has the role now.
func (r *Recipe) why(ctx context.Context, tenantID, userID, role string) (has bool, err error) {
	var tenants, roles, assigned int
	if _, err := r.env.Store.Row(ctx, whyRole, []any{tenantID, userID, role}, &tenants, &roles, &assigned); err != nil {
		return false, err
	}
	switch {
	case tenants == 0:
		return false, session.ErrTenantNotFound
	case roles == 0:
		return false, ErrUnknownRole
	}
	return assigned > 0, nil
}

func (r *Recipe) addRoleToUser(ctx context.Context, in AddRoleToUserInput) (AddRoleToUserResult, error) {
	tenantID, err := checkUser(in.TenantID, in.UserID)
	if err != nil {
		return AddRoleToUserResult{}, err
	}
	role, err := checkRole(in.Role)
	if err != nil {
		return AddRoleToUserResult{}, err
	}
	defer r.env.Store.Forget(ctx, store.Facts)
	for range maxTries {
		n, err := r.env.Store.Exec(ctx, addRole, tenantID, in.UserID, role)
		if n == 1 {
			return AddRoleToUserResult{}, nil
		}
		if err != nil && !r.env.Store.IsForeignKey(err) { // the role or the tenant was deleted beside it
			return AddRoleToUserResult{}, err
		}
		has, err := r.why(ctx, tenantID, in.UserID, role)
		if has || err != nil {
			return AddRoleToUserResult{DidUserAlreadyHaveRole: has}, err
		}
	}
	return AddRoleToUserResult{}, errBusy
}

func (r *Recipe) removeUserRole(ctx context.Context, in RemoveUserRoleInput) (RemoveUserRoleResult, error) {
	tenantID, err := checkUser(in.TenantID, in.UserID)
	if err != nil {
		return RemoveUserRoleResult{}, err
	}
	role, err := checkRole(in.Role)
	if err != nil {
		return RemoveUserRoleResult{}, err
	}
	defer r.env.Store.Forget(ctx, store.Facts)
	n, err := r.env.Store.Exec(ctx, removeRole, tenantID, in.UserID, role)
	if n == 0 && err == nil {
		_, err = r.why(ctx, tenantID, in.UserID, role)
	}
	return RemoveUserRoleResult{DidUserHaveRole: n > 0}, err
}

func (r *Recipe) getRolesForUser(ctx context.Context, in GetRolesForUserInput) ([]string, error) {
	tenantID, err := checkUser(in.TenantID, in.UserID)
	if err != nil {
		return nil, err
	}
	f, err := facts.Get(ctx, r.env.Store, tenantID, in.UserID)
	if err != nil {
		return nil, err
	}
	if f.Tenant == nil {
		return nil, session.ErrTenantNotFound
	}
	return append([]string{}, f.Roles...), nil
}

func (r *Recipe) getUsersThatHaveRole(ctx context.Context, in GetUsersThatHaveRoleInput) (GetUsersThatHaveRoleResult, error) {
	var result GetUsersThatHaveRoleResult
	tenantID, err := checkTenant(in.TenantID)
	if err != nil {
		return result, err
	}
	role, err := checkRole(in.Role)
	if err != nil {
		return result, err
	}
	limit := in.Limit
	if limit == 0 {
		limit = defaultPage
	}
	if limit < 0 || limit > maxPage {
		return result, badInput(fmt.Sprintf("limit must be 1 to %d", maxPage))
	}
	if p := input.Text("after", in.After); p != "" {
		return result, badInput(p)
	}
	ids, err := store.Rows(ctx, r.env.Store, usersPage, []any{role, tenantID, in.After, limit + 1}, store.Text)
	if err != nil {
		return result, err
	}
	if len(ids) == 0 {
		if _, err := r.why(ctx, tenantID, "", role); err != nil {
			return result, err
		}
	}
	if len(ids) > limit {
		ids = ids[:limit]
		result.Next = ids[limit-1]
	}
	result.UserIDs = append([]string{}, ids...)
	return result, nil
}

func (r *Recipe) moveRoles(ctx context.Context, in MoveRolesInput) error {
	for _, id := range []string{in.FromUserID, in.ToUserID} {
		if p := input.UserID("userId", id); p != "" {
			return badInput(p)
		}
	}
	if in.FromUserID == in.ToUserID {
		return nil
	}
	defer r.env.Store.Forget(ctx, store.Facts)
	for range maxTries {
		err := r.env.Store.Tx(ctx, func(ctx context.Context) error {
			if _, err := r.env.Store.Exec(ctx, copyRoles, in.FromUserID, in.ToUserID); err != nil {
				return err
			}
			_, err := r.env.Store.Exec(ctx, dropRoles, in.FromUserID, in.ToUserID)
			return err
		})
		if err == nil || !r.env.Store.IsForeignKey(err) || r.env.Store.InTx(ctx) { // a role was deleted beside it: again, without it
			return err
		}
	}
	return errBusy
}
