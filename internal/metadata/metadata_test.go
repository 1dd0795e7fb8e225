package metadata_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/metadata"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
)

var put = store.SQL("test.put", `INSERT INTO {p}user_metadata VALUES ($1, $2, $3)`)

func row(t *testing.T, db *storetest.DB, userID string) metadata.Row {
	t.Helper()
	r, err := metadata.Get(context.Background(), db.Backend, userID)
	require.NoError(t, err)
	return r
}

func TestRequiredFactors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		list := func() []factor.ID {
			ids, err := metadata.RequiredFactors(ctx, db.Backend, "u1")
			require.NoError(t, err)
			return ids
		}
		require.Equal(t, []factor.ID{}, list())

		db.Probe.Reset()
		removed, err := metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "totp")
		require.NoError(t, err)
		require.False(t, removed)
		require.Equal(t, 1, db.Probe.Count())
		require.Zero(t, db.Rows("user_metadata"), "removing from nobody writes nothing")

		for _, id := range []factor.ID{"totp", "otp-email"} {
			db.Probe.Reset()
			added, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", id)
			require.NoError(t, err)
			require.True(t, added)
			require.Equal(t, 2, db.Probe.Count())
		}
		require.Equal(t, []factor.ID{"totp", "otp-email"}, list())

		for name, change := range map[string]func() (bool, error){
			"add again":            func() (bool, error) { return metadata.AddRequiredFactor(ctx, db.Backend, "u1", "totp") },
			"remove a strange one": func() (bool, error) { return metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "link-email") },
		} {
			db.Probe.Reset()
			changed, err := change()
			require.NoError(t, err, name)
			require.False(t, changed, name)
			require.Equal(t, 1, db.Probe.Count(), name)
			require.Zero(t, db.Probe.Commits(), "%s: rolled back, not written", name)
		}

		db.Probe.Reset()
		removed, err = metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "totp")
		require.NoError(t, err)
		require.True(t, removed)
		require.Equal(t, 2, db.Probe.Count())
		require.Equal(t, []factor.ID{"otp-email"}, list())
		_, err = metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "otp-email")
		require.NoError(t, err)
		require.Equal(t, `{"requiredSecondaryFactors":[]}`, row(t, db, "u1").Supertokens, "an empty list stays")
	})
}

// The list is one key of a value that the host may write as it likes; only the list is touched.
func TestRequiredFactorsBesideWhatElseStandsThere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		for name, c := range map[string]struct {
			stored  string
			list    []factor.ID
			added   string
			removed string
		}{
			"other keys": {`{"a":1.50,"requiredSecondaryFactors":["x","totp"]}`, []factor.ID{"x", "totp"},
				`{"a":1.50,"requiredSecondaryFactors":["x","totp","new"]}`, `{"a":1.50,"requiredSecondaryFactors":["x"]}`},
			"entries that are no texts": {`{"requiredSecondaryFactors":[1,null,"totp",{"b":2}]}`, []factor.ID{"totp"},
				`{"requiredSecondaryFactors":[1,null,"totp",{"b":2},"new"]}`, `{"requiredSecondaryFactors":[1,null,{"b":2}]}`},
			"the same twice": {`{"requiredSecondaryFactors":["totp","totp"]}`, []factor.ID{"totp", "totp"},
				`{"requiredSecondaryFactors":["totp","totp","new"]}`, `{"requiredSecondaryFactors":[]}`},
			"no list": {`{"requiredSecondaryFactors":"totp"}`, []factor.ID{}, `{"requiredSecondaryFactors":["new"]}`,
				`{"requiredSecondaryFactors":"totp"}`},
			"no list but null": {`{"requiredSecondaryFactors":null}`, []factor.ID{}, `{"requiredSecondaryFactors":["new"]}`,
				`{"requiredSecondaryFactors":null}`},
			"no object":   {`"x"`, []factor.ID{}, `{"requiredSecondaryFactors":["new"]}`, `"x"`},
			"nothing":     {``, []factor.ID{}, `{"requiredSecondaryFactors":["new"]}`, ``},
			"another key": {`{"a":1}`, []factor.ID{}, `{"a":1,"requiredSecondaryFactors":["new"]}`, `{"a":1}`},
		} {
			for _, user := range []string{name, name + " again"} {
				_, err := db.Backend.Exec(ctx, put, user, `{"mine":1.0}`, c.stored)
				require.NoError(t, err)
			}
			ids, err := metadata.RequiredFactors(ctx, db.Backend, name)
			require.NoError(t, err)
			require.Equal(t, c.list, ids, name)
			added, err := metadata.AddRequiredFactor(ctx, db.Backend, name, "new")
			require.NoError(t, err)
			require.True(t, added, name)
			require.Equal(t, metadata.Row{Text: `{"mine":1.0}`, Supertokens: c.added}, row(t, db, name), name)
			_, err = metadata.RemoveRequiredFactor(ctx, db.Backend, name+" again", "totp")
			require.NoError(t, err)
			require.Equal(t, metadata.Row{Text: `{"mine":1.0}`, Supertokens: c.removed}, row(t, db, name+" again"), name)
		}
	})
}

