package userroles_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/userroles"
)

// A failure at any statement, or at the commit, reaches the caller and leaves everything as it was.
func TestFailuresOfTheDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin", "read", "write")
		give(t, r, "public", "u1", "admin")
		for _, c := range []struct {
			name string
			call func() error
		}{
			{"add a role", func() error { _, err := r.AddRoleToUser(ctx, "t1", "u1", "admin"); return err }},
			{"add it again", func() error { _, err := r.AddRoleToUser(ctx, "t1", "u1", "admin"); return err }},
			{"roles of a user", func() error {
				roles, err := r.GetRolesForUser(ctx, "t1", "u1")
				require.Equal(t, err != nil, roles == nil, "C-02: an error is no empty list")
				return err
			}},
			{"permission claim", func() error {
				_, ok, err := userroles.PermissionClaim.FetchValue(r.env.Bind(ctx), session.FetchValueInput{TenantID: "t1", UserID: "u1"})
				require.Equal(t, err == nil, ok)
				return err
			}},
			{"users", func() error {
				_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: "admin"})
				return err
			}},
			{"make a role", func() error { _, err := r.CreateNewRoleOrAddPermissions(ctx, "editor", "a", "b"); return err }},
			{"add permissions", func() error { _, err := r.CreateNewRoleOrAddPermissions(ctx, "admin", "a", "b"); return err }},
			{"permissions", func() error { _, err := r.GetPermissionsForRole(ctx, "admin"); return err }},
			{"roles of a permission", func() error { _, err := r.GetRolesThatHavePermission(ctx, "read"); return err }},
			{"all roles", func() error { _, err := r.GetAllRoles(ctx); return err }},
			{"remove permissions", func() error { return r.RemovePermissionsFromRole(ctx, "admin", "read", "write") }},
			{"remove all permissions", func() error { return r.RemoveAllPermissionsFromRole(ctx, "admin") }},
			{"of none", func() error { return r.RemoveAllPermissionsFromRole(ctx, "admin") }},
			{"move roles", func() error { return r.MoveRoles(ctx, "u1", "u2") }},
			{"remove a role", func() error { _, err := r.RemoveUserRole(ctx, "t1", "u2", "admin"); return err }},
			{"remove it again", func() error { _, err := r.RemoveUserRole(ctx, "t1", "u2", "admin"); return err }},
			{"delete a role", func() error { _, err := r.DeleteRole(ctx, "admin"); return err }},
		} {
			db.FailsWhole(c.name, c.call)
		}
	})
}

func TestAHostThatRollsBackChangesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		newRole(t, r, "admin", "read")
		give(t, r, "public", "u1", "admin")
		db.RollsBack(func(inTx context.Context) {
			_, err := r.CreateNewRoleOrAddPermissions(inTx, "editor", "write")
			require.NoError(t, err)
			_, err = r.AddRoleToUser(inTx, "t1", "u1", "editor")
			require.NoError(t, err)
			require.NoError(t, r.MoveRoles(inTx, "u1", "u2"))
			require.NoError(t, r.RemovePermissionsFromRole(inTx, "admin", "read"))
			_, err = r.RemoveUserRole(inTx, "public", "u2", "admin")
			require.NoError(t, err)
			_, err = r.AddRoleToUser(inTx, "t2", "u1", "editor")
			require.ErrorIs(t, err, session.ErrTenantNotFound, "a refusal does not end the transaction")
			_, err = r.AddRoleToUser(inTx, "t1", "u1", "unknown")
			require.ErrorIs(t, err, userroles.ErrUnknownRole)
			roles, err := r.GetRolesForUser(inTx, "t1", "u2")
			require.NoError(t, err)
			require.Equal(t, []string{"editor"}, roles)
		})
		require.Equal(t, []string{"editor"}, rolesOf(t, r, "t1", "u2"))
		require.Equal(t, []string{}, rolesOf(t, r, "public", "u2"))
	})
}

