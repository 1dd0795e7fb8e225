// Package userroles gives users roles, and roles permissions.
//
// A role is a name. It is made once, holds permissions, which are names too, and is given to a user on a tenant:
//
//	roles := auth.UserRoles()
//	_, err := roles.CreateNewRoleOrAddPermissions(ctx, "admin", "users:read", "users:write")
//	_, err = roles.AddRoleToUser(ctx, session.PublicTenant, user.ID, "admin")
//
// A policy asks for the roles with in.Roles(ctx), a route with a validator of a claim:
//
//	mux.Handle("GET /admin", auth.Sessions().Verify(admin, userroles.UserRoleClaim.Includes("admin", session.MaxAge(time.Minute))))
//
// Give roles to the id of the person ([accountlinking.User.ID], [session.Session.UserID]), not to that of a login method: linking moves none, see
// [Recipe.MoveRoles].
//
// A role that is taken away stays in the access tokens that hold it until the claim is fetched anew. A host that cannot wait validates with
// [session.MaxAge], as above, or revokes the user's sessions.
package userroles

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/session"
)

// Config of the recipe, which always exists.
type Config struct {
	// AddRolesToAccessToken and AddPermissionsToAccessToken put the claims st-role and st-perm into every new session. Policies and validators
	// see the roles either way: a validator fetches a claim that is absent. A token with all its claims must fit into a cookie of 4 KiB.
	AddRolesToAccessToken       bool
	AddPermissionsToAccessToken bool
	Override                    Override
}

// Override changes what the recipe does.
type Override struct {
	// Functions gets the functions as they are, and changes the table that everything in this module calls, the claims included. A field set to nil
	// is an error at the start.
	Functions func(original Functions, functions *Functions)
}

// The claims. Their values are fetched by the instance whose session is validated: the roles that the session's user has on the session's tenant,
// and the permissions of these roles.
var (
	UserRoleClaim   = session.NewArrayClaim[string]("st-role", nil)
	PermissionClaim = session.NewArrayClaim[string]("st-perm", nil)
)

// ErrUnknownRole: there is no such role. An unknown tenant is session.ErrTenantNotFound.
var ErrUnknownRole = session.NewRefusal("UNKNOWN_ROLE_ERROR", "unknown role")

// Functions is what the recipe does. Lists are sorted and never nil. Roles and permissions are trimmed; empty ones, ones of more than 255
// characters, user ids that are empty or longer than 128, and text that is not valid UTF-8 or holds U+0000 are a *session.BadInputError. Nobody
// checks that there is a user with the id. Every function that takes a tenant returns session.ErrTenantNotFound for one that does not exist.
type Functions struct {
	// AddRoleToUser gives a role; ErrUnknownRole.
	AddRoleToUser func(ctx context.Context, in AddRoleToUserInput) (AddRoleToUserResult, error)
	// RemoveUserRole takes a role away; ErrUnknownRole. Access tokens that hold it keep it: see the package comment.
	RemoveUserRole func(ctx context.Context, in RemoveUserRoleInput) (RemoveUserRoleResult, error)
	// GetRolesForUser lists the roles of a user on a tenant. An error is never an empty list.
	GetRolesForUser func(ctx context.Context, in GetRolesForUserInput) ([]string, error)
	// GetUsersThatHaveRole lists user ids, in pages; ErrUnknownRole.
	GetUsersThatHaveRole func(ctx context.Context, in GetUsersThatHaveRoleInput) (GetUsersThatHaveRoleResult, error)
	// CreateNewRoleOrAddPermissions makes the role unless it exists, and adds permissions; it removes none. All in one step.
	CreateNewRoleOrAddPermissions func(ctx context.Context, in CreateNewRoleOrAddPermissionsInput) (CreateNewRoleOrAddPermissionsResult, error)
	// GetPermissionsForRole lists the permissions; ErrUnknownRole.
	GetPermissionsForRole func(ctx context.Context, in GetPermissionsForRoleInput) ([]string, error)
	// RemovePermissionsFromRole removes the given permissions, where the role has them; ErrUnknownRole. An empty list removes none.
	RemovePermissionsFromRole func(ctx context.Context, in RemovePermissionsFromRoleInput) error
	// RemoveAllPermissionsFromRole leaves the role without any; ErrUnknownRole.
	RemoveAllPermissionsFromRole func(ctx context.Context, in RemoveAllPermissionsFromRoleInput) error
	// GetRolesThatHavePermission lists roles; none for a permission that nobody knows.
	GetRolesThatHavePermission func(ctx context.Context, in GetRolesThatHavePermissionInput) ([]string, error)
	// DeleteRole takes the role from all users on all tenants and deletes it. It need not exist.
	DeleteRole func(ctx context.Context, in DeleteRoleInput) (DeleteRoleResult, error)
	// GetAllRoles lists all roles.
	GetAllRoles func(ctx context.Context, in GetAllRolesInput) ([]string, error)
	// MoveRoles gives all roles of one user, on all tenants, to another, in one step.
	MoveRoles func(ctx context.Context, in MoveRolesInput) error
}

