package accountlinking_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func attach(t testing.TB, db *storetest.DB, cfg accountlinking.Config) (*accountlinking.Recipe, *env.Env) {
	t.Helper()
	e := &env.Env{Store: db.Backend, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return start }, Random: rand.Reader}
	r, err := accountlinking.Attach(e, cfg)
	require.NoError(t, err)
	return r, e
}

// each gives every database a recipe without overrides.
func each(t *testing.T, test func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe)) {
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		r, _ := attach(t, db, accountlinking.Config{})
		test(t, db, r)
	})
}

var (
	newTenant = store.SQL("test.tenant", `INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ($1, '{}', 0)`)
	link      = store.SQL("test.link", `UPDATE {p}recipe_users SET group_id = $2 WHERE user_id = $1`)
	linkPages = store.SQL("test.link.pages", `UPDATE {p}user_tenants SET group_id = $2,
	group_time = (SELECT time_joined FROM {p}recipe_users WHERE user_id = $2) WHERE user_id = $1`)
	promote = store.SQL("test.promote", `UPDATE {p}recipe_users SET is_primary = TRUE WHERE user_id = $1`)
	bury    = store.SQL("test.bury", `UPDATE {p}recipe_users SET recipe_id = '', email = '' WHERE user_id = $1`)
	leave   = store.SQL("test.leave", `DELETE FROM {p}user_tenants WHERE user_id = $1`)
)

func exec(t testing.TB, db *storetest.DB, s *store.Statement, args ...any) {
	t.Helper()
	_, err := db.Backend.Exec(context.Background(), s, args...)
	require.NoError(t, err)
}

func insert(t testing.TB, db *storetest.DB, rows ...users.Row) {
	t.Helper()
	for i, row := range rows {
		if row.TimeJoined.IsZero() {
			row.TimeJoined = start.Add(time.Duration(i) * time.Second)
		}
		_, err := users.Insert(context.Background(), db.Backend, row)
		require.NoError(t, err)
	}
}

func public(id, recipe, email string) users.Row {
	return users.Row{UserID: id, RecipeID: recipe, Email: email, TenantIDs: []string{"public"}}
}

// linkTo links a login method that joined later to a primary user.
func linkTo(t testing.TB, db *storetest.DB, id, primary string) {
	t.Helper()
	exec(t, db, promote, primary)
	exec(t, db, link, id, primary)
	exec(t, db, linkPages, id, primary)
}

func ids(found []*accountlinking.User) []string {
	list := []string{}
	for _, u := range found {
		list = append(list, u.ID)
	}
	return list
}

func badInput(t *testing.T, err error, message string) {
	t.Helper()
	var bad *session.BadInputError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, message, bad.Message)
}

func TestGetUser(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		insert(t, db, public("p", "emailpassword", "a@example.com"), public("m", "passwordless", "b@example.com"))
		linkTo(t, db, "m", "p")

		db.Probe.Reset()
		user, err := r.GetUser(ctx, "m")
		require.NoError(t, err)
		require.Equal(t, 1, db.Probe.Count())
		want := &accountlinking.User{
			ID: "p", IsPrimaryUser: true, TenantIDs: []string{"public"}, Emails: []string{"a@example.com", "b@example.com"},
			TimeJoined: start,
			LoginMethods: []accountlinking.LoginMethod{
				{AccountInfo: accountlinking.AccountInfo{Email: "a@example.com"}, RecipeID: "emailpassword", RecipeUserID: "p",
					TenantIDs: []string{"public"}, TimeJoined: start},
				{AccountInfo: accountlinking.AccountInfo{Email: "b@example.com"}, RecipeID: "passwordless", RecipeUserID: "m",
					TenantIDs: []string{"public"}, TimeJoined: start.Add(time.Second)},
			},
		}
		require.Equal(t, want, user)
		byGroup, err := r.GetUser(ctx, "p")
		require.NoError(t, err)
		require.Equal(t, want, byGroup)

		user, err = r.GetUser(ctx, "nobody")
		require.ErrorIs(t, err, accountlinking.ErrUnknownUserID)
		require.Nil(t, user)
		for _, id := range []string{"", strings.Repeat("x", 129)} {
			_, err = r.GetUser(ctx, id)
			badInput(t, err, "userId must have 1 to 128 characters")
		}
		_, err = r.GetUser(ctx, "a\x00")
		badInput(t, err, "userId must be valid UTF-8 without U+0000")

		exec(t, db, bury, "p")
		exec(t, db, leave, "p")
		user, err = r.GetUser(ctx, "p")
		require.NoError(t, err)
		require.Equal(t, "p", user.ID, "a person outlives the login method that gave it its id")
		require.Equal(t, start.Add(time.Second), user.TimeJoined)
		require.Len(t, user.LoginMethods, 1)
	})
}