func TestARequestRemembersRolesUntilSomethingIsWritten(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := db.Backend.Remember(context.Background())
		newRole(t, r, "a")
		newRole(t, r, "b")
		ask := func(want ...string) {
			t.Helper()
			roles, err := r.GetRolesForUser(ctx, "public", "u1")
			require.NoError(t, err)
			require.Equal(t, append([]string{}, want...), roles)
			if len(roles) > 0 {
				roles[0] = "changed" // a private copy
			}
		}
		db.Probe.Reset()
		ask()
		ask()
		require.Equal(t, 1, db.Probe.Count())
		for _, step := range []struct {
			write func() error
			want  []string
		}{
			{func() error { _, err := r.AddRoleToUser(ctx, "public", "u1", "b"); return err }, []string{"b"}},
			{func() error { _, err := r.AddRoleToUser(ctx, "public", "u1", "a"); return err }, []string{"a", "b"}},
			{func() error { _, err := r.RemoveUserRole(ctx, "public", "u1", "b"); return err }, []string{"a"}},
			{func() error { return r.MoveRoles(ctx, "u1", "u2") }, nil},
			{func() error { return r.MoveRoles(ctx, "u2", "u1") }, []string{"a"}},
			{func() error { _, err := r.DeleteRole(ctx, "a"); return err }, nil},
		} {
			require.NoError(t, step.write())
			ask(step.want...)
			db.Probe.Reset()
			ask(step.want...)
			require.Zero(t, db.Probe.Count())
		}
	})
}

func TestParallelChanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		var created, first atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				c, err := r.CreateNewRoleOrAddPermissions(ctx, "admin", fmt.Sprintf("p%d", i))
				if err != nil {
					t.Error(err)
				}
				if c.CreatedNewRole {
					created.Add(1)
				}
				a, err := r.AddRoleToUser(ctx, "public", "u1", "admin")
				if err != nil {
					t.Error(err)
				}
				if !a.DidUserAlreadyHaveRole {
					first.Add(1)
				}
				// A role that comes and goes: every answer is one of a moment.
				role := fmt.Sprintf("role%d", i%3)
				if _, err := r.CreateNewRoleOrAddPermissions(ctx, role, "a", "b"); err != nil {
					t.Error(err)
				}
				if _, err := r.AddRoleToUser(ctx, "public", fmt.Sprintf("u%d", i), role); err != nil && err != userroles.ErrUnknownRole {
					t.Error(err)
				}
				if err := r.MoveRoles(ctx, fmt.Sprintf("u%d", i), "everybody"); err != nil {
					t.Error(err)
				}
				if _, err := r.DeleteRole(ctx, role); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, created.Load())
		permissions, err := r.GetPermissionsForRole(ctx, "admin")
		require.NoError(t, err)
		require.Len(t, permissions, 100)
		require.NotZero(t, first.Load())
		all, err := r.GetAllRoles(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"admin"}, all)
	})
}

// Whoever is told that a role was given or taken away has done it: as often as the one more than the other, the user has the role in the end.
func TestParallelAddsAndRemovesOfOneRole(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *instance) {
		ctx := context.Background()
		newRole(t, r, "admin")
		var balance atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for n := range 10 {
					if (i+n)%2 == 0 {
						added, err := r.AddRoleToUser(ctx, "public", "u1", "admin")
						if err != nil {
							t.Error(err)
						}
						if !added.DidUserAlreadyHaveRole {
							balance.Add(1)
						}
					} else {
						removed, err := r.RemoveUserRole(ctx, "public", "u1", "admin")
						if err != nil {
							t.Error(err)
						}
						if removed.DidUserHaveRole {
							balance.Add(-1)
						}
					}
				}
			})
		}
		wg.Wait()
		require.Len(t, rolesOf(t, r, "public", "u1"), int(balance.Load()))
	})
}
