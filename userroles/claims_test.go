package userroles_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/userroles"
)

func fetch(t *testing.T, r *instance, ctx context.Context, claim session.Claim, tenantID string) any {
	t.Helper()
	value, ok, err := claim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: tenantID, UserID: "u1", RecipeUserID: "login-method"})
	require.NoError(t, err)
	require.True(t, ok)
	return value
}

// D-08: roles are those of the person, not of the login method.
func TestClaims(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin", "read", "write")
		newRole(t, r, "editor", "write", "edit")
		newRole(t, r, "guest")
		newRole(t, r, "elsewhere", "secret")
		give(t, r, "public", "u1", "editor", "admin", "guest")
		give(t, r, "t1", "u1", "elsewhere")
		give(t, r, "public", "login-method", "elsewhere")

		require.Equal(t, []string{"admin", "editor", "guest"}, fetch(t, r, ctx, userroles.UserRoleClaim, "public"))
		require.Equal(t, []string{"elsewhere"}, fetch(t, r, ctx, userroles.UserRoleClaim, "t1"))
		db.Probe.Reset()
		require.Equal(t, []string{"read", "write", "edit"}, fetch(t, r, ctx, userroles.PermissionClaim, "public"), "role by role, first seen first")
		require.Equal(t, 2, db.Probe.Count(), "however many roles there are")
		require.Equal(t, []string{"secret"}, fetch(t, r, ctx, userroles.PermissionClaim, "t1"))

		ctx = db.Backend.Remember(ctx)
		db.Probe.Reset()
		fetch(t, r, ctx, userroles.UserRoleClaim, "public")
		fetch(t, r, ctx, userroles.PermissionClaim, "public")
		require.Equal(t, 2, db.Probe.Count())

		nobody := session.FetchValueInput{TenantID: "public", UserID: "nobody"}
		for _, claim := range []session.Claim{userroles.UserRoleClaim, userroles.PermissionClaim} {
			value, ok, err := claim.FetchValue(r.env.Bind(ctx), nobody)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, []string{}, value, "none, not absent")
		}
	})
}

func TestClaimsOfNewSessionsAreOffByDefault(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	for want, cfg := range map[string]userroles.Config{
		"":                {},
		"st-role":         {AddRolesToAccessToken: true},
		"st-perm":         {AddPermissionsToAccessToken: true},
		"st-role st-perm": {AddRolesToAccessToken: true, AddPermissionsToAccessToken: true},
	} {
		var keys []string
		for _, claim := range attach(t, db, cfg).Claims(env.Key{}) {
			keys = append(keys, claim.Key())
		}
		require.Equal(t, want, strings.Join(keys, " "))
	}
}

func TestValidatorsOfTheClaims(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	payload := userroles.UserRoleClaim.AddToPayload(nil, []string{"admin"})
	v := userroles.UserRoleClaim.Includes("admin")
	require.Equal(t, "st-role", v.ID)
	result, err := v.Validate(ctx, payload)
	require.NoError(t, err)
	require.True(t, result.IsValid)
	require.True(t, v.ShouldRefetch(ctx, map[string]any{}), "absent is fetched")
	result, err = userroles.PermissionClaim.IncludesAll([]string{"read"}).Validate(ctx, payload)
	require.NoError(t, err)
	require.False(t, result.IsValid)
}

// The claims follow overrides: whoever hides a role hides its permissions, and whoever adds one adds them.
func TestClaimsGoThroughOverrides(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		failure := errors.New("directory is down")
		r := attach(t, db, userroles.Config{Override: userroles.Override{
			Functions: func(original userroles.Functions, functions *userroles.Functions) {
				functions.GetRolesForUser = func(ctx context.Context, in userroles.GetRolesForUserInput) ([]string, error) {
					switch in.UserID {
					case "down":
						return nil, failure
					case "panics":
						panic("override")
					}
					roles, err := original.GetRolesForUser(ctx, in)
					for i, role := range roles {
						if role == "suspended" {
							roles[i] = "from-directory"
						}
					}
					return append(roles, "vanished"), err
				}
				functions.GetPermissionsForRole = func(ctx context.Context, in userroles.GetPermissionsForRoleInput) ([]string, error) {
					permissions, err := original.GetPermissionsForRole(ctx, in)
					if err == nil && in.Role == "admin" {
						permissions = append(permissions, "extra")
					}
					return permissions, err
				}
			},
		}})
		newRole(t, r, "admin", "read")
		newRole(t, r, "suspended", "hidden")
		newRole(t, r, "from-directory", "listed")
		give(t, r, "public", "u1", "admin", "suspended")
		require.Equal(t, []string{"admin", "from-directory", "vanished"}, fetch(t, r, ctx, userroles.UserRoleClaim, "public"))
		require.Equal(t, []string{"read", "extra", "listed"}, fetch(t, r, ctx, userroles.PermissionClaim, "public"))

		// C-02
		for _, claim := range []session.Claim{userroles.UserRoleClaim, userroles.PermissionClaim} {
			value, ok, err := claim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: "public", UserID: "down"})
			require.ErrorIs(t, err, failure)
			require.False(t, ok)
			require.Empty(t, value)
			require.PanicsWithValue(t, "override", func() {
				claim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: "public", UserID: "panics"})
			})
		}
	})
}

func TestPermissionsThatFillTheTokenAreLogged(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	r := attach(t, db, userroles.Config{})
	newRole(t, r, "small", "read")
	give(t, r, "public", "u1", "small")
	fetch(t, r, context.Background(), userroles.PermissionClaim, "public")
	require.Empty(t, r.log.String())
	for i := range 20 {
		newRole(t, r, "large", fmt.Sprint(i)+strings.Repeat("x", 100))
	}
	give(t, r, "public", "u1", "large")
	fetch(t, r, context.Background(), userroles.PermissionClaim, "public")
	require.Contains(t, r.log.String(), "level=WARN")
	require.Contains(t, r.log.String(), "userId=u1 tenantId=public bytes=2")
}
