package userroles

import (
	"context"

	"github.com/stepup-auth/stepup/internal/store"
)

var (
	makeRole = store.SQL("role.new", `INSERT INTO {p}roles (role) VALUES ($1) ON CONFLICT (role) DO NOTHING`)
	// A role that is locked cannot be deleted before its permissions are written.
	lockRole        = store.SQL("role.lock", `SELECT role FROM {p}roles WHERE role = $1 {lock}`)
	roleKnown       = store.SQL("role.known", `SELECT role FROM {p}roles WHERE role = $1`)
	addPermission   = store.SQL("permission.add", `INSERT INTO {p}role_permissions (role, permission) VALUES ($1, $2) ON CONFLICT DO NOTHING`)
	dropPermission  = store.SQL("permission.remove", `DELETE FROM {p}role_permissions WHERE role = $1 AND permission = $2`)
	dropPermissions = store.SQL("permission.remove.all", `DELETE FROM {p}role_permissions WHERE role = $1`)
	rolePermissions = store.SQL("permission.list", `SELECT p.permission FROM {p}roles r LEFT JOIN {p}role_permissions p ON p.role = r.role
WHERE r.role = $1 ORDER BY p.permission`)
	permissionRoles = store.SQL("permission.roles", `SELECT role FROM {p}role_permissions WHERE permission = $1 ORDER BY role`)
	deleteRole      = store.SQL("role.delete", `DELETE FROM {p}roles WHERE role = $1`)
	allRoles        = store.SQL("role.list", `SELECT role FROM {p}roles ORDER BY role`)
)

func (r *Recipe) createNewRoleOrAddPermissions(
	ctx context.Context, in CreateNewRoleOrAddPermissionsInput,
) (result CreateNewRoleOrAddPermissionsResult, err error) {
	role, err := checkRole(in.Role)
	if err != nil {
		return result, err
	}
	permissions, err := checkPermissions(in.Permissions)
	if err != nil {
		return result, err
	}
	err = r.env.Store.Tx(ctx, func(ctx context.Context) error {
		var err error
		if result.CreatedNewRole, err = r.makeOrLock(ctx, role); err != nil {
			return err
		}
		for _, permission := range permissions {
			if _, err := r.env.Store.Exec(ctx, addPermission, role, permission); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return CreateNewRoleOrAddPermissionsResult{}, err
	}
	return result, nil
}

// makeOrLock makes sure, in its transaction, that the role exists until that ends.
func (r *Recipe) makeOrLock(ctx context.Context, role string) (made bool, err error) {
	for range maxTries {
		n, err := r.env.Store.Exec(ctx, makeRole, role)
		if n == 1 || err != nil {
			return n == 1, err
		}
		if found, err := r.env.Store.Row(ctx, lockRole, []any{role}); found || err != nil {
			return false, err
		}
	}
	return false, errBusy
}

func (r *Recipe) getPermissionsForRole(ctx context.Context, in GetPermissionsForRoleInput) ([]string, error) {
	role, err := checkRole(in.Role)
	if err != nil {
		return nil, err
	}
	if p, ok := ctx.Value(preloadKey{}).(*preload); ok {
		if permissions, ok, err := p.of(ctx, r.env.Store, role); ok || err != nil {
			return permissions, err
		}
	}
	rows, err := store.Rows(ctx, r.env.Store, rolePermissions, []any{role}, func(scan func(...any) error) (p *string, err error) {
		err = scan(&p)
		return p, err
	})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, ErrUnknownRole
	}
	permissions := make([]string, 0, len(rows))
	for _, p := range rows {
		if p != nil { // a role without any has one row
			permissions = append(permissions, *p)
		}
	}
	return permissions, nil
}

func (r *Recipe) removePermissionsFromRole(ctx context.Context, in RemovePermissionsFromRoleInput) error {
	role, err := checkRole(in.Role)
	if err != nil {
		return err
	}
	permissions, err := checkPermissions(in.Permissions)
	if err != nil {
		return err
	}
	return r.env.Store.Tx(ctx, func(ctx context.Context) error {
		found, err := r.env.Store.Row(ctx, lockRole, []any{role})
		if err != nil {
			return err
		}
		if !found {
			return ErrUnknownRole
		}
		for _, permission := range permissions {
			if _, err := r.env.Store.Exec(ctx, dropPermission, role, permission); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *Recipe) removeAllPermissionsFromRole(ctx context.Context, in RemoveAllPermissionsFromRoleInput) error {
	role, err := checkRole(in.Role)
	if err != nil {
		return err
	}
	n, err := r.env.Store.Exec(ctx, dropPermissions, role)
	if n > 0 || err != nil {
		return err
	}
	known, err := r.env.Store.Row(ctx, roleKnown, []any{role})
	if err == nil && !known {
		err = ErrUnknownRole
	}
	return err
}

func (r *Recipe) getRolesThatHavePermission(ctx context.Context, in GetRolesThatHavePermissionInput) ([]string, error) {
	permission, err := checkPermission(in.Permission)
	if err != nil {
		return nil, err
	}
	roles, err := store.Rows(ctx, r.env.Store, permissionRoles, []any{permission}, store.Text)
	if err != nil {
		return nil, err
	}
	return append([]string{}, roles...), nil
}

func (r *Recipe) deleteRole(ctx context.Context, in DeleteRoleInput) (DeleteRoleResult, error) {
	role, err := checkRole(in.Role)
	if err != nil {
		return DeleteRoleResult{}, err
	}
	defer r.env.Store.Forget(ctx, store.Facts)
	n, err := r.env.Store.Exec(ctx, deleteRole, role) // its permissions and assignments go by foreign key
	return DeleteRoleResult{DidRoleExist: n > 0}, err
}

func (r *Recipe) getAllRoles(ctx context.Context, _ GetAllRolesInput) ([]string, error) {
	roles, err := store.Rows(ctx, r.env.Store, allRoles, nil, store.Text)
	if err != nil {
		return nil, err
	}
	return append([]string{}, roles...), nil
}
