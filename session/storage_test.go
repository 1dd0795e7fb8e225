package session_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// plant writes a session that no token opens.
func plant(t *testing.T, db *storetest.DB, handle, userID string, created, expires time.Time) {
	t.Helper()
	_, err := db.Backend.Query(t.Context(), `INSERT INTO {p}sessions (tenant_id, session_handle, user_id, refresh_hash, generation, session_data, payload,
		use_static_key, created_at, expires_at, expires_day) VALUES ('public', $1, $2, $3, 0, $4, $5, FALSE, $6, $7, $8)`,
		handle, userID, []byte{1}, `{"of":"`+userID+`"}`, `{"p":"`+userID+`"}`, created.UnixMilli(), expires.UnixMilli(), expires.UnixMilli()/86400000)
	require.NoError(t, err)
}

// S-06: sessions can be listed and ended, of one login method or of the person.
func TestListAndRevoke(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		for _, id := range []string{"primary", "recipe", "other"} {
			insertUser(t, db, id)
		}
		_, err := db.Backend.Query(t.Context(), "UPDATE {p}recipe_users SET group_id = 'primary' WHERE user_id = 'recipe'")
		require.NoError(t, err)
		handles := map[string]string{}
		for _, id := range []string{"primary", "recipe", "other", "nobody"} {
			plant(t, db, "h-"+id, id, b.clock.Now(), b.clock.Now().Add(time.Hour))
			handles[id] = "h-" + id
			b.clock.Add(time.Second)
		}
		list := func(in session.GetAllSessionHandlesForUserInput) []string {
			t.Helper()
			db.Probe.Reset()
			got, err := b.GetAllSessionHandlesForUser(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, 1, db.Probe.Count())
			return got
		}
		type in = session.GetAllSessionHandlesForUserInput
		both := []string{handles["recipe"], handles["primary"]}
		require.Equal(t, both, list(in{UserID: "primary"}), "newest first")
		require.Equal(t, both, list(in{UserID: "recipe"}), "by the id of a login method, too")
		require.Equal(t, []string{handles["primary"]}, list(in{UserID: "primary", OnlyThisLoginMethod: true}))
		require.Equal(t, []string{handles["recipe"]}, list(in{UserID: "recipe", OnlyThisLoginMethod: true}))
		require.Equal(t, []string{handles["nobody"]}, list(in{UserID: "nobody"}), "an id without a login method")
		require.Equal(t, []string{}, list(in{UserID: "stranger"}))

		db.Probe.Reset()
		infos, err := b.GetAllSessionsForUser(t.Context(), in{UserID: "primary"})
		require.NoError(t, err)
		require.Equal(t, 1, db.Probe.Count(), "one statement, however many sessions")
		require.Len(t, infos, 2)
		require.Equal(t, "primary", infos[0].UserID)
		require.Equal(t, session.RecipeUserID("recipe"), infos[0].RecipeUserID)
		require.Equal(t, map[string]any{"of": "recipe"}, infos[0].SessionDataInDatabase)
		require.Equal(t, map[string]any{"p": "recipe"}, infos[0].CustomClaimsInAccessTokenPayload)
		require.Equal(t, b.clock.Now().Add(-3*time.Second), infos[0].TimeCreated)

		var bad *session.BadInputError
		for _, id := range []string{"", strings.Repeat("x", 129), "a\x00", "\xff"} {
			_, err = b.GetAllSessionHandlesForUser(t.Context(), in{UserID: id})
			require.ErrorAs(t, err, &bad)
			_, err = b.GetAllSessionsForUser(t.Context(), in{UserID: id})
			require.ErrorAs(t, err, &bad)
			_, err = b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: id})
			require.ErrorAs(t, err, &bad)
		}

		ok, err := b.RevokeSession(t.Context(), handles["other"])
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = b.RevokeSession(t.Context(), handles["other"])
		require.NoError(t, err)
		require.False(t, ok)
		revoked, err := b.RevokeMultipleSessions(t.Context(), []string{"unknown", handles["nobody"], handles["nobody"], "x_t1"})
		require.NoError(t, err)
		require.Equal(t, []string{handles["nobody"]}, revoked)
		_, err = b.RevokeMultipleSessions(t.Context(), []string{handles["primary"], "\x00"})
		require.ErrorAs(t, err, &bad)
		none, err := b.RevokeMultipleSessions(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)

		db.Probe.Reset()
		revoked, err = b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "recipe", OnlyThisLoginMethod: true})
		require.NoError(t, err)
		require.Equal(t, []string{handles["recipe"]}, revoked)
		require.Equal(t, 1, db.Probe.Count())
		revoked, err = b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "recipe"})
		require.NoError(t, err)
		require.Equal(t, []string{handles["primary"]}, revoked, "the person's")
		require.Zero(t, db.Rows("sessions"))
		require.Equal(t, []string{"session.ended revoked", "session.ended revoked", "session.ended revoked", "session.ended revoked"}, b.eventNames())
		require.Equal(t, "primary", b.events[2].UserID, "events name the person")
	})
}

