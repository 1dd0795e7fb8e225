package emailpassword

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// atOnce sends n requests at once and counts the answers by their status field, or their HTTP status where they have none.
func atOnce(n int, send func(i int) frontend.Response) map[string]int {
	var mu sync.Mutex
	answers := map[string]int{}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			r := send(i)
			status, ok := r.JSON["status"].(string)
			if !ok {
				status = fmt.Sprint(r.Status)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	wait.Wait()
	return answers
}

// Of 100 sign-ups with one address, in as many spellings, one makes a user; the others are told that the address is taken, and leave nothing.
func TestSignUpsAtOnceOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		answers := atOnce(100, func(i int) frontend.Response {
			spelling := strings.Repeat(" ", i%3) + []string{me, "ME@example.com", "Me@Example.COM"}[i%3]
			r := s.post("/signup", filled(spelling, fmt.Sprintf("password number %d", i)))
			if !r.Is("OK") {
				assert.JSONEq(t, fieldErrors("email", "This email already exists. Please sign in instead."), r.Body)
				assert.Empty(t, r.Header.Values("front-token"))
			}
			return r
		})
		require.Equal(t, map[string]int{"OK": 1, "FIELD_ERROR": 99}, answers)
		require.Equal(t, []int{1, 1, 1, 1}, []int{db.Rows("recipe_users"), db.Rows("user_tenants"), db.Rows("emailpassword_credentials"), db.Rows("sessions")})
	})
}

// 50 right and 50 wrong passwords of one account at once are each judged by themselves; attempts in flight are not taken for wrong ones.
func TestRightAndWrongPasswordsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{}, func(cfg *mfa.Config) { cfg.Limits.Guesses.Free = 50 })
		s.signUp(me)
		s.exec("DELETE FROM {p}sessions")
		s.hashes.Store(0)
		answers := atOnce(100, func(i int) frontend.Response {
			return s.post("/signin", filled(me, []string{password, "wrong password 1"}[i%2]))
		})
		require.Equal(t, map[string]int{"OK": 50, "WRONG_CREDENTIALS_ERROR": 50}, answers)
		require.EqualValues(t, 100, s.hashes.Load())
		require.Equal(t, 50, db.Rows("sessions"))

		answers = atOnce(100, func(int) frontend.Response { return s.post("/signin", filled(me, password)) })
		require.Equal(t, map[string]int{"OK": 100}, answers)
		require.Contains(t, db.Dump("limits"), "failures=0 blocked_until=0")
	})
}

// L-03: of 100 wrong passwords at once, at two machines, ten are compared, whether or not somebody has the address; then right ones wait too.
func TestGuessesAtOnceAtTwoMachines(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		machines := []*site{newSite(t, db, Config{}), newSite(t, db.Again(storetest.Keys(t, "k1")), Config{})}
		machines[0].signUp(me)
		for _, email := range []string{me, "stranger@example.com"} {
			for _, s := range machines {
				s.hashes.Store(0)
			}
			answers := atOnce(100, func(i int) frontend.Response { return machines[i%2].post("/signin", filled(email, "wrong password 1")) })
			require.Equal(t, map[string]int{"WRONG_CREDENTIALS_ERROR": 10, "GENERAL_ERROR": 90}, answers)
			answers = atOnce(100, func(i int) frontend.Response { return machines[i%2].post("/signin", filled(email, password)) })
			require.Equal(t, map[string]int{"GENERAL_ERROR": 100}, answers)
			require.EqualValues(t, 10, machines[0].hashes.Load()+machines[1].hashes.Load())
		}
	})
}

// L-09: of 100 sign-ins at once, known and unknown people mixed, no more than MaxConcurrent hash, each in the memory of one hash; meanwhile tokens are
// checked, sessions refreshed and forms refused as if nothing were going on.
func TestHashesAreBounded(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		hashing := cheap
		hashing.MaxConcurrent = 2
		s := newSite(t, db, Config{Hashing: hashing})
		c := s.client()
		c.SignUp(me, password)
		for i := range 50 {
			_, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: fmt.Sprintf("user%d@example.com", i), Password: password})
			require.NoError(t, err)
		}

		const hashers = 2
		hashed, most := watch(s.recipe.hasher)
		started, open := make(chan struct{}, 1000), make(chan struct{})
		compute := s.recipe.hasher.compute
		s.recipe.hasher.compute = func(hash func()) {
			compute(func() {
				started <- struct{}{}
				<-open
				hash()
			})
		}
		done := make(chan map[string]int)
		go func() {
			done <- atOnce(100, func(i int) frontend.Response {
				return s.post("/signin", filled(fmt.Sprintf("user%d@example.com", i), password))
			})
		}()
		for range hashers {
			<-started
		}
		for range 20 { // all slots are taken, and stay so
			require.Equal(t, http.StatusOK, c.Call("GET", "/me", nil).Status)
			require.Equal(t, http.StatusUnauthorized, s.send("GET", "/me", "").Status)
			require.Equal(t, http.StatusOK, c.RefreshSession().Status)
			refusedWith(t, s.post("/signin", filled("nonsense", password)), 200, fieldErrors("email", "Email is invalid"))
		}
		require.EqualValues(t, hashers, most.Load())
		require.Empty(t, started, "nobody else has begun")
		close(open)
		require.Equal(t, map[string]int{"OK": 50, "WRONG_CREDENTIALS_ERROR": 50}, <-done)
		require.EqualValues(t, 100, hashed.Load())
		require.EqualValues(t, hashers, most.Load())
	})
}

