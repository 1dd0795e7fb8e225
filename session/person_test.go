package session_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/session"
)

func TestReplacedSessions(t *testing.T) {
	t.Parallel()
	cross := session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.test"}
	for name, c := range map[string]struct {
		info    session.AppInfo
		mode    string
		change  func(b *bundle, c *client)
		request func(*http.Request)
		keep    bool // RevokeReplaced is not set
		ended   bool
	}{
		"cookie":                 {mode: "cookie", ended: true},
		"header":                 {mode: "header", ended: true},
		"not asked for":          {mode: "cookie", keep: true},
		"expired":                {mode: "cookie", change: func(b *bundle, _ *client) { b.clock.Add(2 * time.Hour) }, ended: true},
		"forged":                 {mode: "header", change: func(_ *bundle, c *client) { c.access = c.access[:len(c.access)-4] + "AAAA" }},
		"foreign":                {mode: "header", change: func(_ *bundle, c *client) { c.access = "foreign" }},
		"cross-site form":        {info: cross, mode: "cookie", request: func(r *http.Request) { r.Header.Del("rid") }},
		"cross-site by our page": {info: cross, mode: "cookie", ended: true},
		"header without rid":     {info: cross, mode: "header", request: func(r *http.Request) { r.Header.Del("rid") }, ended: true},
		"the second of two": {mode: "cookie", request: func(r *http.Request) {
			r.Header.Set("Cookie", "sAccessToken=x; "+r.Header.Get("Cookie"))
		}, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			b := newBundle(t, db, setup{info: c.info})
			client := newClient(t, app(b, session.NewSession{RevokeReplaced: !c.keep}), c.mode)
			client.call("POST", "/login", "")
			handles, err := b.GetAllSessionHandlesForUser(t.Context(), session.GetAllSessionHandlesForUserInput{UserID: "user-1"})
			require.NoError(t, err)
			require.Len(t, handles, 1)
			if c.change != nil {
				c.change(b, client)
			}
			request := c.request
			if request == nil {
				request = func(*http.Request) {}
			}
			require.Equal(t, http.StatusNoContent, client.call("POST", "/login", "", request).StatusCode, b.log)
			_, err = b.GetSessionInformation(t.Context(), handles[0])
			if c.ended {
				require.ErrorIs(t, err, session.ErrSessionDoesNotExist)
				require.Contains(t, b.eventNames(), "session.ended replaced")
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		_, err := db.Backend.Query(t.Context(), "INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('t1', '{}', 0)")
		require.NoError(t, err)
		s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "u", TenantID: "T1"})
		require.NoError(t, err)
		require.Equal(t, "t1", s.TenantID())
		require.True(t, strings.HasSuffix(s.Handle(), "_t1"), s.Handle())
		public := b.sign("u")
		require.NotContains(t, public.Handle(), "_")

		info, err := b.GetSessionInformation(t.Context(), s.Handle())
		require.NoError(t, err)
		require.Equal(t, "t1", info.TenantID)
		refreshed, err := b.refreshed(s.AllSessionTokensDangerously().RefreshToken)
		require.NoError(t, err)
		require.Equal(t, "t1", refreshed.TenantID())

		// S-10: a list of a tenant holds nothing of another.
		for tenant, want := range map[string][]string{"t1": {s.Handle()}, "public": {public.Handle()}} {
			handles, err := b.GetAllSessionHandlesForUser(t.Context(), session.GetAllSessionHandlesForUserInput{UserID: "u", OnlyTenantID: tenant})
			require.NoError(t, err)
			require.Equal(t, want, handles)
		}
		_, err = b.GetAllSessionHandlesForUser(t.Context(), session.GetAllSessionHandlesForUserInput{UserID: "u", OnlyTenantID: "t2"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		_, err = b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "u", OnlyTenantID: "t2"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		revoked, err := b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "u", OnlyTenantID: "t1"})
		require.NoError(t, err)
		require.Equal(t, []string{s.Handle()}, revoked)
		require.Equal(t, 1, db.Rows("sessions"))
	})
}

func resolver(answers ...env.User) (func(context.Context, string) (env.User, error), *int) {
	asked := new(int)
	return func(context.Context, string) (env.User, error) {
		answer := answers[min(*asked, len(answers)-1)]
		*asked++
		return answer, nil
	}, asked
}

