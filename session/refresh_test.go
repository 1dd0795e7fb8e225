package session_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

const stolen = `{"message":"token theft detected"}`

// S-03: the same successor within the grace, theft after it and for anything older, and at once where there is no grace.
func TestReuse(t *testing.T) {
	t.Parallel()
	const (
		next  = "next"
		same  = "same"
		theft = "theft"
		gone  = "gone"
	)
	type step struct {
		after time.Duration
		token int // index of the refresh token that is presented
		want  string
	}
	for name, c := range map[string]struct {
		grace *time.Duration
		steps []step
	}{
		"within the grace":             {nil, []step{{0, 0, next}, {30 * time.Second, 0, same}, {0, 1, next}}},
		"used in between":              {nil, []step{{0, 0, next}, {0, 0, same}, {0, 0, same}}},
		"after the grace":              {nil, []step{{0, 0, next}, {30*time.Second + time.Millisecond, 0, theft}, {0, 0, gone}, {0, 1, gone}}},
		"a lost answer, an hour later": {nil, []step{{0, 0, next}, {time.Hour, 0, theft}}},
		"an older one":                 {nil, []step{{0, 0, next}, {0, 1, next}, {0, 0, theft}, {0, 2, gone}}},
		"no grace":                     {new(time.Duration(0)), []step{{0, 0, next}, {0, 0, theft}, {0, 1, gone}}},
		"no grace, in order":           {new(time.Duration(0)), []step{{0, 0, next}, {0, 1, next}, {time.Hour, 2, next}}},
		"a long grace":                 {new(5 * time.Minute), []step{{0, 0, next}, {5 * time.Minute, 0, same}}},
		"a clock that jumps back":      {nil, []step{{0, 0, next}, {-time.Minute, 0, same}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *storetest.DB) {
				b := newBundle(t, db, setup{cfg: session.Config{ReuseGrace: c.grace}})
				first := b.sign("user-1")
				tokens := []string{first.AllSessionTokensDangerously().RefreshToken}
				for i, s := range c.steps {
					b.clock.Add(s.after)
					got, err := b.refreshed(tokens[s.token])
					switch s.want {
					case next:
						require.NoError(t, err)
						fresh := got.AllSessionTokensDangerously()
						require.NotContains(t, tokens, fresh.RefreshToken, "step %d", i)
						require.Equal(t, first.Handle(), got.Handle())
						require.Equal(t, b.clock.Now(), fresh.RefreshTokenCreated)
						require.Equal(t, b.clock.Now().Add(100*24*time.Hour), fresh.RefreshTokenExpiry)
						tokens = append(tokens, fresh.RefreshToken)
					case same:
						require.NoError(t, err)
						require.Equal(t, tokens[s.token+1], got.AllSessionTokensDangerously().RefreshToken, "step %d", i)
						_, err = b.verified(got.AccessToken())
						require.NoError(t, err)
					case theft:
						var e *session.TokenTheftDetectedError
						require.ErrorAs(t, err, &e, "step %d", i)
						require.Equal(t, session.TokenTheftDetectedError{SessionHandle: first.Handle(), UserID: "user-1", RecipeUserID: "user-1"}, *e)
						require.Zero(t, db.Rows("sessions"))
						require.Contains(t, b.eventNames(), "session.theft reused")
					case gone:
						var e *session.UnauthorisedError
						require.ErrorAs(t, err, &e, "step %d", i)
						require.False(t, e.KeepTokens)
					}
				}
				for _, token := range tokens {
					require.NotContains(t, b.log.String(), token)
				}
			})
		})
	}
}

// Theft ends one session, and thief and owner are out alike.
func TestTheftOverHTTP(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	handler := app(b, session.NewSession{})
	owner, elsewhere := newClient(t, handler, "cookie"), newClient(t, handler, "cookie")
	owner.call("POST", "/login", "")
	elsewhere.call("POST", "/login", "")
	copied := owner.cookies["sRefreshToken"]
	owner.call("POST", "/auth/session/refresh", "")
	b.clock.Add(time.Minute)
	res := serve(handler, request("POST", "/auth/session/refresh", "sRefreshToken="+copied, ""))
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Equal(t, stolen, text(t, res))
	require.Equal(t, "remove", res.Header.Get("front-token"))
	require.Len(t, res.Cookies(), 2)
	require.Equal(t, []string{""}, res.Header["St-Access-Token"], "both modes are cleared")
	require.Equal(t, "front-token, st-access-token, st-refresh-token", res.Header.Get("Access-Control-Expose-Headers"))
	require.Contains(t, b.log.String(), "after its grace")

	res = owner.call("POST", "/auth/session/refresh", "")
	require.Equal(t, unauthorised, text(t, res))
	require.Empty(t, owner.cookies)
	require.Equal(t, http.StatusOK, elsewhere.call("POST", "/auth/session/refresh", "").StatusCode, "other sessions of the user go on")
}

