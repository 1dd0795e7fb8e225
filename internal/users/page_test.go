package users_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/internal/users"
)

// person is what the naive model of a page knows of a group.
type person struct {
	id      string
	seconds int
	recipes []string // of the login methods on the tenant
}

// populate makes groups of one to three login methods, many of the same second, most on the tenant t1.
func populate(t *testing.T, db *storetest.DB) []person {
	exec(t, db, newTenant, "t1")
	random := rand.New(rand.NewPCG(1, 2))
	var people []person
	for i := range 60 {
		p := person{seconds: 1000}
		var members []string
		for m := range 1 + random.IntN(3) {
			seconds := random.IntN(9)
			row := password(fmt.Sprintf("u%02d-%d", i, m), fmt.Sprintf("u%d-%d@example.com", i, m), seconds)
			row.RecipeID = users.RecipeIDs[random.IntN(2)]
			for _, tenant := range []string{"public", "t1"} {
				if random.IntN(4) > 0 {
					row.TenantIDs = append(row.TenantIDs, tenant)
				}
			}
			insert(t, db, row)
			members = append(members, row.UserID)
			p.seconds = min(p.seconds, seconds)
			if slices.Contains(row.TenantIDs, "t1") {
				p.recipes = append(p.recipes, row.RecipeID)
			}
		}
		p.id = members[0]
		group(t, db, p.seconds, members...)
		people = append(people, p)
	}
	return people
}

func TestPagesAgreeWithSortingEverybody(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		people := populate(t, db)
		for _, newestFirst := range []bool{false, true} {
			for _, recipes := range [][]string{nil, {"thirdparty"}, {"thirdparty", "emailpassword"}, {"host"}} {
				var want []string
				sorted := slices.Clone(people)
				slices.SortFunc(sorted, func(a, b person) int {
					byTime := cmp.Compare(a.seconds, b.seconds)
					if newestFirst {
						byTime = -byTime
					}
					return cmp.Or(byTime, cmp.Compare(b.id, a.id))
				})
				for _, p := range sorted {
					if slices.ContainsFunc(p.recipes, func(r string) bool { return recipes == nil || slices.Contains(recipes, r) }) {
						want = append(want, p.id)
					}
				}
				for _, limit := range []int{1, 2, 7, 10, 11, 100, 500} {
					var got []string
					query := users.PageQuery{TenantID: "t1", NewestFirst: newestFirst, Limit: limit, RecipeIDs: recipes}
					for {
						db.Probe.Reset()
						groups, next, err := users.Page(context.Background(), db.Backend, query)
						require.NoError(t, err)
						require.Equal(t, 1, db.Probe.Count())
						require.LessOrEqual(t, len(groups), limit)
						got = append(got, ids(groups)...)
						if next == nil {
							break
						}
						require.Len(t, groups, limit)
						query.Start = next
					}
					require.Equal(t, want, got, "newest first %v, recipes %v, limit %d", newestFirst, recipes, limit)
				}
				n, err := users.Count(context.Background(), db.Backend, "t1", recipes)
				require.NoError(t, err)
				require.Equal(t, len(want), n)
			}
		}
		n, err := users.Count(context.Background(), db.Backend, "", nil)
		require.NoError(t, err)
		require.Equal(t, 60, n, "everybody, also who is on no tenant")
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		exec(t, db, newTenant, "t1")
		social := users.Row{UserID: "s", RecipeID: "thirdparty", Email: "bob@test.org", ThirdPartyID: "GitHub", ThirdPartyUserID: "1",
			TimeJoined: start, TenantIDs: []string{"public"}}
		phone := users.Row{UserID: "p", RecipeID: "passwordless", Phone: "+3670", TimeJoined: start, TenantIDs: []string{"public"}}
		insert(t, db, password("a", "alice@example.com", 1, "public"), password("b", "bob@example.com", 2, "public"),
			password("t", "alice@example.com", 0, "t1"), password("%", "100%_!@example.com", 3, "public"), password("z", "100xy@example.com", 4, "public"),
			social, phone)
		group(t, db, 0, "a", "p")
		for name, c := range map[string]struct {
			search users.Search
			ids    []string
		}{
			"prefix of an address":                    {users.Search{Emails: []string{"ali"}}, []string{"a"}},
			"prefix of a domain":                      {users.Search{Emails: []string{"exam"}}, []string{"a", "b", "%", "z"}},
			"newest first":                            {users.Search{Emails: []string{"exam"}, NewestFirst: true}, []string{"z", "%", "b", "a"}},
			"alternatives":                            {users.Search{Emails: []string{"ali", "bob"}}, []string{"s", "a", "b"}},
			"not in the middle":                       {users.Search{Emails: []string{"ice", "ample"}}, []string{}},
			"phone":                                   {users.Search{Phones: []string{"+36"}}, []string{"a"}},
			"provider, whatever its case":             {users.Search{Providers: []string{"git"}}, []string{"s"}},
			"all keys on one login method":            {users.Search{Emails: []string{"bob"}, Providers: []string{"github"}}, []string{"s"}},
			"keys on two login methods of one person": {users.Search{Emails: []string{"alice"}, Phones: []string{"+36"}}, []string{}},
			"% is a character":                        {users.Search{Emails: []string{"100%"}}, []string{"%"}},
			"_ is a character":                        {users.Search{Emails: []string{"100_", "%"}}, []string{}},
			"! is a character":                        {users.Search{Emails: []string{"100%_!"}}, []string{"%"}},
		} {
			c.search.TenantID = "public"
			db.Probe.Reset()
			groups, err := users.Find(context.Background(), db.Backend, c.search)
			require.NoError(t, err, name)
			require.Equal(t, c.ids, ids(groups), name)
			require.Equal(t, 1, db.Probe.Count())
		}
		groups, err := users.Find(context.Background(), db.Backend, users.Search{TenantID: "public", Phones: []string{"+36"}})
		require.NoError(t, err)
		require.Len(t, groups[0].Members, 2, "whole")
	})
}

// I-02
func TestFindTakesHostileTexts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for i, text := range storetest.Hostile {
			insert(t, db, users.Row{UserID: fmt.Sprint(i), RecipeID: "emailpassword", Email: text + "@x", TimeJoined: start, TenantIDs: []string{"public"}})
			groups, err := users.Find(context.Background(), db.Backend, users.Search{TenantID: "public", Emails: []string{text + "@"}})
			require.NoError(t, err, "%q", text)
			require.Equal(t, []string{fmt.Sprint(i)}, ids(groups), "%q", text)
		}
	})
}
