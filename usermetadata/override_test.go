package usermetadata_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/usermetadata"
)

func TestOverrides(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	ctx := context.Background()
	var called []string
	note := func(ctx context.Context, name string) {
		require.NotNil(t, env.FromContext(ctx), "the instance is in ctx")
		called = append(called, name)
	}
	failure := errors.New("down")
	r := attach(t, db, usermetadata.Config{Override: usermetadata.Override{
		Functions: func(original usermetadata.Functions, functions *usermetadata.Functions) {
			functions.GetUserMetadata = func(ctx context.Context, in usermetadata.GetUserMetadataInput) (map[string]any, error) {
				note(ctx, "get")
				switch in.UserID {
				case "down":
					return nil, failure
				case "panics":
					panic("override")
				}
				return original.GetUserMetadata(ctx, in)
			}
			functions.UpdateUserMetadata = func(ctx context.Context, in usermetadata.UpdateUserMetadataInput) (map[string]any, error) {
				note(ctx, "update")
				return original.UpdateUserMetadata(ctx, in)
			}
			functions.ReplaceUserMetadata = func(ctx context.Context, in usermetadata.ReplaceUserMetadataInput) error {
				note(ctx, "replace")
				return original.ReplaceUserMetadata(ctx, in)
			}
			functions.ChangeUserMetadata = func(ctx context.Context, in usermetadata.ChangeUserMetadataInput) (map[string]any, error) {
				note(ctx, "change")
				return original.ChangeUserMetadata(ctx, in)
			}
			functions.ClearUserMetadata = func(ctx context.Context, in usermetadata.ClearUserMetadataInput) error {
				note(ctx, "clear")
				return original.ClearUserMetadata(ctx, in)
			}
		},
	}})
	require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", object{"a": 1}))
	_, err := r.UpdateUserMetadata(ctx, "u1", object{"b": 2})
	require.NoError(t, err)
	_, err = r.ChangeUserMetadata(ctx, "u1", func(m map[string]any) error { m["c"] = 3; return nil })
	require.NoError(t, err)
	got, err := r.GetUserMetadata(ctx, "u1")
	require.NoError(t, err)
	require.Equal(t, object{"a": 1.0, "b": 2.0, "c": 3.0}, got)
	require.NoError(t, r.ClearUserMetadata(ctx, "u1"))
	require.Equal(t, []string{"replace", "update", "change", "get", "clear"}, called)

	got, err = r.GetUserMetadata(ctx, "down")
	require.ErrorIs(t, err, failure)
	require.Nil(t, got)
	require.PanicsWithValue(t, "override", func() { r.GetUserMetadata(ctx, "panics") })
}

func TestAFunctionThatIsMissingIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	_, err := usermetadata.Attach(&env.Env{}, usermetadata.Config{Override: usermetadata.Override{
		Functions: func(_ usermetadata.Functions, functions *usermetadata.Functions) { functions.ClearUserMetadata = nil },
	}})
	require.EqualError(t, err, "UserMetadata.Override.Functions left the function ClearUserMetadata nil")
}