// C-02
func TestRequiredFactorsThatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		_, err := db.Backend.Exec(ctx, put, "u1", `{}`, `{"requiredSecondaryFactors":["totp"`)
		require.NoError(t, err)
		for _, f := range []func() error{
			func() error { _, err := metadata.RequiredFactors(ctx, db.Backend, "u1"); return err },
			func() error { _, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", "new"); return err },
			func() error { _, err := metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "totp"); return err },
		} {
			require.ErrorContains(t, f(), "is no JSON")
		}
		db.Probe.FailAt(1)
		ids, err := metadata.RequiredFactors(ctx, db.Backend, "u2")
		require.ErrorIs(t, err, storetest.ErrInjected)
		require.Nil(t, ids)
	})
}

// A failure at any statement, or at the commit, leaves everything as it was.
func TestAChangeOfTheListFailsWhole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		for name, change := range map[string]func(context.Context, *store.Backend, string, factor.ID) (bool, error){
			"add": metadata.AddRequiredFactor, "remove": metadata.RemoveRequiredFactor,
		} {
			if name == "remove" {
				_, err := metadata.AddRequiredFactor(ctx, db.Backend, name, "totp")
				require.NoError(t, err)
			}
			steps := db.FailsWhole(name, func() error {
				changed, err := change(ctx, db.Backend, name, "totp")
				require.Equal(t, err == nil, changed)
				return err
			})
			require.Equal(t, 3, steps, "two statements and the commit")
		}
	})
}

func TestAHostThatRollsBackChangesNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		db.RollsBack(func(ctx context.Context) {
			for _, id := range []factor.ID{"totp", "totp", "otp-email"} {
				_, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", id)
				require.NoError(t, err)
			}
			_, err := metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", "totp")
			require.NoError(t, err)
			ids, err := metadata.RequiredFactors(ctx, db.Backend, "u1")
			require.NoError(t, err)
			require.Equal(t, []factor.ID{"otp-email"}, ids)
		})
		require.Equal(t, `{"requiredSecondaryFactors":["otp-email"]}`, row(t, db, "u1").Supertokens)
	})
}

// C-06: adds and removes at the same time lose nothing, and neither does the host's object, which is changed beside them.
func TestParallelChangesLoseNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		id := func(i int) factor.ID { return factor.ID(fmt.Sprintf("factor-%d", i)) }
		for i := range 50 {
			_, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", id(i))
			require.NoError(t, err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				removed, err := metadata.RemoveRequiredFactor(ctx, db.Backend, "u1", id(i))
				if !removed || err != nil {
					t.Error(removed, err)
				}
			})
			wg.Go(func() {
				added, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", id(50+i))
				if !added || err != nil {
					t.Error(added, err)
				}
			})
			wg.Go(func() {
				for {
					read, err := facts.ReadMetadata(ctx, db.Backend, "u1")
					if err != nil {
						t.Error(err)
						return
					}
					text := fmt.Sprintf(`%s"%d":1}`, strings.TrimSuffix(read.Metadata, "}"), i)
					if read.Metadata != "{}" {
						text = fmt.Sprintf(`%s,"%d":1}`, strings.TrimSuffix(read.Metadata, "}"), i)
					}
					if done, err := metadata.Swap(ctx, db.Backend, "u1", read, text); done || err != nil {
						if err != nil {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		ids, err := metadata.RequiredFactors(ctx, db.Backend, "u1")
		require.NoError(t, err)
		var want []factor.ID
		for i := range 50 {
			want = append(want, id(50+i))
		}
		require.ElementsMatch(t, want, ids)
		require.Equal(t, 50, strings.Count(row(t, db, "u1").Text, ":1"))
	})
}

func TestOneOfAHundredAddsTheFirst(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var mu sync.Mutex
		added := 0
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				once, err := metadata.AddRequiredFactor(context.Background(), db.Backend, "u1", "totp")
				if err != nil {
					t.Error(err)
				}
				if once {
					mu.Lock()
					defer mu.Unlock()
					added++
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, added)
		require.Equal(t, `{"requiredSecondaryFactors":["totp"]}`, row(t, db, "u1").Supertokens)
	})
}

func TestTheListHasABound(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		long := strings.Repeat("a", metadata.MaxBytes-len(`{"requiredSecondaryFactors":[""]}`))
		_, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", factor.ID(long))
		require.NoError(t, err)
		before := db.Dump()
		added, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", "x")
		require.ErrorIs(t, err, metadata.ErrTooLarge)
		require.False(t, added)
		require.Equal(t, before, db.Dump())
	})
}
