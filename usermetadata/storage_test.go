package usermetadata_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/metadata"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/usermetadata"
)

// A failure at any statement, or at the commit, reaches the caller and leaves everything as it was.
func TestFailuresOfTheDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		_, err := r.UpdateUserMetadata(ctx, "u1", object{"a": 1, "_supertokens": object{"b": 2}})
		require.NoError(t, err)
		n := 0
		for name, call := range map[string]func() error{
			"get":     func() error { _, err := r.GetUserMetadata(ctx, "u1"); return err },
			"update":  func() error { n++; _, err := r.UpdateUserMetadata(ctx, "u1", object{"a": n}); return err },
			"replace": func() error { n++; return r.ReplaceUserMetadata(ctx, "u1", object{"c": n}) },
			"change": func() error {
				n++
				_, err := r.ChangeUserMetadata(ctx, "u1", func(m object) error { m["d"] = n; return nil })
				return err
			},
			"change nobody": func() error {
				_, err := r.ChangeUserMetadata(ctx, "u2", func(m object) error { m["d"] = 1; return nil })
				return err
			},
			"clear": func() error { return r.ClearUserMetadata(ctx, "u1") },
		} {
			db.FailsWhole(name, call)
		}
	})
}

func TestAHostThatRollsBackChangesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", object{"a": 1}))
		db.RollsBack(func(inTx context.Context) {
			require.NoError(t, r.ClearUserMetadata(inTx, "u1"))
			_, err := r.UpdateUserMetadata(inTx, "u1", object{"b": 2})
			require.NoError(t, err)
			_, err = r.ChangeUserMetadata(inTx, "u1", func(m object) error { m["c"] = 3; return nil })
			require.NoError(t, err)
			require.NoError(t, r.ReplaceUserMetadata(inTx, "u2", object{"d": 4}))
			got, err := r.GetUserMetadata(inTx, "u1")
			require.NoError(t, err)
			require.Equal(t, object{"b": 2.0, "c": 3.0}, got)
		})
		require.Equal(t, `{"b":2,"c":3}`, stored(t, db).Text)
		require.Equal(t, 2, db.Rows("user_metadata"))
	})
}

// C-06: a hundred changes at once, beside adds and removes of required factors and merges, lose nothing.
func TestParallelChangesLoseNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				_, err := r.ChangeUserMetadata(ctx, "u1", func(m object) error {
					n, _ := m["count"].(float64)
					m["count"] = n + 1
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				var err error
				switch i % 2 {
				case 0:
					_, err = metadata.AddRequiredFactor(ctx, db.Backend, "u1", factor.ID(fmt.Sprintf("f%d", i)))
				default:
					_, err = r.UpdateUserMetadata(ctx, "u1", object{fmt.Sprintf("k%d", i): i})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Equal(t, 100.0, got["count"])
		require.Len(t, got["_supertokens"].(object)["requiredSecondaryFactors"], 50)
		require.Len(t, got, 1+1+50)
	})
}

func TestARequestRemembersUntilSomethingIsWritten(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := db.Backend.Remember(context.Background())
		require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", object{"a": object{"b": 1}}))
		db.Probe.Reset()
		first, err := r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		first["a"].(object)["b"] = 2
		second, err := r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Equal(t, object{"a": object{"b": 1.0}}, second, "private copies")
		require.Equal(t, 1, db.Probe.Count())
		for i, write := range []func() error{
			func() error { _, err := r.UpdateUserMetadata(ctx, "u1", object{"n": 0}); return err },
			func() error { return r.ReplaceUserMetadata(ctx, "u1", object{"n": 1}) },
			func() error {
				_, err := r.ChangeUserMetadata(ctx, "u1", func(m object) error { m["n"] = 2; return nil })
				return err
			},
			func() error { _, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", "x"); return err },
		} {
			require.NoError(t, write())
			got, err := r.GetUserMetadata(ctx, "u1")
			require.NoError(t, err)
			require.Equal(t, float64(min(i, 2)), got["n"])
		}
		require.NoError(t, r.ClearUserMetadata(ctx, "u1"))
		got, err := r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Len(t, got, 1)
	})
}

// C-02
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		for _, text := range []string{"", "[", "null", `{"a":1e999}`} {
			require.NoError(t, metadata.Replace(ctx, db.Backend, "u1", text))
			got, err := r.GetUserMetadata(ctx, "u1")
			require.ErrorContains(t, err, "unreadable", text)
			require.Nil(t, got)
			_, err = r.ChangeUserMetadata(ctx, "u1", func(object) error { return nil })
			require.ErrorContains(t, err, "unreadable", text)
		}
	})
}