// S-03: of a hundred at once one rotates, and all have the same successor. Without a grace one succeeds, and then it is theft.
func TestParallelRefreshes(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]*time.Duration{"grace": nil, "no grace": new(time.Duration(0))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *storetest.DB) {
				b := newBundle(t, db, setup{cfg: session.Config{ReuseGrace: grace}})
				instances := []*bundle{b}
				if db.Name != "memory" {
					instances = append(instances, newBundle(t, db.Again(storetest.Keys(t, "k1")), setup{clock: b.clock, cfg: session.Config{ReuseGrace: grace}}))
				}
				token := b.sign("user-1").AllSessionTokensDangerously().RefreshToken
				var mu sync.Mutex
				successors := map[string]int{}
				thefts, gone := 0, 0
				var group sync.WaitGroup
				for i := range 100 {
					group.Go(func() {
						s, err := instances[i%len(instances)].refreshed(token)
						mu.Lock()
						defer mu.Unlock()
						var theft *session.TokenTheftDetectedError
						var out *session.UnauthorisedError
						switch {
						case err == nil:
							successors[s.AllSessionTokensDangerously().RefreshToken]++
						case errors.As(err, &theft):
							thefts++
						case errors.As(err, &out):
							gone++
						default:
							assert.NoError(t, err)
						}
					})
				}
				group.Wait()
				require.Len(t, successors, 1)
				for successor, n := range successors {
					if grace == nil {
						require.Equal(t, 100, n)
						require.Contains(t, db.Dump("sessions"), "generation=1 ")
						_, err := b.refreshed(successor)
						require.NoError(t, err)
						continue
					}
					require.Equal(t, []int{1, 1, 98}, []int{n, thefts, gone})
					require.Zero(t, db.Rows("sessions"))
				}
			})
		})
	}
}

// S-04: the idle limit starts anew with each refresh, the absolute one does not.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{cfg: session.Config{RefreshTokenValidity: 24 * time.Hour, AbsoluteLifetime: 60 * time.Hour}})
		token := b.sign("user-1").AllSessionTokensDangerously().RefreshToken
		refresh := func(after time.Duration) error {
			b.clock.Add(after)
			s, err := b.refreshed(token)
			if err == nil {
				token = s.AllSessionTokensDangerously().RefreshToken
			}
			return err
		}
		require.NoError(t, refresh(24*time.Hour-time.Millisecond))
		require.NoError(t, refresh(24*time.Hour-time.Millisecond))
		require.NoError(t, refresh(12*time.Hour+time.Millisecond))
		var out *session.UnauthorisedError
		require.ErrorAs(t, refresh(time.Millisecond), &out, "60 hours after the sign-in")

		token = b.sign("user-1").AllSessionTokensDangerously().RefreshToken
		require.ErrorAs(t, refresh(24*time.Hour), &out, "idle for a day")
	})
}

func TestRefreshTokensThatAreNoGood(t *testing.T) {
	t.Parallel()
	for _, allowed := range []session.TransferMethod{"", "header", "cookie"} {
		b := inMemory(t, session.Config{GetTokenTransferMethod: func(*http.Request, bool) session.TransferMethod { return allowed }})
		tokens := tokensOf(t, b, "user-1")
		handler := app(b, session.NewSession{})
		_, elsewhere, _ := strings.Cut(tokensOf(t, inMemory(t, session.Config{}), "user-1").RefreshToken, ".")
		keyID, _, _ := strings.Cut(tokens.RefreshToken, ".")
		for name, token := range map[string]string{
			"none": "", "garbage": "garbage", "an access token": tokens.AccessToken, "a front token": tokens.FrontToken,
			"cut": tokens.RefreshToken[:len(tokens.RefreshToken)-1], "long": strings.Repeat("a", 20<<10),
			"of another instance": keyID + "." + elsewhere, "of an unknown key": "0000000000000000." + elsewhere,
		} {
			for _, r := range []*http.Request{
				request("POST", "/auth/session/refresh", "sRefreshToken="+token+"; sAccessToken="+tokens.AccessToken, ""),
				request("POST", "/auth/session/refresh", "", token),
			} {
				res := serve(handler, r)
				require.Equal(t, http.StatusUnauthorized, res.StatusCode, name)
				require.Equal(t, unauthorised, text(t, res), name)
				require.Equal(t, "remove", res.Header.Get("front-token"), name)
				require.Len(t, res.Cookies(), 2, name)
				for _, cookie := range res.Cookies() {
					require.Equal(t, -1, cookie.MaxAge)
					require.Empty(t, cookie.Domain)
				}
			}
		}
		_, err := b.GetSessionInformation(t.Context(), handleOf(t, b, tokens))
		require.NoError(t, err, "none of these ended the session")
	}
}

