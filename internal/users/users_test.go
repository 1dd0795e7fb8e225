package users_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/internal/users"
)

var (
	start     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	newTenant = store.SQL("test.tenant", `INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ($1, '{}', 0)`)
	link      = store.SQL("test.link", `UPDATE {p}recipe_users SET group_id = $2 WHERE user_id = $1`)
	linkPages = store.SQL("test.link.pages", `UPDATE {p}user_tenants SET group_id = $1, group_time = $2
WHERE user_id IN (SELECT user_id FROM {p}recipe_users WHERE group_id = $1)`)
	promote  = store.SQL("test.promote", `UPDATE {p}recipe_users SET is_primary = TRUE, version = version + 1 WHERE user_id = $1`)
	bury     = store.SQL("test.bury", `UPDATE {p}recipe_users SET recipe_id = '', email = '', phone = '' WHERE user_id = $1`)
	buryRows = store.SQL("test.bury.rows", `DELETE FROM {p}user_tenants WHERE user_id = $1`)
)

func exec(t testing.TB, db *storetest.DB, s *store.Statement, args ...any) {
	t.Helper()
	_, err := db.Backend.Exec(context.Background(), s, args...)
	require.NoError(t, err)
}

// password is a password login method that joined the given number of seconds after start.
func password(id, email string, seconds int, tenants ...string) users.Row {
	return users.Row{
		UserID: id, RecipeID: "emailpassword", Email: email, TimeJoined: start.Add(time.Duration(seconds) * time.Second), TenantIDs: tenants,
	}
}

func insert(t testing.TB, db *storetest.DB, rows ...users.Row) {
	t.Helper()
	for _, row := range rows {
		_, err := users.Insert(context.Background(), db.Backend, row)
		require.NoError(t, err)
	}
}

// group links login methods to the first, as of the given earliest second.
func group(t testing.TB, db *storetest.DB, seconds int, ids ...string) {
	t.Helper()
	exec(t, db, promote, ids[0])
	for _, id := range ids[1:] {
		exec(t, db, link, id, ids[0])
	}
	exec(t, db, linkPages, ids[0], start.Add(time.Duration(seconds)*time.Second).UnixMilli())
}

func ids(groups []*users.Group) []string {
	list := []string{}
	for _, g := range groups {
		list = append(list, g.ID)
	}
	return list
}

func TestInsertAndGet(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		row := users.Row{
			UserID: "u1", RecipeID: "thirdparty", TimeJoined: start, Email: "a@example.com", EmailVerified: true, Phone: "+36701234123",
			ThirdPartyID: "google", ThirdPartyUserID: "g1", TenantIDs: []string{"t1", "public"},
		}
		db.Probe.Reset()
		made, err := users.Insert(ctx, db.Backend, row)
		require.NoError(t, err)
		require.Equal(t, 3, db.Probe.Count(), "user.insert, and user.join for each tenant")

		row.GroupID, row.Version, row.TenantIDs = "u1", 1, []string{"public", "t1"}
		want := &users.Group{ID: "u1", Version: 1, Members: []users.Row{row}}
		require.Equal(t, want, made)
		db.Probe.Reset()
		got, err := users.Get(ctx, db.Backend, "u1")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, 1, db.Probe.Count())
		require.Equal(t, start, got.TimeJoined())
		require.Equal(t, "a@example.com", got.Member("u1").Email)
		require.Nil(t, got.Member("u2"))

		got, err = users.Get(ctx, db.Backend, "u2")
		require.NoError(t, err)
		require.Nil(t, got)
	})
}