// during is what happens to a user between the password and the session.
type during struct {
	change func(s *site)
	every  bool // time that the policy is asked, not only the first
	right  bool // the session is made all the same
	hashes int64
	events []string
}

func duringASignIn() map[string]during {
	version := func(s *site) { s.exec("UPDATE {p}recipe_users SET version = version + 1") }
	setHash := func(s *site, hash string) {
		s.exec("UPDATE {p}emailpassword_credentials SET password_hash = '" + hash + "'")
		version(s)
	}
	newPassword := func(s *site, password string) {
		hash, err := s.recipe.hasher.newHash(password)
		require.NoError(s.t, err)
		setHash(s, hash)
	}
	wrong := []string{"factor.checked false wrong"}
	return map[string]during{
		"nothing":                    {change: func(*site) {}, right: true},
		"a new password":             {change: func(s *site) { newPassword(s, "new password 1") }, hashes: 1, events: wrong},
		"the same password anew":     {change: func(s *site) { newPassword(s, password) }, hashes: 1, right: true},
		"an unusable hash":           {change: func(s *site) { setHash(s, "$2a$10$nonsense") }, hashes: 1, events: wrong},
		"something else of the user": {change: version, right: true},
		"a hash of another cost": {change: func(s *site) { // which is no new password
			s.exec("UPDATE {p}emailpassword_credentials SET password_hash = 'x'")
		}, right: true},
		"the password is deleted": {change: func(s *site) {
			s.exec("DELETE FROM {p}emailpassword_credentials")
			version(s)
		}, hashes: 1, events: wrong},
		"the user is deleted":        {change: func(s *site) { s.exec("DELETE FROM {p}recipe_users") }, events: []string{"factor.checked false unknown"}},
		"somebody always gets ahead": {change: version, every: true},
	}
}

// No session of an old password, or of somebody who is gone, is ever made.
func TestTheUserChangesDuringASignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var s *site
		var now during
		asked := 0
		s = newSite(t, db, Config{}, func(cfg *mfa.Config) {
			cfg.GetMFARequirementsForAuth = func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				if asked++; asked == 1 || now.every {
					now.change(s)
				}
				return nil, nil
			}
		})
		for name, what := range duringASignIn() {
			for _, path := range []string{"/signin", "/signup"} {
				s.reset()
				now, asked = what, 0
				if path == "/signin" {
					_, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
					require.NoError(t, err)
					s.hashes.Store(0)
				}
				changeDuring(t, s, path, what, path+" "+name)
				if what.every {
					require.Equal(t, 100, asked)
					require.Contains(t, s.logged(), "other requests got ahead of this sign-in too often")
				}
			}
		}
	})
}

func changeDuring(t *testing.T, s *site, path string, what during, name string) {
	r := s.post(path, filled(me, password))
	events := append([]string{}, what.events...)
	switch {
	case what.right:
		require.True(t, r.Is("OK"), "%s: %s", name, r.Body)
		events = append(events, "session.created true", "factor.completed true")
	case path == "/signin" && !what.every:
		refusedWith(t, r, 200, wrongCredentials, name)
	default:
		refusedWith(t, r, 500, internal, name)
	}
	if path == "/signin" {
		events = append([]string{"factor.checked true"}, events...)
		require.Contains(t, s.db.Dump("limits"), "failures=0", "%s: the password was right when it was compared", name)
	}
	require.Equal(t, events, s.events(), name)
	require.Equal(t, what.right, s.db.Rows("sessions") == 1, name)
	require.EqualValues(t, 1+what.hashes, s.hashes.Load(), "%s: the one of every sign-in, and what came on top", name)
}

// The person whose login method signs in may become part of another while the session is made: the requirements of that one are then asked for.
func TestTheUserIsLinkedDuringASignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var s *site
		var asked []string
		s = newSite(t, db, Config{}, func(cfg *mfa.Config) {
			cfg.GetMFARequirementsForAuth = func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				sub, _ := in.AccessTokenPayload["sub"].(string)
				asked = append(asked, sub)
				required, err := in.RequiredSecondaryFactorsForUser(ctx)
				if len(asked) == 1 {
					s.exec("UPDATE {p}recipe_users SET group_id = (SELECT user_id FROM {p}recipe_users WHERE email = 'primary@example.com')")
				}
				return factor.Requirements{factor.AllOfInAnyOrder(required)}, err
			}
		})
		ada, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
		require.NoError(t, err)
		primary, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: "primary@example.com", Password: password})
		require.NoError(t, err)
		require.NoError(t, s.AddToRequiredSecondaryFactorsForUser(t.Context(), primary.User.ID, "my-factor"))
		c := s.client()
		r := c.SignIn(me, password)
		require.True(t, r.Is("OK"), r.Body)
		require.Equal(t, []string{ada.User.ID, primary.User.ID}, asked)
		require.Equal(t, primary.User.ID, c.UserID())
		require.False(t, c.V(), "what the policy said of the login method alone is not taken for an answer")
		require.Len(t, r.JSON["user"].(map[string]any)["loginMethods"], 2)
		require.EqualValues(t, ada.RecipeUserID, c.Payload["rsub"])
	})
}