func handleOf(t *testing.T, b *bundle, tokens session.Tokens) string {
	t.Helper()
	s, err := b.verified(tokens.AccessToken)
	require.NoError(t, err)
	return s.Handle()
}

// Where a refresh token is taken from, and what becomes of one in the other mode.
func TestWhichRefreshTokenIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed        session.TransferMethod
		header, cookie bool
		taken          string // header, cookie or nothing
		clears         bool   // the other mode
	}{
		{"", true, false, "header", false}, {"", true, true, "header", true}, {"", false, true, "cookie", false},
		{"header", false, true, "", true}, {"header", true, true, "header", true},
		{"cookie", true, false, "", true}, {"cookie", true, true, "cookie", true}, {"cookie", false, true, "cookie", false},
	} {
		b := inMemory(t, session.Config{GetTokenTransferMethod: func(*http.Request, bool) session.TransferMethod { return c.allowed }})
		inHeader, inCookie := tokensOf(t, b, "in-header"), tokensOf(t, b, "in-cookie")
		cookie, bearer := "", ""
		if c.header {
			bearer = inHeader.RefreshToken
		}
		if c.cookie {
			cookie = "sRefreshToken=" + inCookie.RefreshToken
		}
		res := serve(app(b, session.NewSession{}), request("POST", "/auth/session/refresh", cookie, bearer))
		cleared := false
		for _, cookie := range res.Cookies() {
			cleared = cleared || cookie.MaxAge < 0
		}
		switch c.taken {
		case "header":
			require.Equal(t, "in-header", frontOf(t, res).UID, "%+v", c)
			require.NotEmpty(t, res.Header.Get("st-refresh-token"))
			require.Equal(t, c.clears, cleared, "%+v", c)
		case "cookie":
			require.Equal(t, "in-cookie", frontOf(t, res).UID, "%+v", c)
			require.False(t, cleared)
			_, emptied := res.Header["St-Refresh-Token"]
			require.Equal(t, c.clears, emptied, "%+v", c)
		default:
			require.Equal(t, http.StatusUnauthorized, res.StatusCode, "%+v", c)
			require.True(t, cleared)
		}
	}
}

// What is evaluated at a refresh goes into the token and the row; its failure rotates nothing.
func TestOnRefresh(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var update map[string]any
		var fail error
		var seen env.Refresh
		b := newBundle(t, db, setup{env: func(e *env.Env) {
			e.OnRefresh = func(ctx context.Context, in env.Refresh) (map[string]any, error) {
				assert.Same(t, e, env.FromContext(ctx))
				seen = in
				return update, fail
			}
		}})
		s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
			RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"v": true, "old": 1.0},
		})
		require.NoError(t, err)
		token := s.AllSessionTokensDangerously().RefreshToken
		update = map[string]any{"v": false, "old": nil}
		refreshed, err := b.refreshed(token)
		require.NoError(t, err)
		require.Equal(t, map[string]any{"v": true, "old": 1.0, "sub": "user-1", "rsub": "user-1", "tId": "public", "sessionHandle": s.Handle()}, seen.Payload)
		require.Equal(t, b.clock.Now(), seen.TimeCreated)
		require.Equal(t, false, refreshed.AccessTokenPayload()["v"])
		require.NotContains(t, refreshed.AccessTokenPayload(), "old")
		info, err := b.GetSessionInformation(t.Context(), s.Handle())
		require.NoError(t, err)
		require.Equal(t, map[string]any{"v": false}, info.CustomClaimsInAccessTokenPayload)

		fail = errors.New("the policy failed")
		before := db.Dump("sessions")
		res := serve(app(b, session.NewSession{}), request("POST", "/auth/session/refresh", "", refreshed.AllSessionTokensDangerously().RefreshToken))
		require.Equal(t, http.StatusInternalServerError, res.StatusCode)
		require.Empty(t, res.Header["Front-Token"])
		require.Equal(t, before, db.Dump("sessions"), "nothing was rotated")
		update, fail = map[string]any{"sub": "somebody"}, nil
		_, err = b.refreshed(refreshed.AllSessionTokensDangerously().RefreshToken)
		var protected *session.ProtectedClaimError
		require.ErrorAs(t, err, &protected)
		update = map[string]any{"x": strings.Repeat("x", 4000)}
		_, err = b.refreshed(refreshed.AllSessionTokensDangerously().RefreshToken)
		require.ErrorContains(t, err, "too large")
		require.Equal(t, before, db.Dump("sessions"))
	})
}