func TestInsertRefuses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		social := func(id, provider, user string) users.Row {
			return users.Row{UserID: id, RecipeID: "thirdparty", Email: "s@example.com", ThirdPartyID: provider, ThirdPartyUserID: user,
				TimeJoined: start, TenantIDs: []string{"public"}}
		}
		phone := func(id, recipe string) users.Row {
			return users.Row{UserID: id, RecipeID: recipe, Phone: "+36701234123", TimeJoined: start, TenantIDs: []string{"public"}}
		}
		insert(t, db, password("u1", "a@example.com", 0, "public"), social("s1", "google", "g"), phone("p1", "passwordless"))
		before := db.Dump()

		for name, c := range map[string]struct {
			row users.Row
			err error
		}{
			"an id that is taken":       {password("u1", "b@example.com", 0, "public"), users.ErrIDTaken},
			"an email that is taken":    {password("u2", "a@example.com", 0, "public"), users.ErrInfoTaken},
			"on one of two tenants":     {password("u2", "a@example.com", 0, "t1", "public"), users.ErrInfoTaken},
			"a pair that is taken":      {social("s2", "google", "g"), users.ErrInfoTaken},
			"a phone that is taken":     {phone("p2", "passwordless"), users.ErrInfoTaken},
			"a tenant that nobody made": {password("u2", "b@example.com", 0, "t2"), users.ErrUnknownTenant},
		} {
			_, err := users.Insert(ctx, db.Backend, c.row)
			require.ErrorIs(t, err, c.err, name)
			require.Equal(t, before, db.Dump(), name)

			// The host that commits all the same commits nothing of it.
			tx, err := db.Handle.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = users.Insert(db.WithTx(ctx, tx), db.Backend, c.row)
			require.ErrorIs(t, err, c.err, name)
			require.NoError(t, tx.Commit())
			require.Equal(t, before, db.Dump(), name)
		}

		// The same info on another tenant, of another recipe or another provider is no conflict, and neither is none.
		insert(t, db, password("u3", "a@example.com", 0, "t1"), social("s3", "github", "g"), social("s4", "google", "h"), phone("p3", "host"),
			users.Row{UserID: "h1", RecipeID: "host", Email: "a@example.com", TimeJoined: start, TenantIDs: []string{"public"}},
			users.Row{UserID: "h2", RecipeID: "host", TimeJoined: start, TenantIDs: []string{"public"}},
			users.Row{UserID: "h3", RecipeID: "host", TimeJoined: start, TenantIDs: []string{"public"}},
			password("u4", "a@example.com", 0))
	})
}

func TestInsertJoinsTheTransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := db.Backend.Remember(context.Background())
		for _, commits := range []bool{false, true} {
			before := db.Dump()
			tx, err := db.Handle.BeginTx(ctx, nil)
			require.NoError(t, err)
			inTx := db.WithTx(ctx, tx)
			_, err = users.Insert(inTx, db.Backend, password("u1", "a@example.com", 0, "public"))
			require.NoError(t, err)
			seen, err := users.Get(inTx, db.Backend, "u1")
			require.NoError(t, err)
			require.NotNil(t, seen)
			if commits {
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
				require.Equal(t, before, db.Dump())
			}
			after, err := users.Get(ctx, db.Backend, "u1")
			require.NoError(t, err)
			require.Equal(t, commits, after != nil, "nothing of the transaction is remembered")
			if !commits { // what was remembered of the unknown id ends with the next write
				db.Backend.Forget(ctx, store.Users)
			}
		}
	})
}

// A failure at any statement, or at the commit, leaves nothing behind.
func TestInsertFailsWhole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		steps := db.FailsWhole("insert", func() error {
			_, err := users.Insert(context.Background(), db.Backend, password("u1", "a@example.com", 0, "public"))
			return err
		})
		require.Equal(t, 3, steps, "two statements and the commit")
	})
}

func TestOneOfAHundredSignUpsWins(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var made, taken atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				_, err := users.Insert(context.Background(), db.Backend, password(fmt.Sprintf("u%d", i), "a@example.com", i, "public"))
				switch err {
				case nil:
					made.Add(1)
				case users.ErrInfoTaken:
					taken.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, made.Load())
		require.EqualValues(t, 99, taken.Load())
		require.Equal(t, 1, db.Rows("recipe_users"))
		require.Equal(t, 1, db.Rows("user_tenants"))
	})
}