func TestAUserIsAPrivateCopy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		insert(t, db, users.Row{UserID: "u", RecipeID: "thirdparty", ThirdPartyID: "google", ThirdPartyUserID: "g", TenantIDs: []string{"public"}})
		ctx := db.Backend.Remember(context.Background())
		first, err := r.GetUser(ctx, "u")
		require.NoError(t, err)
		text, err := json.Marshal(first)
		require.NoError(t, err)
		first.TenantIDs[0], first.LoginMethods[0].TenantIDs[0] = "x", "x"
		first.ThirdParty[0].ID, first.LoginMethods[0].ThirdParty.ID = "x", "x"
		db.Probe.Reset()
		second, err := r.GetUser(ctx, "u")
		require.NoError(t, err)
		require.Zero(t, db.Probe.Count(), "remembered")
		again, err := json.Marshal(second)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

func TestListUsersByAccountInfo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		google := &accountlinking.ThirdPartyInfo{ID: "google", UserID: "g"}
		insert(t, db,
			public("a", "emailpassword", "a@example.com"),
			public("b", "passwordless", "a@example.com"),
			users.Row{UserID: "c", RecipeID: "passwordless", Phone: "+36701234123", TenantIDs: []string{"public"}},
			users.Row{UserID: "d", RecipeID: "thirdparty", ThirdPartyID: "google", ThirdPartyUserID: "g", TenantIDs: []string{"t1"}})
		linkTo(t, db, "c", "a")
		linkTo(t, db, "d", "a")

		for name, c := range map[string]struct {
			tenant string
			info   accountlinking.AccountInfo
			union  bool
			want   []string
		}{
			"by email":                              {"", accountlinking.AccountInfo{Email: "a@example.com"}, false, []string{"a", "b"}},
			"in any form (O-08)":                    {" PUBLIC ", accountlinking.AccountInfo{Email: " A@Example.com\n"}, false, []string{"a", "b"}},
			"by phone":                              {"", accountlinking.AccountInfo{PhoneNumber: " +36701234123"}, false, []string{"a"}},
			"values in two login methods":           {"", accountlinking.AccountInfo{Email: "a@example.com", PhoneNumber: "+36701234123"}, false, []string{"a"}},
			"a further value on another tenant":     {"", accountlinking.AccountInfo{Email: "a@example.com", ThirdParty: google}, false, []string{"a"}},
			"but not all on another":                {"", accountlinking.AccountInfo{ThirdParty: google}, false, []string{}},
			"nobody has both":                       {"", accountlinking.AccountInfo{Email: "x@example.com", PhoneNumber: "+36701234123"}, false, []string{}},
			"either, each once, oldest first":       {"", accountlinking.AccountInfo{Email: "a@example.com", PhoneNumber: "+36701234123"}, true, []string{"a", "b"}},
			"nobody":                                {"", accountlinking.AccountInfo{Email: "x@example.com"}, false, []string{}},
			"nothing asked":                         {"", accountlinking.AccountInfo{}, false, []string{}},
			"nothing but white space asked":         {"", accountlinking.AccountInfo{Email: " ", PhoneNumber: "\t"}, true, []string{}},
			"the login method is on another tenant": {"t1", accountlinking.AccountInfo{Email: "a@example.com"}, false, []string{}},
			"and found on its own":                  {"t1", accountlinking.AccountInfo{ThirdParty: google}, false, []string{"a"}},
		} {
			db.Probe.Reset()
			found, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{
				TenantID: c.tenant, AccountInfo: c.info, DoUnionOfAccountInfo: c.union,
			})
			require.NoError(t, err, name)
			require.Equal(t, c.want, ids(found), name)
			require.NotNil(t, found, name)
			require.Equal(t, 1, db.Probe.Count(), name)
		}
		require.Equal(t, &accountlinking.ThirdPartyInfo{ID: "google", UserID: "g"}, google)

		for _, half := range []accountlinking.ThirdPartyInfo{{}, {ID: "google"}, {UserID: "g"}} {
			_, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{AccountInfo: accountlinking.AccountInfo{ThirdParty: &half}})
			badInput(t, err, "thirdParty needs both the id of the provider and that of the user")
		}
		for field, info := range map[string]accountlinking.AccountInfo{
			"email": {Email: "\xff@x"}, "phoneNumber": {PhoneNumber: "\x00"}, "thirdParty": {ThirdParty: &accountlinking.ThirdPartyInfo{ID: "a", UserID: "\xff"}},
		} {
			_, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{AccountInfo: info})
			badInput(t, err, field+" must be valid UTF-8 without U+0000")
		}
	})
}

