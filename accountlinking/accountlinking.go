// Package accountlinking holds the users: people with the login methods by which they sign in.
//
// A [LoginMethod] is what one recipe knows about somebody, such as a password with its email; it has an id of its own, a [RecipeUserID]. A [User]
// is a person. It is found by its id and by that of any of its login methods:
//
//	user, err := auth.AccountLinking().GetUser(ctx, id)
//	if errors.Is(err, accountlinking.ErrUnknownUserID) {
//		// nobody has this id
//	}
//
// Login methods belong to tenants, people belong to none: a user is shown whole wherever one of its login methods is.
package accountlinking

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/table"
)

// Config of the recipe, which always exists.
type Config struct {
	Override Override
}

// Override changes what the recipe does.
type Override struct {
	// Functions gets the functions as they are, and changes the table that everything in this module calls. A field set to nil is an error at the
	// start.
	Functions func(original Functions, functions *Functions)
}

// Functions is what the recipe does.
type Functions struct {
	// GetUsers returns a page of the users of a tenant, or what a search finds.
	GetUsers func(ctx context.Context, in GetUsersInput) (GetUsersResult, error)
	// GetUser returns the whole person that has the id or a login method with it, on whatever tenants, or ErrUnknownUserID; never nil without an
	// error.
	GetUser func(ctx context.Context, in GetUserInput) (*User, error)
	// ListUsersByAccountInfo returns the users that have a login method on the tenant with the given email, phone number or third party pair,
	// whole and oldest first. Of several values all must be found, each in some login method of the person, on whatever tenant, but one at least on
	// this one. Without any value the list is empty.
	ListUsersByAccountInfo func(ctx context.Context, in ListUsersByAccountInfoInput) ([]*User, error)
}

type (
	// GetUserInput is the input of GetUser.
	GetUserInput struct {
		UserID string // of a person or of a login method
	}
	// ListUsersByAccountInfoInput is the input of ListUsersByAccountInfo.
	ListUsersByAccountInfoInput struct {
		TenantID             string
		AccountInfo          AccountInfo // in any form; of a third party both ids are needed
		DoUnionOfAccountInfo bool        // any one of the given values will do
	}
)

// Recipe is the handle, safe for concurrent use. The zero value is of no use: mfa.New makes it.
type Recipe struct {
	env       *env.Env
	functions Functions
}

// Attach makes the recipe. Only mfa.New can call it.
func Attach(e *env.Env, cfg Config) (*Recipe, error) {
	r := &Recipe{env: e}
	r.functions = table.Override(Functions{
		GetUsers: r.getUsers, GetUser: r.getUser, ListUsersByAccountInfo: r.listUsersByAccountInfo,
	}, cfg.Override.Functions)
	if err := errors.Join(table.Missing(r.functions, "AccountLinking.Override.Functions")...); err != nil {
		return nil, err
	}
	e.UserOf = r.userOf
	return r, nil
}

// userOf tells sessions which person a login method belongs to.
func (r *Recipe) userOf(ctx context.Context, recipeUserID string) (env.User, error) {
	user, err := r.GetUser(ctx, recipeUserID)
	if errors.Is(err, ErrUnknownUserID) {
		return env.User{ID: recipeUserID}, nil
	}
	if err != nil {
		return env.User{}, err
	}
	found := env.User{ID: user.ID, Known: true, Tombstone: true}
	for _, method := range user.LoginMethods {
		if string(method.RecipeUserID) == recipeUserID {
			found.Tombstone = false
		}
	}
	return found, nil
}

// GetUser takes the id of a person or of any of its login methods. Nobody: ErrUnknownUserID.
func (r *Recipe) GetUser(ctx context.Context, userID string) (*User, error) {
	ctx = r.env.Bind(ctx)
	user, err := r.functions.GetUser(ctx, GetUserInput{UserID: userID})
	if user == nil && err == nil {
		return nil, fmt.Errorf("accountlinking: GetUser was overridden and returned neither a user nor an error")
	}
	return user, err
}

// ListUsersByAccountInfo finds users of a tenant by what their login methods are known by. An unknown tenant is session.ErrTenantNotFound.
func (r *Recipe) ListUsersByAccountInfo(ctx context.Context, in ListUsersByAccountInfoInput) ([]*User, error) {
	return r.functions.ListUsersByAccountInfo(r.env.Bind(ctx), in)
}

// GetUsers returns a page of the users of a tenant, or what a search finds. An unknown tenant is session.ErrTenantNotFound, a limit, token, recipe
// or query that cannot be is a *session.BadInputError.
func (r *Recipe) GetUsers(ctx context.Context, in GetUsersInput) (GetUsersResult, error) {
	return r.functions.GetUsers(r.env.Bind(ctx), in)
}