// A payload that changes while a refresh is evaluated is evaluated again: neither change is lost.
func TestARefreshBesideAMerge(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var b *bundle
		asked := 0
		b = newBundle(t, db, setup{env: func(e *env.Env) {
			e.OnRefresh = func(ctx context.Context, in env.Refresh) (map[string]any, error) {
				if asked++; asked == 1 {
					assert.NoError(t, b.MergeIntoAccessTokenPayload(ctx, in.SessionHandle, map[string]any{"merged": true}))
				}
				return map[string]any{"asked": asked}, nil
			}
		}})
		s, err := b.refreshed(b.sign("user-1").AllSessionTokensDangerously().RefreshToken)
		require.NoError(t, err)
		require.Equal(t, true, s.AccessTokenPayload()["merged"])
		require.Equal(t, 2.0, s.AccessTokenPayload()["asked"])
	})
}

func TestDuplicateCookies(t *testing.T) {
	t.Parallel()
	type answer struct {
		status    int
		contains  string
		refreshed bool
		older     int // cookies of the older domain that are cleared
	}
	for name, c := range map[string]struct {
		older  *string
		cookie func(good, other session.Tokens) string
		want   answer
	}{
		"not configured": {nil, func(good, _ session.Tokens) string {
			return "sRefreshToken=x; sRefreshToken=" + good.RefreshToken
		}, answer{500, "The request contains multiple session cookies.", false, 0}},
		"none is good": {new("acme.example"), func(_, _ session.Tokens) string {
			return "sAccessToken=a; sRefreshToken=x; sRefreshToken=y; sAccessToken=b"
		}, answer{200, "The request contains multiple session cookies.", false, 2}},
		"the second is good": {new("acme.example"), func(good, _ session.Tokens) string {
			return "sRefreshToken=x; sRefreshToken=" + good.RefreshToken
		}, answer{200, "{}", true, 1}},
		"access tokens only": {new(""), func(good, _ session.Tokens) string {
			return "sAccessToken=a; sAccessToken=b; sRefreshToken=" + good.RefreshToken
		}, answer{200, "{}", true, 1}},
		"the older one is good, too": {new("acme.example"), func(good, other session.Tokens) string {
			return "sRefreshToken=" + good.RefreshToken + "; sRefreshToken=" + other.RefreshToken
		}, answer{200, "{}", true, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			b := newBundle(t, db, setup{cfg: session.Config{CookieDomain: "api.acme.example", OlderCookieDomain: c.older}})
			good, other := tokensOf(t, b, "user-1"), tokensOf(t, b, "user-1")
			before := db.Dump("sessions")
			res := serve(app(b, session.NewSession{}), request("POST", "/auth/session/refresh", c.cookie(good, other), ""))
			require.Equal(t, c.want.status, res.StatusCode)
			require.Contains(t, text(t, res), c.want.contains)
			require.Equal(t, c.want.refreshed, res.Header.Get("front-token") != "")
			require.Equal(t, c.want.refreshed, before != db.Dump("sessions"))
			older := 0
			for i, cookie := range res.Cookies() {
				if cookie.MaxAge < 0 {
					require.Equal(t, *c.older, cookie.Domain)
					older++
				} else {
					require.Equal(t, "api.acme.example", cookie.Domain)
					require.Less(t, i, 2, "the valid ones come first")
				}
			}
			require.Equal(t, c.want.older, older)
		})
	}
}

// Account linking shows in sub at the next refresh, while rsub stays.
func TestThePersonOfARefreshedSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		insertUser(t, db, "recipe")
		insertUser(t, db, "primary")
		userOf, _ := resolver(env.User{ID: "recipe", Known: true})
		b := newBundle(t, db, setup{env: func(e *env.Env) { e.UserOf = userOf }})
		s := b.sign("recipe")
		require.Equal(t, "recipe", s.UserID())
		_, err := db.Backend.Query(t.Context(), "UPDATE {p}recipe_users SET group_id = 'primary' WHERE user_id = 'recipe'")
		require.NoError(t, err)
		first := s.AllSessionTokensDangerously().RefreshToken
		s, err = b.refreshed(first)
		require.NoError(t, err)
		require.Equal(t, "primary", s.UserID())
		require.Equal(t, session.RecipeUserID("recipe"), s.RecipeUserID())

		b.clock.Add(time.Hour)
		_, err = b.refreshed(first)
		var theft *session.TokenTheftDetectedError
		require.ErrorAs(t, err, &theft)
		require.Equal(t, []string{"primary", "recipe"}, []string{theft.UserID, string(theft.RecipeUserID)})
	})
}
