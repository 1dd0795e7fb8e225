package userroles_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/userroles"
)

type instance struct {
	*userroles.Recipe
	env *env.Env
	log bytes.Buffer
}

func attach(t testing.TB, db *storetest.DB, cfg userroles.Config) *instance {
	t.Helper()
	i := &instance{}
	i.env = &env.Env{Store: db.Backend, Logger: slog.New(slog.NewTextHandler(&i.log, nil)), Clock: time.Now, Random: rand.Reader}
	r, err := userroles.Attach(i.env, cfg)
	require.NoError(t, err)
	i.Recipe = r
	return i
}

// each gives every database a recipe without overrides, and the tenant t1.
func each(t *testing.T, test func(t *testing.T, db *storetest.DB, r *instance)) {
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		_, err := db.Backend.Exec(context.Background(), newTenant, "t1")
		require.NoError(t, err)
		test(t, db, attach(t, db, userroles.Config{}))
	})
}

var newTenant = store.SQL("test.tenant", `INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ($1, '{}', 0)`)

func require400(t *testing.T, err error, message string) {
	t.Helper()
	var bad *session.BadInputError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, message, bad.Message)
}

func newRole(t testing.TB, r *instance, role string, permissions ...string) {
	t.Helper()
	_, err := r.CreateNewRoleOrAddPermissions(context.Background(), role, permissions...)
	require.NoError(t, err)
}

func give(t testing.TB, r *instance, tenantID, userID string, roles ...string) {
	t.Helper()
	for _, role := range roles {
		_, err := r.AddRoleToUser(context.Background(), tenantID, userID, role)
		require.NoError(t, err)
	}
}

func rolesOf(t testing.TB, r *instance, tenantID, userID string) []string {
	t.Helper()
	roles, err := r.GetRolesForUser(context.Background(), tenantID, userID)
	require.NoError(t, err)
	return roles
}

func TestRolesAndTheirPermissions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		all, err := r.GetAllRoles(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{}, all)

		created, err := r.CreateNewRoleOrAddPermissions(ctx, " admin ", "write", " read ", "read")
		require.NoError(t, err)
		require.True(t, created.CreatedNewRole)
		created, err = r.CreateNewRoleOrAddPermissions(ctx, "admin", "delete", "read")
		require.NoError(t, err)
		require.False(t, created.CreatedNewRole)
		created, err = r.CreateNewRoleOrAddPermissions(ctx, "Admin")
		require.NoError(t, err)
		require.True(t, created.CreatedNewRole, "the case is kept")
		newRole(t, r, "editor", "write")

		all, err = r.GetAllRoles(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"Admin", "admin", "editor"}, all)
		permissions := func(role string) []string {
			list, err := r.GetPermissionsForRole(ctx, role)
			require.NoError(t, err)
			return list
		}
		require.Equal(t, []string{"delete", "read", "write"}, permissions("admin"), "added, none removed")
		require.Equal(t, []string{}, permissions("Admin"))
		roles, err := r.GetRolesThatHavePermission(ctx, " write")
		require.NoError(t, err)
		require.Equal(t, []string{"admin", "editor"}, roles)
		roles, err = r.GetRolesThatHavePermission(ctx, "unknown")
		require.NoError(t, err)
		require.Equal(t, []string{}, roles)

		require.NoError(t, r.RemovePermissionsFromRole(ctx, "admin"), "without any it removes none")
		require.Equal(t, []string{"delete", "read", "write"}, permissions("admin"))
		require.NoError(t, r.RemovePermissionsFromRole(ctx, "admin", "read", "unknown", "write"))
		require.Equal(t, []string{"delete"}, permissions("admin"))
		require.NoError(t, r.RemoveAllPermissionsFromRole(ctx, "admin"))
		require.NoError(t, r.RemoveAllPermissionsFromRole(ctx, "admin"))
		require.Equal(t, []string{}, permissions("admin"))
		require.Equal(t, []string{"write"}, permissions("editor"))

		for _, call := range []func() error{
			func() error { _, err := r.GetPermissionsForRole(ctx, "unknown"); return err },
			func() error { return r.RemovePermissionsFromRole(ctx, "unknown") },
			func() error { return r.RemovePermissionsFromRole(ctx, "unknown", "read") },
			func() error { return r.RemoveAllPermissionsFromRole(ctx, "unknown") },
		} {
			require.ErrorIs(t, call(), userroles.ErrUnknownRole)
		}
	})
}