type (
	// AddRoleToUserInput is the input of AddRoleToUser.
	AddRoleToUserInput struct{ TenantID, UserID, Role string }
	// AddRoleToUserResult is the result of AddRoleToUser.
	AddRoleToUserResult struct{ DidUserAlreadyHaveRole bool }
	// RemoveUserRoleInput is the input of RemoveUserRole.
	RemoveUserRoleInput struct{ TenantID, UserID, Role string }
	// RemoveUserRoleResult is the result of RemoveUserRole.
	RemoveUserRoleResult struct{ DidUserHaveRole bool }
	// GetRolesForUserInput is the input of GetRolesForUser.
	GetRolesForUserInput struct{ TenantID, UserID string }
	// GetUsersThatHaveRoleInput is the input of GetUsersThatHaveRole.
	GetUsersThatHaveRoleInput struct {
		TenantID, Role string
		Limit          int    // 1 to 500; 0 is 100
		After          string // Next of the page before
	}
	// GetUsersThatHaveRoleResult is a page of user ids.
	GetUsersThatHaveRoleResult struct {
		UserIDs []string
		Next    string // "" on the last page
	}
	// CreateNewRoleOrAddPermissionsInput is the input of CreateNewRoleOrAddPermissions.
	CreateNewRoleOrAddPermissionsInput struct {
		Role        string
		Permissions []string
	}
	// CreateNewRoleOrAddPermissionsResult is the result of CreateNewRoleOrAddPermissions.
	CreateNewRoleOrAddPermissionsResult struct{ CreatedNewRole bool }
	// GetPermissionsForRoleInput is the input of GetPermissionsForRole.
	GetPermissionsForRoleInput struct{ Role string }
	// RemovePermissionsFromRoleInput is the input of RemovePermissionsFromRole.
	RemovePermissionsFromRoleInput struct {
		Role        string
		Permissions []string
	}
	// RemoveAllPermissionsFromRoleInput is the input of RemoveAllPermissionsFromRole.
	RemoveAllPermissionsFromRoleInput struct{ Role string }
	// GetRolesThatHavePermissionInput is the input of GetRolesThatHavePermission.
	GetRolesThatHavePermissionInput struct{ Permission string }
	// DeleteRoleInput is the input of DeleteRole.
	DeleteRoleInput struct{ Role string }
	// DeleteRoleResult is the result of DeleteRole.
	DeleteRoleResult struct{ DidRoleExist bool }
	// GetAllRolesInput is the input of GetAllRoles.
	GetAllRolesInput struct{}
	// MoveRolesInput is the input of MoveRoles.
	MoveRolesInput struct{ FromUserID, ToUserID string }
)

// Recipe is the handle, safe for concurrent use. The zero value is of no use: mfa.New makes it.
type Recipe struct {
	env       *env.Env
	config    Config
	functions Functions
}

// Attach makes the recipe. Only mfa.New can call it.
func Attach(e *env.Env, cfg Config) (*Recipe, error) {
	r := &Recipe{env: e, config: cfg}
	r.functions = table.Override(Functions{
		AddRoleToUser: r.addRoleToUser, RemoveUserRole: r.removeUserRole, GetRolesForUser: r.getRolesForUser,
		GetUsersThatHaveRole: r.getUsersThatHaveRole, CreateNewRoleOrAddPermissions: r.createNewRoleOrAddPermissions,
		GetPermissionsForRole: r.getPermissionsForRole, RemovePermissionsFromRole: r.removePermissionsFromRole,
		RemoveAllPermissionsFromRole: r.removeAllPermissionsFromRole, GetRolesThatHavePermission: r.getRolesThatHavePermission,
		DeleteRole: r.deleteRole, GetAllRoles: r.getAllRoles, MoveRoles: r.moveRoles,
	}, cfg.Override.Functions)
	if err := errors.Join(table.Missing(r.functions, "UserRoles.Override.Functions")...); err != nil {
		return nil, err
	}
	if e.FetchClaim == nil {
		e.FetchClaim = map[string]env.FetchFunc{}
	}
	e.FetchClaim[UserRoleClaim.Key()] = r.fetchRoles
	e.FetchClaim[PermissionClaim.Key()] = r.fetchPermissions
	return r, nil
}