func TestGetReadsTheWholeGroup(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		insert(t, db, password("p", "a@example.com", 5, "public"), password("m2", "b@example.com", 3, "t1", "public"),
			password("m1", "c@example.com", 3), password("other", "d@example.com", 0, "public"))
		group(t, db, 3, "p", "m1", "m2")
		for _, id := range []string{"p", "m1", "m2"} {
			g, err := users.Get(ctx, db.Backend, id)
			require.NoError(t, err)
			require.Equal(t, "p", g.ID)
			require.True(t, g.IsPrimary)
			require.EqualValues(t, 2, g.Version, "that of the anchor")
			require.False(t, g.Tombstone)
			require.Equal(t, start.Add(3*time.Second), g.TimeJoined())
			require.Len(t, g.Members, 3)
			require.Equal(t, []string{"m1", "m2", "p"}, []string{g.Members[0].UserID, g.Members[1].UserID, g.Members[2].UserID},
				"oldest first, ties by id")
			require.Equal(t, [][]string{nil, {"public", "t1"}, {"public"}},
				[][]string{g.Members[0].TenantIDs, g.Members[1].TenantIDs, g.Members[2].TenantIDs})
		}

		exec(t, db, bury, "p")
		exec(t, db, buryRows, "p")
		g, err := users.Get(ctx, db.Backend, "p")
		require.NoError(t, err)
		require.Equal(t, "p", g.ID, "the id survives its login method")
		require.True(t, g.IsPrimary)
		require.True(t, g.Tombstone)
		require.Len(t, g.Members, 2)
		require.Nil(t, g.Member("p"))
	})
}

// S-10: a list of one tenant holds nobody who is only on another.
func TestList(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		insert(t, db,
			password("late", "a@example.com", 9, "public"),
			users.Row{UserID: "p", RecipeID: "passwordless", Email: "a@example.com", Phone: "+1", TimeJoined: start, TenantIDs: []string{"public"}},
			users.Row{UserID: "s", RecipeID: "thirdparty", ThirdPartyID: "google", ThirdPartyUserID: "g", TimeJoined: start, TenantIDs: []string{"t1"}},
			password("elsewhere", "a@example.com", 0, "t1"),
			password("nowhere", "n@example.com", 0))
		group(t, db, 0, "late", "s")

		for name, c := range map[string]struct {
			tenant string
			info   users.Info
			ids    []string
			known  bool
		}{
			"by email, oldest first": {"public", users.Info{Email: "a@example.com"}, []string{"late", "p"}, true},
			"by phone":               {"public", users.Info{Phone: "+1"}, []string{"p"}, true},
			"a group is whole but found on its tenant": {"public", users.Info{ThirdPartyID: "google", ThirdPartyUserID: "g"}, []string{}, true},
			"by pair":                           {"t1", users.Info{ThirdPartyID: "google", ThirdPartyUserID: "g"}, []string{"late"}, true},
			"half a pair":                       {"t1", users.Info{ThirdPartyID: "google"}, []string{}, true},
			"another tenant":                    {"t1", users.Info{Email: "a@example.com"}, []string{"elsewhere"}, true},
			"any of the infos, each group once": {"public", users.Info{Email: "a@example.com", Phone: "+1"}, []string{"late", "p"}, true},
			"nothing asked":                     {"public", users.Info{}, []string{}, true},
			"somebody on no tenant":             {"public", users.Info{Email: "n@example.com"}, []string{}, true},
			"no such tenant":                    {"t2", users.Info{Email: "a@example.com"}, []string{}, false},
			"no such tenant, though its name is hostile": {"' OR 1=1; --", users.Info{Email: "' OR 1=1; --"}, []string{}, false},
		} {
			db.Probe.Reset()
			groups, known, err := users.List(ctx, db.Backend, c.tenant, c.info)
			require.NoError(t, err, name)
			require.Equal(t, c.ids, ids(groups), name)
			require.Equal(t, c.known, known, name)
			require.Equal(t, 1, db.Probe.Count(), name)
		}
		groups, _, err := users.List(ctx, db.Backend, "public", users.Info{Email: "a@example.com"})
		require.NoError(t, err)
		require.Len(t, groups[0].Members, 2, "with the login methods of other tenants")
	})
}