// S-10: a role on one tenant is none on another.
func TestRolesOfUsers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin")
		newRole(t, r, "editor")
		db.Probe.Reset()
		added, err := r.AddRoleToUser(ctx, "", "u1", " editor ")
		require.NoError(t, err)
		require.False(t, added.DidUserAlreadyHaveRole)
		require.Equal(t, 1, db.Probe.Count())
		db.Probe.Reset()
		added, err = r.AddRoleToUser(ctx, "Public", "u1", "editor")
		require.NoError(t, err)
		require.True(t, added.DidUserAlreadyHaveRole)
		require.Equal(t, 2, db.Probe.Count())
		give(t, r, "public", "u1", "admin")
		give(t, r, "t1", "u1", "editor")
		give(t, r, "t1", "u2", "admin")

		db.Probe.Reset()
		require.Equal(t, []string{"admin", "editor"}, rolesOf(t, r, "", "u1"))
		require.Equal(t, 1, db.Probe.Count())
		require.Equal(t, []string{"editor"}, rolesOf(t, r, " T1 ", "u1"))
		require.Equal(t, []string{}, rolesOf(t, r, "public", "u2"))
		require.Equal(t, []string{}, rolesOf(t, r, "public", "nobody"))

		removed, err := r.RemoveUserRole(ctx, "public", "u1", "editor")
		require.NoError(t, err)
		require.True(t, removed.DidUserHaveRole)
		removed, err = r.RemoveUserRole(ctx, "public", "u1", "editor")
		require.NoError(t, err)
		require.False(t, removed.DidUserHaveRole)
		require.Equal(t, []string{"admin"}, rolesOf(t, r, "public", "u1"))
		require.Equal(t, []string{"editor"}, rolesOf(t, r, "t1", "u1"), "the other tenant keeps it")

		for _, call := range []func(role string) error{
			func(role string) error { _, err := r.AddRoleToUser(ctx, "public", "u1", role); return err },
			func(role string) error { _, err := r.RemoveUserRole(ctx, "public", "u1", role); return err },
			func(role string) error {
				_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: role})
				return err
			},
		} {
			require.ErrorIs(t, call("unknown"), userroles.ErrUnknownRole)
		}

		deleted, err := r.DeleteRole(ctx, "editor")
		require.NoError(t, err)
		require.True(t, deleted.DidRoleExist)
		deleted, err = r.DeleteRole(ctx, "editor")
		require.NoError(t, err)
		require.False(t, deleted.DidRoleExist)
		newRole(t, r, "editor")
		require.Equal(t, []string{}, rolesOf(t, r, "t1", "u1"), "a role that is made again is nobody's")
	})
}

func TestUsersThatHaveARoleComeInPages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin")
		newRole(t, r, "editor")
		for _, id := range []string{"u3", "U1", "u2", "ü", "a;b"} {
			give(t, r, "public", id, "admin")
		}
		give(t, r, "t1", "u0", "admin")
		give(t, r, "public", "u9", "editor")

		all, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: " admin"})
		require.NoError(t, err)
		want := []string{"U1", "a;b", "u2", "u3", "ü"}
		require.Equal(t, userroles.GetUsersThatHaveRoleResult{UserIDs: want}, all)
		for limit := 1; limit <= 6; limit++ {
			var got []string
			in := userroles.GetUsersThatHaveRoleInput{Role: "admin", Limit: limit}
			for {
				page, err := r.GetUsersThatHaveRole(ctx, in)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page.UserIDs), limit)
				got = append(got, page.UserIDs...)
				if page.Next == "" {
					break
				}
				in.After = page.Next
			}
			require.Equal(t, want, got, limit)
		}
		removed, err := r.RemoveUserRole(ctx, "t1", "u0", "admin")
		require.NoError(t, err)
		require.True(t, removed.DidUserHaveRole)
		none, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{TenantID: "t1", Role: "admin"})
		require.NoError(t, err)
		require.Equal(t, userroles.GetUsersThatHaveRoleResult{UserIDs: []string{}}, none)

		for _, limit := range []int{-1, 501} {
			_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: "admin", Limit: limit})
			require400(t, err, "limit must be 1 to 500")
		}
		_, err = r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: "admin", After: "\xff"})
		require400(t, err, "after must be valid UTF-8 without U+0000")
	})
}