// AddRoleToUser gives a user a role on a tenant.
func (r *Recipe) AddRoleToUser(ctx context.Context, tenantID, userID, role string) (AddRoleToUserResult, error) {
	return r.functions.AddRoleToUser(r.env.Bind(ctx), AddRoleToUserInput{TenantID: tenantID, UserID: userID, Role: role})
}

// RemoveUserRole takes a role on a tenant from a user. Access tokens that hold it keep it: see the package comment.
func (r *Recipe) RemoveUserRole(ctx context.Context, tenantID, userID, role string) (RemoveUserRoleResult, error) {
	return r.functions.RemoveUserRole(r.env.Bind(ctx), RemoveUserRoleInput{TenantID: tenantID, UserID: userID, Role: role})
}

// GetRolesForUser lists the roles of a user on a tenant, sorted.
func (r *Recipe) GetRolesForUser(ctx context.Context, tenantID, userID string) ([]string, error) {
	return r.functions.GetRolesForUser(r.env.Bind(ctx), GetRolesForUserInput{TenantID: tenantID, UserID: userID})
}

// GetUsersThatHaveRole lists user ids, sorted, in pages.
func (r *Recipe) GetUsersThatHaveRole(ctx context.Context, in GetUsersThatHaveRoleInput) (GetUsersThatHaveRoleResult, error) {
	return r.functions.GetUsersThatHaveRole(r.env.Bind(ctx), in)
}

// CreateNewRoleOrAddPermissions makes the role unless it exists, and adds the permissions. Calling it at every start is fine.
func (r *Recipe) CreateNewRoleOrAddPermissions(ctx context.Context, role string, permissions ...string) (CreateNewRoleOrAddPermissionsResult, error) {
	return r.functions.CreateNewRoleOrAddPermissions(r.env.Bind(ctx), CreateNewRoleOrAddPermissionsInput{Role: role, Permissions: permissions})
}

// GetPermissionsForRole lists the permissions of a role, sorted.
func (r *Recipe) GetPermissionsForRole(ctx context.Context, role string) ([]string, error) {
	return r.functions.GetPermissionsForRole(r.env.Bind(ctx), GetPermissionsForRoleInput{Role: role})
}

// RemovePermissionsFromRole removes permissions; without any it removes none.
func (r *Recipe) RemovePermissionsFromRole(ctx context.Context, role string, permissions ...string) error {
	return r.functions.RemovePermissionsFromRole(r.env.Bind(ctx), RemovePermissionsFromRoleInput{Role: role, Permissions: permissions})
}

// RemoveAllPermissionsFromRole leaves a role without permissions.
func (r *Recipe) RemoveAllPermissionsFromRole(ctx context.Context, role string) error {
	return r.functions.RemoveAllPermissionsFromRole(r.env.Bind(ctx), RemoveAllPermissionsFromRoleInput{Role: role})
}

// GetRolesThatHavePermission lists the roles with a permission, sorted.
func (r *Recipe) GetRolesThatHavePermission(ctx context.Context, permission string) ([]string, error) {
	return r.functions.GetRolesThatHavePermission(r.env.Bind(ctx), GetRolesThatHavePermissionInput{Permission: permission})
}

// DeleteRole takes a role from all users and deletes it.
func (r *Recipe) DeleteRole(ctx context.Context, role string) (DeleteRoleResult, error) {
	return r.functions.DeleteRole(r.env.Bind(ctx), DeleteRoleInput{Role: role})
}

// GetAllRoles lists all roles, sorted.
func (r *Recipe) GetAllRoles(ctx context.Context) ([]string, error) {
	return r.functions.GetAllRoles(r.env.Bind(ctx), GetAllRolesInput{})
}

// MoveRoles gives all roles of one user, on all tenants, to another: for the moment when two accounts become one, which moves no roles by itself.
func (r *Recipe) MoveRoles(ctx context.Context, fromUserID, toUserID string) error {
	return r.functions.MoveRoles(r.env.Bind(ctx), MoveRolesInput{FromUserID: fromUserID, ToUserID: toUserID})
}
