package userroles_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/userroles"
)

// recipe stands for auth.UserRoles() of an instance.
func recipe() *userroles.Recipe {
	db, err := sqlite.OpenInMemory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	r, err := userroles.Attach(&env.Env{Store: db.Backend(store.Key{}), Logger: slog.New(slog.DiscardHandler)}, userroles.Config{})
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func Example() {
	ctx := context.Background()
	roles := recipe() // auth.UserRoles()
	if _, err := roles.CreateNewRoleOrAddPermissions(ctx, "admin", "users:read", "users:write"); err != nil {
		log.Fatal(err)
	}
	if _, err := roles.AddRoleToUser(ctx, session.PublicTenant, "user-1", "admin"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(roles.GetRolesForUser(ctx, session.PublicTenant, "user-1"))
	fmt.Println(roles.GetPermissionsForRole(ctx, "admin"))

	_, err := roles.AddRoleToUser(ctx, session.PublicTenant, "user-1", "owner")
	fmt.Println(errors.Is(err, userroles.ErrUnknownRole))
	// Output:
	// [admin] <nil>
	// [users:read users:write] <nil>
	// true
}

// A validator guards a route: auth.Sessions().Verify(handler, adminOnly). With session.MaxAge it also asks for a fresh value.
func Example_validator() {
	adminOnly := userroles.UserRoleClaim.Includes("admin")
	payload := userroles.UserRoleClaim.AddToPayload(nil, []string{"editor"})
	result, err := adminOnly.Validate(context.Background(), payload)
	fmt.Println(result.IsValid, result.Reason, err)
	// Output: false map[actualValue:[editor] expectedToInclude:admin message:wrong value] <nil>
}