// A clock before 1970 puts nobody before the proof of the tenant.
func TestListOfUsersFromBeforeTheEpoch(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		row := password("u1", "a@example.com", 0, "public")
		row.TimeJoined = time.UnixMilli(-5).UTC()
		insert(t, db, row)
		groups, known, err := users.List(context.Background(), db.Backend, "public", users.Info{Email: "a@example.com"})
		require.NoError(t, err)
		require.True(t, known)
		require.Equal(t, []string{"u1"}, ids(groups))
		require.Equal(t, row.TimeJoined, groups[0].TimeJoined())
	})
}

func TestWhatARequestReadItRemembers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		insert(t, db, password("p", "a@example.com", 0, "public"), password("m", "b@example.com", 1, "public"))
		group(t, db, 0, "p", "m")
		ctx := db.Backend.Remember(context.Background())
		get := func(id string) *users.Group {
			g, err := users.Get(ctx, db.Backend, id)
			require.NoError(t, err)
			return g
		}
		list := func() []*users.Group {
			groups, known, err := users.List(ctx, db.Backend, "public", users.Info{Email: "b@example.com"})
			require.NoError(t, err)
			require.True(t, known)
			return groups
		}
		db.Probe.Reset()
		require.Equal(t, "p", get("m").ID)
		require.Equal(t, "p", get("p").ID)
		require.Nil(t, get("new"))
		require.Nil(t, get("new"))
		require.Equal(t, 2, db.Probe.Count(), "m, with it p; and new")

		db.Backend.Forget(ctx, store.Users)
		db.Probe.Reset()
		require.Equal(t, []string{"p"}, ids(list()))
		require.Equal(t, []string{"p"}, ids(list()))
		get("p")
		get("m")
		require.Equal(t, 1, db.Probe.Count(), "a list holds whole groups")

		made, err := users.Insert(ctx, db.Backend, password("new", "c@example.com", 2, "public"))
		require.NoError(t, err)
		db.Probe.Reset()
		require.Equal(t, made, get("new"))
		require.Zero(t, db.Probe.Count(), "what was just written is known")
		list()
		get("p")
		require.Equal(t, 1, db.Probe.Count(), "everything else is read anew")

		// A flow whose transaction inserted remembers after its commit.
		require.NoError(t, db.Backend.Tx(ctx, func(ctx context.Context) error {
			made, err = users.Insert(ctx, db.Backend, password("newer", "d@example.com", 3, "public"))
			return err
		}))
		users.Keep(ctx, db.Backend, made)
		db.Probe.Reset()
		require.Equal(t, made, get("newer"))
		require.Zero(t, db.Probe.Count())
	})
}

// I-02: hostile texts are data.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		for i, text := range storetest.Hostile {
			row := users.Row{UserID: "id" + text, RecipeID: "thirdparty", Email: "e" + text, Phone: "p" + text, ThirdPartyID: "t" + text,
				ThirdPartyUserID: "u" + text, TimeJoined: start.Add(time.Duration(i)), TenantIDs: []string{"public"}}
			made, err := users.Insert(ctx, db.Backend, row)
			require.NoError(t, err, "%q", text)
			got, err := users.Get(ctx, db.Backend, row.UserID)
			require.NoError(t, err, "%q", text)
			require.Equal(t, made.Members, got.Members)
			for _, info := range []users.Info{{Email: row.Email}, {Phone: row.Phone}, {ThirdPartyID: row.ThirdPartyID, ThirdPartyUserID: row.ThirdPartyUserID}} {
				groups, _, err := users.List(ctx, db.Backend, "public", info)
				require.NoError(t, err)
				require.Equal(t, []string{row.UserID}, ids(groups), "%q", text)
			}
		}
		require.Equal(t, len(storetest.Hostile), db.Rows("recipe_users"))
	})
}
