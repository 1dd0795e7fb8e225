// Package usermetadata keeps one JSON object per user, the same on all tenants.
//
//	_, err := auth.UserMetadata().UpdateUserMetadata(ctx, userID, map[string]any{"plan": "paid", "trial": nil})
//
// sets plan, removes trial and leaves all other keys as they are. What depends on the present value goes through
// [Recipe.ChangeUserMetadata], which loses nothing that others write at the same time.
//
// Users are named by their id; nobody checks that there is such a user. All root keys are the application's but _supertokens: under
// _supertokens.requiredSecondaryFactors stand the second factors that the user must complete.
//
// Numbers are float64 in the maps that functions return, whatever they were: whole numbers beyond 2^53 belong into a string. Storage keeps the
// digits of what nobody changes.
package usermetadata

import (
	"context"
	"errors"

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

// Functions is what the recipe does. Those that write are one atomic step each. A user id that is empty or longer than 128 characters, text that is
// not valid UTF-8 or holds U+0000, a value that JSON cannot express, an object of more than 64 KiB or nested deeper than 32 levels is a
// *session.BadInputError, and nothing is written.
type Functions struct {
	// GetUserMetadata returns the whole object, _supertokens included; an empty one where there is none.
	GetUserMetadata func(ctx context.Context, in GetUserMetadataInput) (map[string]any, error)
	// UpdateUserMetadata merges root keys into the object and returns all of it, _supertokens included.
	UpdateUserMetadata func(ctx context.Context, in UpdateUserMetadataInput) (map[string]any, error)
	// ReplaceUserMetadata replaces all root keys but _supertokens.
	ReplaceUserMetadata func(ctx context.Context, in ReplaceUserMetadataInput) error
	// ChangeUserMetadata calls a function with the object and stores what that makes of it, and returns it; neither holds _supertokens.
	ChangeUserMetadata func(ctx context.Context, in ChangeUserMetadataInput) (map[string]any, error)
	// ClearUserMetadata removes all root keys but _supertokens. There may be none.
	ClearUserMetadata func(ctx context.Context, in ClearUserMetadataInput) error
}

type (
	// GetUserMetadataInput is the input of GetUserMetadata.
	GetUserMetadataInput struct{ UserID string }
	// UpdateUserMetadataInput is the input of UpdateUserMetadata.
	UpdateUserMetadataInput struct {
		UserID string
		// MetadataUpdate has the root keys that change: nil removes a key, any other value replaces the old one whole. It touches _supertokens,
		// and the user's required factors in it, only if it names that key.
		MetadataUpdate map[string]any
	}
	// ReplaceUserMetadataInput is the input of ReplaceUserMetadata.
	ReplaceUserMetadataInput struct {
		UserID   string
		Metadata map[string]any // root keys that are nil are left out, and so is _supertokens
	}
	// ChangeUserMetadataInput is the input of ChangeUserMetadata.
	ChangeUserMetadataInput struct {
		UserID string
		// Change changes the map. It may be called several times, each time with fresh metadata, when others write at the same time, and holds no
		// lock meanwhile. Its error is returned, and nothing is written. A key _supertokens is ignored, nil at the root removes a key.
		Change func(metadata map[string]any) error
	}
	// ClearUserMetadataInput is the input of ClearUserMetadata.
	ClearUserMetadataInput struct{ UserID string }
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
		GetUserMetadata: r.get, UpdateUserMetadata: r.update, ReplaceUserMetadata: r.replace, ChangeUserMetadata: r.change,
		ClearUserMetadata: r.clear,
	}, cfg.Override.Functions)
	if err := errors.Join(table.Missing(r.functions, "UserMetadata.Override.Functions")...); err != nil {
		return nil, err
	}
	return r, nil
}

// GetUserMetadata returns the whole object, _supertokens included; an empty one where there is none.
func (r *Recipe) GetUserMetadata(ctx context.Context, userID string) (map[string]any, error) {
	return r.functions.GetUserMetadata(r.env.Bind(ctx), GetUserMetadataInput{UserID: userID})
}

// UpdateUserMetadata merges root keys into the object: nil removes a key, any other value replaces the old one whole. It returns the whole object.
func (r *Recipe) UpdateUserMetadata(ctx context.Context, userID string, update map[string]any) (map[string]any, error) {
	return r.functions.UpdateUserMetadata(r.env.Bind(ctx), UpdateUserMetadataInput{UserID: userID, MetadataUpdate: update})
}

// ReplaceUserMetadata is clear and update in one step: it replaces all root keys but _supertokens.
func (r *Recipe) ReplaceUserMetadata(ctx context.Context, userID string, metadata map[string]any) error {
	return r.functions.ReplaceUserMetadata(r.env.Bind(ctx), ReplaceUserMetadataInput{UserID: userID, Metadata: metadata})
}

// ChangeUserMetadata reads, calls change, and writes, as one atomic step without a lock: when somebody else wrote meanwhile, change is called again
// with fresh metadata. It never sees _supertokens. An error of change is returned, and nothing is written. It returns what was stored.
func (r *Recipe) ChangeUserMetadata(ctx context.Context, userID string, change func(metadata map[string]any) error) (map[string]any, error) {
	return r.functions.ChangeUserMetadata(r.env.Bind(ctx), ChangeUserMetadataInput{UserID: userID, Change: change})
}

// ClearUserMetadata removes all root keys but _supertokens.
func (r *Recipe) ClearUserMetadata(ctx context.Context, userID string) error {
	return r.functions.ClearUserMetadata(r.env.Bind(ctx), ClearUserMetadataInput{UserID: userID})
}