func TestAnUnknownTenantIsNeverAnEmptyList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		insert(t, db, public("u", "emailpassword", "a@example.com"))
		for _, id := range []string{"t2", "no tenant", "users", "\x00"} {
			_, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{TenantID: id, AccountInfo: accountlinking.AccountInfo{Email: "a@example.com"}})
			require.ErrorIs(t, err, session.ErrTenantNotFound)
			_, err = r.GetUsers(ctx, accountlinking.GetUsersInput{TenantID: id})
			require.ErrorIs(t, err, session.ErrTenantNotFound)
			_, err = r.GetUsers(ctx, accountlinking.GetUsersInput{TenantID: id, Query: map[string]string{"email": "a"}})
			require.ErrorIs(t, err, session.ErrTenantNotFound)
			_, err = r.GetUserCount(ctx, accountlinking.GetUserCountInput{OnlyTenantID: id})
			require.ErrorIs(t, err, session.ErrTenantNotFound)
		}
	})
}

func TestGetUsers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		exec(t, db, newTenant, "t1")
		insert(t, db, public("a", "emailpassword", "a@x.org"), public("b", "emailpassword", "b@x.org"), public("c;c", "passwordless", "c@x.org"),
			public("d", "emailpassword", "d@x.org"), public("e", "emailpassword", "e@x.org"), public("a2", "passwordless", "a@x.org"))
		linkTo(t, db, "a2", "a")

		collect := func(in accountlinking.GetUsersInput) (all []string, pages int) {
			for {
				page, err := r.GetUsers(ctx, in)
				require.NoError(t, err)
				all, pages = append(all, ids(page.Users)...), pages+1
				if page.NextPaginationToken == "" {
					return all, pages
				}
				in.PaginationToken = page.NextPaginationToken
			}
		}
		oldest, pages := collect(accountlinking.GetUsersInput{Limit: 2})
		require.Equal(t, []string{"a", "b", "c;c", "d", "e"}, oldest)
		require.Equal(t, 3, pages)
		newest, pages := collect(accountlinking.GetUsersInput{Limit: 2, NewestFirst: true})
		require.Equal(t, []string{"e", "d", "c;c", "b", "a"}, newest)
		require.Equal(t, 3, pages)
		filtered, _ := collect(accountlinking.GetUsersInput{IncludeRecipeIDs: []string{"passwordless", "passwordless"}})
		require.Equal(t, []string{"a", "c;c"}, filtered)
		none, _ := collect(accountlinking.GetUsersInput{TenantID: "t1"})
		require.Empty(t, none)

		first, err := r.GetUsers(ctx, accountlinking.GetUsersInput{Limit: 2})
		require.NoError(t, err)
		require.Len(t, first.Users[0].LoginMethods, 2, "whole")
		token, err := base64.StdEncoding.DecodeString(first.NextPaginationToken)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("c;c;%d", start.Add(2*time.Second).UnixMilli()), string(token))

		found, err := r.GetUsers(ctx, accountlinking.GetUsersInput{
			Query: map[string]string{"email": " A@; ;X.ORG ", "phone": ""}, Limit: 1, NewestFirst: true, PaginationToken: "ignored",
		})
		require.NoError(t, err)
		require.Equal(t, newest, ids(found.Users))
		require.Empty(t, found.NextPaginationToken)

		for name, c := range map[string]struct {
			in      accountlinking.GetUsersInput
			message string
		}{
			"limit below 0":       {accountlinking.GetUsersInput{Limit: -1}, "limit must be 1 to 500"},
			"limit above 500":     {accountlinking.GetUsersInput{Limit: 501}, "limit must be 1 to 500"},
			"token":               {accountlinking.GetUsersInput{PaginationToken: "%"}, "invalid pagination token"},
			"token without time":  {accountlinking.GetUsersInput{PaginationToken: base64.StdEncoding.EncodeToString([]byte("a"))}, "invalid pagination token"},
			"token with bad time": {accountlinking.GetUsersInput{PaginationToken: base64.StdEncoding.EncodeToString([]byte("a;x"))}, "invalid pagination token"},
			"token with bad id":   {accountlinking.GetUsersInput{PaginationToken: base64.StdEncoding.EncodeToString([]byte("\x00;1"))}, "invalid pagination token"},
			"recipe":              {accountlinking.GetUsersInput{IncludeRecipeIDs: []string{"totp"}}, `unknown recipe id "totp"`},
			"key":                 {accountlinking.GetUsersInput{Query: map[string]string{"name": "x"}}, `unknown key "name" in query: want email, phone or provider`},
			"query":               {accountlinking.GetUsersInput{Query: map[string]string{"email": "\xff"}}, "query must be valid UTF-8 without U+0000"},
			"many values": {accountlinking.GetUsersInput{Query: map[string]string{"email": "0;1;2;3;4;5;6;7;8;9;a"}},
				"query has more than 10 values for email"},
		} {
			_, err := r.GetUsers(ctx, c.in)
			require.Error(t, err, name)
			badInput(t, err, c.message)
		}
	})
}