// The sessions of a person whose first login method was deleted are still that person's.
func TestSessionsOfATombstone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		insertUser(t, db, "anchor")
		insertUser(t, db, "member")
		for _, change := range []string{
			"UPDATE {p}recipe_users SET group_id = 'anchor' WHERE user_id = 'member'", "UPDATE {p}recipe_users SET recipe_id = '' WHERE user_id = 'anchor'",
		} {
			_, err := db.Backend.Query(t.Context(), change)
			require.NoError(t, err)
		}
		plant(t, db, "h", "anchor", b.clock.Now(), b.clock.Now().Add(time.Hour))
		revoked, err := b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "member"})
		require.NoError(t, err)
		require.Equal(t, []string{"h"}, revoked)
	})
}

// Each flow costs what was promised, however much there is in the tables.
func TestStatementCounts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		handler := app(b, session.NewSession{RevokeReplaced: true})
		for range 50 {
			b.sign("user-1")
		}
		count := func(want int, name string, f func()) {
			t.Helper()
			db.Probe.Reset()
			f()
			require.Equal(t, want, db.Probe.Count(), "%s: %s", name, strings.Join(db.Probe.Statements(), "\n"))
		}
		c := newClient(t, handler, "cookie")
		call := func(method, path string, status int) func() {
			return func() {
				t.Helper()
				require.Equal(t, status, c.call(method, path, "").StatusCode)
			}
		}
		count(1, "create", call("POST", "/login", 204))
		count(2, "create in place of another", call("POST", "/login", 204))
		count(0, "verify", call("GET", "/me", 200))
		count(1, "verify with the database", call("GET", "/strict", 200))
		old := c.cookies["sRefreshToken"]
		count(2, "refresh", call("POST", "/auth/session/refresh", 200))
		present := c.cookies["sRefreshToken"]
		c.cookies["sRefreshToken"] = old
		count(1, "refresh within the grace", call("POST", "/auth/session/refresh", 200))
		require.Equal(t, present, c.cookies["sRefreshToken"])
		count(0, "refresh with garbage", func() { c.cookies["sRefreshToken"] = "x"; call("POST", "/auth/session/refresh", 401)() })
		c = newClient(t, handler, "cookie")
		call("POST", "/login", 204)()
		old = c.cookies["sRefreshToken"]
		call("POST", "/auth/session/refresh", 200)()
		b.clock.Add(time.Minute)
		c.cookies["sRefreshToken"] = old
		count(2, "theft", call("POST", "/auth/session/refresh", 401))
		c = newClient(t, handler, "cookie")
		call("POST", "/login", 204)()
		count(1, "sign out", call("POST", "/auth/signout", 200))
		count(0, "no session", call("GET", "/me", 401))
		count(0, "no refresh token", call("POST", "/auth/session/refresh", 401))
	})
}

// Whatever statement fails: the caller hears of it, nothing is half written, and no token goes out.
func TestFaults(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		handler := app(b, session.NewSession{RevokeReplaced: true})
		for _, route := range [][2]string{{"POST", "/login"}, {"GET", "/strict"}, {"POST", "/auth/session/refresh"}, {"POST", "/auth/signout"}} {
			for n := 1; ; n++ {
				c := newClient(t, handler, "header")
				require.Equal(t, http.StatusNoContent, c.call("POST", "/login", "").StatusCode)
				before := db.Dump("sessions")
				db.Probe.FailAt(n)
				res := c.call(route[0], route[1], "")
				if !db.Probe.Failed() {
					db.Probe.FailAt(0)
					require.Greater(t, n, 1)
					break
				}
				require.Equal(t, http.StatusInternalServerError, res.StatusCode, "%s %d", route, n)
				require.Equal(t, `{"message":"internal error"}`, text(t, res))
				for _, name := range []string{"Front-Token", "St-Access-Token", "St-Refresh-Token", "Set-Cookie"} {
					require.Empty(t, res.Header[name])
				}
				if route[1] == "/login" { // a session that nobody has the tokens of may stay, the replaced one does
					after := db.Dump("sessions")
					for line := range strings.SplitSeq(before, "\n") {
						require.Contains(t, after, line)
					}
				} else {
					require.Equal(t, before, db.Dump("sessions"))
				}
			}
			_, err := db.Backend.Query(t.Context(), "DELETE FROM {p}sessions")
			require.NoError(t, err)
		}
		s := b.sign("user-1")
		before := db.Dump("sessions")
		for name, f := range map[string]func() error{
			"merge":     func() error { return s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"a": 1}) },
			"by handle": func() error { return b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{"a": 1}) },
			"data":      func() error { return s.UpdateDataInDatabase(t.Context(), map[string]any{"a": 1}) },
			"revoke":    func() error { return s.Revoke(t.Context()) },
			"several": func() error {
				_, err := b.RevokeMultipleSessions(t.Context(), []string{"x", s.Handle(), "y"})
				return err
			},
			"all": func() error {
				_, err := b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: "user-1"})
				return err
			},
		} {
			for n := 1; ; n++ {
				db.Probe.FailAt(n)
				err := f()
				if !db.Probe.Failed() {
					db.Probe.FailAt(0)
					require.NoError(t, err)
					break
				}
				require.ErrorIs(t, err, storetest.ErrInjected, "%s %d", name, n)
				require.Equal(t, before, db.Dump("sessions"), "%s %d", name, n)
			}
			_, err := db.Backend.Query(t.Context(), "DELETE FROM {p}sessions")
			require.NoError(t, err)
			s = b.sign("user-1")
			before = db.Dump("sessions")
		}
	})
}