func insertUser(t *testing.T, db *storetest.DB, id string) {
	t.Helper()
	_, err := users.Insert(t.Context(), db.Backend, users.Row{UserID: id, RecipeID: "emailpassword", TenantIDs: []string{"public"}, Email: id + "@acme.example"})
	require.NoError(t, err)
}

func TestThePersonChangesMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		insertUser(t, db, "recipe")
		insertUser(t, db, "primary")
		_, err := db.Backend.Query(t.Context(), "UPDATE {p}recipe_users SET group_id = 'primary' WHERE user_id = 'recipe'")
		require.NoError(t, err)

		userOf, asked := resolver(env.User{ID: "recipe", Known: true}, env.User{ID: "primary", Known: true})
		b := newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		s := b.sign("recipe")
		require.Equal(t, "primary", s.UserID())
		require.Equal(t, session.RecipeUserID("recipe"), s.RecipeUserID())
		require.Equal(t, 2, *asked)
		require.Equal(t, 1, db.Rows("sessions"))

		userOf, asked = resolver(env.User{ID: "recipe"}, env.User{ID: "primary", Known: true})
		b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		require.Equal(t, "primary", b.sign("recipe").UserID(), "made known meanwhile")
		require.Equal(t, 2, *asked)

		userOf, _ = resolver(env.User{ID: "recipe", Known: true}, env.User{ID: "recipe"})
		b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		_, err = b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "recipe"})
		require.ErrorIs(t, err, env.ErrUserChanged, "D-09: deleted meanwhile")

		userOf, asked = resolver(env.User{ID: "recipe", Known: true})
		b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		_, err = b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "recipe"})
		require.ErrorContains(t, err, "too often")
		require.Equal(t, 100, *asked)

		*asked = 0
		_, err = b.CreateNewSessionWithoutRequestResponse(env.WithSignIn(t.Context(), env.SignIn{UserID: "recipe"}), session.NewSession{RecipeUserID: "recipe"})
		require.ErrorIs(t, err, env.ErrUserChanged, "a sign-in flow starts over by itself")
		require.Equal(t, 1, *asked)

		// What a flow has asked about one person is good for no other.
		for name, now := range map[string]env.User{"linked": {ID: "primary", Known: true}, "deleted": {ID: "recipe"}} {
			userOf, _ = resolver(now)
			b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
			before := db.Rows("sessions")
			_, err = b.CreateNewSessionWithoutRequestResponse(env.WithSignIn(t.Context(), env.SignIn{UserID: "recipe"}), session.NewSession{RecipeUserID: "recipe"})
			require.ErrorIs(t, err, env.ErrUserChanged, name)
			require.Equal(t, before, db.Rows("sessions"), name)
		}

		userOf, _ = resolver(env.User{ID: "primary", Known: true})
		b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		for version, fine := range map[int64]bool{0: true, 1: true, 2: false} {
			signIn := env.SignIn{UserID: "primary", CredentialVersion: version}
			_, err = b.CreateNewSessionWithoutRequestResponse(env.WithSignIn(t.Context(), signIn), session.NewSession{RecipeUserID: "primary"})
			require.Equal(t, fine, err == nil, "a password of version %d: %v", version, err)
		}

		userOf, _ = resolver(env.User{ID: "primary", Known: true, Tombstone: true})
		b = newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		_, err = b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "primary"})
		require.ErrorContains(t, err, "no login method")

		b = newBundle(t, db, setup{env: func(e *env.Env) {
			e.UserOf = func(context.Context, string) (env.User, error) { return env.User{}, errors.New("no answer") }
		}})
		_, err = b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "primary"})
		require.ErrorContains(t, err, "no answer")
	})
}

func TestNoSessionInATransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		refresh := b.sign("user-1").AllSessionTokensDangerously().RefreshToken
		err := db.Backend.Tx(t.Context(), func(ctx context.Context) error {
			_, err := b.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: "user-1"})
			require.ErrorIs(t, err, storage.ErrInsideTx)
			_, err = b.RefreshSessionWithoutRequestResponse(ctx, session.RefreshSessionInput{RefreshToken: refresh, DisableAntiCSRF: true})
			require.ErrorIs(t, err, storage.ErrInsideTx)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, db.Rows("sessions"))
	})
}