func TestGetUserCount(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		exec(t, db, newTenant, "t1")
		insert(t, db, public("a", "emailpassword", "a@x.org"), public("b", "passwordless", "b@x.org"), public("c", "emailpassword", "c@x.org"),
			users.Row{UserID: "d", RecipeID: "host"})
		linkTo(t, db, "b", "a")
		for want, in := range map[int]accountlinking.GetUserCountInput{
			3: {}, 2: {OnlyTenantID: "public"}, 1: {OnlyTenantID: "Public", IncludeRecipeIDs: []string{"passwordless"}}, 0: {OnlyTenantID: "t1"},
		} {
			n, err := r.GetUserCount(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		_, err := r.GetUserCount(context.Background(), accountlinking.GetUserCountInput{IncludeRecipeIDs: []string{"x"}})
		badInput(t, err, `unknown recipe id "x"`)
	})
}

// I-02
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		insert(t, db, public("u", "emailpassword", "a@example.com"))
		before := db.Dump()
		for _, text := range storetest.Hostile {
			_, err := r.GetUser(ctx, text)
			require.ErrorIs(t, err, accountlinking.ErrUnknownUserID, "%q", text)
			for _, info := range []accountlinking.AccountInfo{
				{Email: text}, {PhoneNumber: text}, {ThirdParty: &accountlinking.ThirdPartyInfo{ID: text, UserID: text}},
			} {
				found, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{AccountInfo: info, DoUnionOfAccountInfo: true})
				require.NoError(t, err, "%q", text)
				require.Empty(t, found, "%q", text)
			}
			_, err = r.GetUsers(ctx, accountlinking.GetUsersInput{PaginationToken: base64.StdEncoding.EncodeToString([]byte(text + ";1"))})
			require.NoError(t, err, "%q", text)
			page, err := r.GetUsers(ctx, accountlinking.GetUsersInput{Query: map[string]string{"email": text + "@", "phone": text, "provider": text}})
			require.NoError(t, err, "%q", text)
			require.Empty(t, page.Users, "%q", text)
		}
		require.Equal(t, before, db.Dump())
	})
}