func TestDeleteExpired(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		for i := range 1203 {
			plant(t, db, fmt.Sprint("h", i), "u", time.UnixMilli(0), time.UnixMilli(86400000))
		}
		live := b.sign("user-1")
		db.Probe.Reset()
		require.NoError(t, b.DeleteExpired(t.Context()))
		require.Equal(t, 3+2, db.Probe.Count(), "three batches, and the keys")
		require.Equal(t, 1, db.Rows("sessions"))
		b.clock.Add(100 * 24 * time.Hour)
		require.NoError(t, b.DeleteExpired(t.Context()))
		require.Equal(t, 1, db.Rows("sessions"), "on the day itself it stays")
		_, err := b.GetSessionInformation(t.Context(), live.Handle())
		require.ErrorIs(t, err, session.ErrSessionDoesNotExist, "but it is gone for everybody")
		b.clock.Add(24 * time.Hour)
		require.NoError(t, b.DeleteExpired(t.Context()))
		require.Zero(t, db.Rows("sessions"))
		require.Equal(t, []string{"session.created "}, b.eventNames(), "an expiry is no event")

		db.Probe.FailAt(1)
		require.ErrorIs(t, b.DeleteExpired(t.Context()), storetest.ErrInjected)
	})
}

// A sweep beside refreshes takes no live session.
func TestDeleteExpiredBesideRefreshes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{cfg: session.Config{RefreshTokenValidity: 48 * time.Hour}})
		var tokens []string
		for range 50 {
			tokens = append(tokens, tokensOf(t, b, "user-1").RefreshToken)
		}
		b.clock.Add(48*time.Hour - time.Millisecond)
		var group sync.WaitGroup
		for _, token := range tokens {
			group.Go(func() {
				_, err := b.refreshed(token)
				assert.NoError(t, err)
			})
			group.Go(func() { assert.NoError(t, b.DeleteExpired(t.Context())) })
		}
		group.Wait()
		require.Equal(t, 50, db.Rows("sessions"))
	})
}

// I-02: hostile text is only text.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		for _, id := range []string{`'; DROP TABLE st_sessions; --`, `" OR 1=1`, `$1`, `{p}`, `%`, "\u2028\\", "\r\nSet-Cookie: a=b", "<script>"} {
			s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
				RecipeUserID: session.RecipeUserID(id), AccessTokenPayload: map[string]any{id: id}, SessionDataInDatabase: map[string]any{id: id},
			})
			require.NoError(t, err, id)
			refreshed, err := b.refreshed(s.AllSessionTokensDangerously().RefreshToken)
			require.NoError(t, err, id)
			require.Equal(t, id, refreshed.UserID())
			require.Equal(t, id, refreshed.AccessTokenPayload()[id])
			revoked, err := b.RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: id})
			require.NoError(t, err)
			require.Equal(t, []string{s.Handle()}, revoked)
			_, err = b.RevokeSession(t.Context(), id)
			require.NoError(t, err)
		}
	})
}

func TestCreateJWT(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	create := func(in session.CreateJWTInput) map[string]any {
		t.Helper()
		token, err := b.CreateJWT(t.Context(), in)
		require.NoError(t, err)
		return decodeJSON(t, payloadOf(t, token))
	}
	now := float64(b.clock.Now().Unix())
	require.Equal(t, map[string]any{"iss": "https://api.acme.example/auth", "iat": now, "exp": now + 3153600000}, create(session.CreateJWTInput{}))
	require.Equal(t, map[string]any{"iss": "mine", "iat": now, "exp": now + 60, "a": "b"}, create(session.CreateJWTInput{
		Payload: map[string]any{"iss": "mine", "iat": 1, "exp": 1, "a": "b"}, Validity: time.Minute, UseDynamicSigningKey: true,
	}))
	for _, validity := range []time.Duration{-time.Second, time.Millisecond} {
		_, err := b.CreateJWT(t.Context(), session.CreateJWTInput{Validity: validity})
		require.Error(t, err)
	}
	var bad *session.BadInputError
	_, err := b.CreateJWT(t.Context(), session.CreateJWTInput{Payload: map[string]any{"a": "\x00"}})
	require.ErrorAs(t, err, &bad)
}
