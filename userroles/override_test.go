package userroles_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/userroles"
)

// wrapAll replaces every function of a table by one that notes its name and calls the original.
func wrapAll[T any](original T, functions *T, note func(ctx context.Context, name string)) {
	from, to := reflect.ValueOf(original), reflect.ValueOf(functions).Elem()
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		to.Field(i).Set(reflect.MakeFunc(from.Field(i).Type(), func(args []reflect.Value) []reflect.Value {
			note(args[0].Interface().(context.Context), name)
			return from.Field(i).Call(args)
		}))
	}
}

func TestEveryFunctionCanBeOverridden(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	var called []string
	r := attach(t, db, userroles.Config{Override: userroles.Override{
		Functions: func(original userroles.Functions, functions *userroles.Functions) {
			wrapAll(original, functions, func(ctx context.Context, name string) {
				require.NotNil(t, env.FromContext(ctx), "the instance is in ctx")
				called = append(called, name)
			})
		},
	}})
	ctx := context.Background()
	for _, call := range []func() error{
		func() error { _, err := r.CreateNewRoleOrAddPermissions(ctx, "a", "p", "q"); return err },
		func() error { _, err := r.AddRoleToUser(ctx, "public", "u1", "a"); return err },
		func() error { _, err := r.GetRolesForUser(ctx, "public", "u1"); return err },
		func() error {
			_, err := r.GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: "a"})
			return err
		},
		func() error { _, err := r.GetPermissionsForRole(ctx, "a"); return err },
		func() error { return r.RemovePermissionsFromRole(ctx, "a", "p") },
		func() error { return r.RemoveAllPermissionsFromRole(ctx, "a") },
		func() error { _, err := r.GetRolesThatHavePermission(ctx, "p"); return err },
		func() error { return r.MoveRoles(ctx, "u1", "u2") },
		func() error { _, err := r.RemoveUserRole(ctx, "public", "u2", "a"); return err },
		func() error { _, err := r.DeleteRole(ctx, "a"); return err },
		func() error { _, err := r.GetAllRoles(ctx); return err },
	} {
		require.NoError(t, call())
	}
	require.Equal(t, []string{"CreateNewRoleOrAddPermissions", "AddRoleToUser", "GetRolesForUser", "GetUsersThatHaveRole", "GetPermissionsForRole",
		"RemovePermissionsFromRole", "RemoveAllPermissionsFromRole", "GetRolesThatHavePermission", "MoveRoles", "RemoveUserRole", "DeleteRole",
		"GetAllRoles"}, called)
	require.Equal(t, len(called), reflect.TypeFor[userroles.Functions]().NumField())
	require.Empty(t, db.Dump("roles", "user_roles"))
}

func TestAFunctionThatIsMissingIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	e := &env.Env{}
	_, err := userroles.Attach(e, userroles.Config{Override: userroles.Override{
		Functions: func(_ userroles.Functions, functions *userroles.Functions) {
			functions.MoveRoles, functions.DeleteRole = nil, nil
		},
	}})
	require.EqualError(t, err, "UserRoles.Override.Functions left the function DeleteRole nil\n"+
		"UserRoles.Override.Functions left the function MoveRoles nil")
	require.Empty(t, e.FetchClaim)
}