func TestErrorsOfTheDatabaseReachTheCaller(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *accountlinking.Recipe) {
		ctx := context.Background()
		insert(t, db, public("u", "emailpassword", "a@example.com"))
		for name, call := range map[string]func() error{
			"GetUser": func() error { _, err := r.GetUser(ctx, "u"); return err },
			"ListUsersByAccountInfo": func() error {
				_, err := r.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{})
				return err
			},
			"GetUsers": func() error { _, err := r.GetUsers(ctx, accountlinking.GetUsersInput{}); return err },
			"GetUserCount": func() error {
				_, err := r.GetUserCount(ctx, accountlinking.GetUserCountInput{OnlyTenantID: "public"})
				return err
			},
		} {
			db.FailsWhole(name, call)
		}
	})
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	insert(t, db, public("u", "emailpassword", "a@example.com"))
	failure := errors.New("directory is down")
	var seen []string
	r, e := attach(t, db, accountlinking.Config{Override: accountlinking.Override{
		Functions: func(original accountlinking.Functions, functions *accountlinking.Functions) {
			functions.GetUser = func(ctx context.Context, in accountlinking.GetUserInput) (*accountlinking.User, error) {
				seen = append(seen, in.UserID)
				require.NotNil(t, env.FromContext(ctx), "the instance is in ctx")
				switch in.UserID {
				case "down":
					return nil, failure
				case "forgotten":
					return nil, nil
				case "panics":
					panic("override")
				}
				return original.GetUser(ctx, in)
			}
		},
	}})
	ctx := context.Background()

	user, err := r.GetUser(ctx, "u")
	require.NoError(t, err)
	require.Equal(t, "u", user.ID)
	_, err = r.GetUser(ctx, "down")
	require.ErrorIs(t, err, failure)
	_, err = r.GetUser(ctx, "forgotten")
	require.EqualError(t, err, "accountlinking: GetUser was overridden and returned neither a user nor an error")
	require.PanicsWithValue(t, "override", func() { r.GetUser(ctx, "panics") })

	// C-02: sessions ask through the same table, and an error is never a person of its own.
	seen = nil
	found, err := e.UserOf(ctx, "u")
	require.NoError(t, err)
	require.Equal(t, env.User{ID: "u", Known: true}, found)
	_, err = e.UserOf(ctx, "down")
	require.ErrorIs(t, err, failure)
	_, err = e.UserOf(ctx, "forgotten")
	require.Error(t, err)
	require.PanicsWithValue(t, "override", func() { e.UserOf(ctx, "panics") })
	require.Equal(t, []string{"u", "down", "forgotten", "panics"}, seen)
}

func TestEveryFunctionCanBeOverridden(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	called := map[string]bool{}
	r, _ := attach(t, db, accountlinking.Config{Override: accountlinking.Override{
		Functions: func(original accountlinking.Functions, functions *accountlinking.Functions) {
			functions.GetUsers = func(ctx context.Context, in accountlinking.GetUsersInput) (accountlinking.GetUsersResult, error) {
				called["GetUsers"] = true
				return original.GetUsers(ctx, in)
			}
			functions.ListUsersByAccountInfo = func(ctx context.Context, in accountlinking.ListUsersByAccountInfoInput) ([]*accountlinking.User, error) {
				called["ListUsersByAccountInfo"] = true
				return original.ListUsersByAccountInfo(ctx, in)
			}
		},
	}})
	_, err := r.GetUsers(context.Background(), accountlinking.GetUsersInput{})
	require.NoError(t, err)
	_, err = r.ListUsersByAccountInfo(context.Background(), accountlinking.ListUsersByAccountInfoInput{})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"GetUsers": true, "ListUsersByAccountInfo": true}, called)
}

func TestAFunctionThatIsMissingIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	e := &env.Env{}
	_, err := accountlinking.Attach(e, accountlinking.Config{Override: accountlinking.Override{
		Functions: func(_ accountlinking.Functions, functions *accountlinking.Functions) {
			*functions = accountlinking.Functions{}
		},
	}})
	for _, name := range []string{"GetUsers", "GetUser", "ListUsersByAccountInfo"} {
		require.ErrorContains(t, err, "AccountLinking.Override.Functions left the function "+name+" nil")
	}
	require.Nil(t, e.UserOf)
}

// D-08: the person behind a login method is what storage says, not what a token says.
func TestUserOf(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		_, e := attach(t, db, accountlinking.Config{})
		insert(t, db, public("p", "emailpassword", "a@example.com"), public("m", "passwordless", "b@example.com"))
		linkTo(t, db, "m", "p")
		exec(t, db, bury, "p")
		exec(t, db, leave, "p")
		for id, want := range map[string]env.User{
			"m":      {ID: "p", Known: true},
			"p":      {ID: "p", Known: true, Tombstone: true},
			"nobody": {ID: "nobody"},
		} {
			db.Probe.Reset()
			got, err := e.UserOf(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 1, db.Probe.Count())
		}
		db.Probe.FailAt(1)
		_, err := e.UserOf(context.Background(), "m")
		require.ErrorIs(t, err, storetest.ErrInjected)
		_, err = e.UserOf(context.Background(), strings.Repeat("x", 129))
		badInput(t, err, "userId must have 1 to 128 characters")
	})
}