func TestAnUnknownTenantIsAnErrorOfEveryFunction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin", "read")
		before := db.Dump()
		for _, id := range []string{"t2", "no tenant", "users", "u1' OR 1=1", "\x00"} {
			for _, call := range []func() error{
				func() error { _, err := r.AddRoleToUser(ctx, id, "u1", "admin"); return err },
				func() error { _, err := r.AddRoleToUser(ctx, id, "u1", "unknown"); return err },
				func() error { _, err := r.RemoveUserRole(ctx, id, "u1", "admin"); return err },
				func() error { _, err := r.GetRolesForUser(ctx, id, "u1"); return err },
				func() error {
					_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{TenantID: id, Role: "admin"})
					return err
				},
				func() error {
					_, _, err := userroles.UserRoleClaim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: id, UserID: "u1"})
					return err
				},
				func() error {
					_, _, err := userroles.PermissionClaim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: id, UserID: "u1"})
					return err
				},
			} {
				require.ErrorIs(t, call(), session.ErrTenantNotFound, "%q", id)
			}
		}
		_, err := r.GetRolesForUser(ctx, "user-1", "public")
		require.ErrorIs(t, err, session.ErrTenantNotFound, "arguments swapped are no user without roles")
		require.Equal(t, before, db.Dump())
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin", "read")
		newRole(t, r, strings.Repeat("ü", 255), strings.Repeat("é", 255))
		before := db.Dump()
		const empty = "Field name 'role' cannot be an empty String"
		for role, message := range map[string]string{
			"": empty, " \t": empty, strings.Repeat("ü", 256): "role must not be longer than 255 characters",
			"a\x00": "role must be valid UTF-8 without U+0000", "\xff": "role must be valid UTF-8 without U+0000",
		} {
			for _, call := range []func() error{
				func() error { _, err := r.AddRoleToUser(ctx, "", "u1", role); return err },
				func() error { _, err := r.RemoveUserRole(ctx, "", "u1", role); return err },
				func() error {
					_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: role})
					return err
				},
				func() error { _, err := r.CreateNewRoleOrAddPermissions(ctx, role, "read"); return err },
				func() error { _, err := r.GetPermissionsForRole(ctx, role); return err },
				func() error { return r.RemovePermissionsFromRole(ctx, role, "read") },
				func() error { return r.RemoveAllPermissionsFromRole(ctx, role) },
				func() error { _, err := r.DeleteRole(ctx, role); return err },
			} {
				require400(t, call(), message)
			}
		}
		const emptyPermission = "Field name 'permissions' cannot contain an empty string"
		for permission, message := range map[string]string{
			"": emptyPermission, "\n": emptyPermission, strings.Repeat("ü", 256): "permission must not be longer than 255 characters",
			"\x00": "permission must be valid UTF-8 without U+0000",
		} {
			for _, call := range []func() error{
				func() error { _, err := r.CreateNewRoleOrAddPermissions(ctx, "new", "fine", permission); return err },
				func() error { return r.RemovePermissionsFromRole(ctx, "admin", "read", permission) },
				func() error { _, err := r.GetRolesThatHavePermission(ctx, permission); return err },
			} {
				require400(t, call(), message)
			}
		}
		for _, id := range []string{"", strings.Repeat("x", 129)} {
			for _, call := range []func() error{
				func() error { _, err := r.AddRoleToUser(ctx, "", id, "admin"); return err },
				func() error { _, err := r.RemoveUserRole(ctx, "", id, "admin"); return err },
				func() error { _, err := r.GetRolesForUser(ctx, "", id); return err },
				func() error { return r.MoveRoles(ctx, id, "u1") },
				func() error { return r.MoveRoles(ctx, "u1", id) },
			} {
				require400(t, call(), "userId must have 1 to 128 characters")
			}
		}
		require.Equal(t, before, db.Dump())
	})
}

func TestMoveRoles(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		for _, role := range []string{"a", "b", "c"} {
			newRole(t, r, role)
		}
		give(t, r, "public", "old", "a", "b")
		give(t, r, "t1", "old", "c")
		give(t, r, "public", "new", "b")
		give(t, r, "t1", "other", "a")
		require.NoError(t, r.MoveRoles(ctx, "old", "old"))
		require.Equal(t, []string{"a", "b"}, rolesOf(t, r, "public", "old"))

		db.Probe.Reset()
		require.NoError(t, r.MoveRoles(ctx, "old", "new"))
		require.Equal(t, 2, db.Probe.Count())
		require.Equal(t, []string{"a", "b"}, rolesOf(t, r, "public", "new"))
		require.Equal(t, []string{"c"}, rolesOf(t, r, "t1", "new"))
		require.Equal(t, []string{}, rolesOf(t, r, "public", "old"))
		require.Equal(t, []string{}, rolesOf(t, r, "t1", "old"))
		require.Equal(t, []string{"a"}, rolesOf(t, r, "t1", "other"))
		require.NoError(t, r.MoveRoles(ctx, "old", "new"), "nothing is left to move")
	})
}

// I-02
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		for _, text := range storetest.Hostile {
			user, role := "u"+text, "r"+text+"."
			newRole(t, r, role, "p"+text+".")
			give(t, r, "public", user, role)
			require.Equal(t, []string{role}, rolesOf(t, r, "public", user), "%q", text)
			permissions, err := r.GetPermissionsForRole(ctx, role)
			require.NoError(t, err)
			require.Equal(t, []string{"p" + text + "."}, permissions)
			page, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: role})
			require.NoError(t, err)
			require.Equal(t, []string{user}, page.UserIDs)
			_, err = r.GetRolesForUser(ctx, text, user)
			require.ErrorIs(t, err, session.ErrTenantNotFound, "%q", text)
		}
		require.Equal(t, len(storetest.Hostile), db.Rows("roles"))
		for _, text := range storetest.Hostile {
			removed, err := r.RemoveUserRole(ctx, "public", "u"+text, "r"+text+".")
			require.NoError(t, err)
			require.True(t, removed.DidUserHaveRole)
			_, err = r.DeleteRole(ctx, "r"+text+".")
			require.NoError(t, err)
		}
		require.Empty(t, db.Dump("roles", "role_permissions", "user_roles"))
	})
}
