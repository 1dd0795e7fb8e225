package emailpassword

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// answerOf is all that a client sees but the time.
func answerOf(r frontend.Response) (status int, body string, header http.Header) {
	header = maps.Clone(r.Header)
	header.Del("Date")
	return r.Status, r.Body, header
}

// P-03: a sign-in gives the same answer, by the same statements and the same number of hashes, to a wrong password of somebody and to any password of
// nobody, of a stand-in address, of a user without a password and of one whose hash can match nothing: while guesses are free, while a wait lasts, and
// where passwords may not begin a session.
func TestASignInDoesNotTellWhoExists(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guesses int // before
		change  func(*mfa.Config)
		hashes  int64
		status  string
	}{
		"free":             {hashes: 1, status: "WRONG_CREDENTIALS_ERROR"},
		"wait":             {guesses: 10, status: "GENERAL_ERROR"},
		"off":              {guesses: 20, hashes: 1, status: "WRONG_CREDENTIALS_ERROR", change: func(cfg *mfa.Config) { cfg.Limits.InsecureNoGuessLimits = true }},
		"no first factor":  {change: func(cfg *mfa.Config) { cfg.FirstFactors = []factor.ID{"my-login"} }},
		"policy is broken": {hashes: 1, status: "WRONG_CREDENTIALS_ERROR", change: brokenPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *storetest.DB) {
				s := newSite(t, db, Config{}, func(cfg *mfa.Config) {
					if c.change != nil {
						c.change(cfg)
					}
				})
				people := []string{"known@example.com", "corrupt@example.com", "none@example.com", "known@stfakeemail.supertokens.com"}
				for _, email := range people {
					user, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: email, Password: password})
					require.NoError(t, err)
					switch email {
					case "corrupt@example.com":
						s.exec("UPDATE {p}emailpassword_credentials SET password_hash = '$argon2id$' WHERE user_id = '" + string(user.RecipeUserID) + "'")
					case "none@example.com":
						s.exec("DELETE FROM {p}emailpassword_credentials WHERE user_id = '" + string(user.RecipeUserID) + "'")
					}
				}
				people = append(people, "stranger@example.com", "x@stfakeemail.supertokens.com")
				for _, email := range people {
					for range c.guesses {
						s.post("/signin", filled(email, "wrong password 1"))
					}
				}
				var status int
				var body string
				var header http.Header
				var statements []string
				for i, email := range people {
					s.hashes.Store(0)
					db.Probe.Reset()
					r := s.post("/signin", filled(email, "wrong password 1"))
					gotStatus, gotBody, gotHeader := answerOf(r)
					if i == 0 {
						status, body, header, statements = gotStatus, gotBody, gotHeader, db.Probe.Statements()
						require.Contains(t, body, c.status)
					}
					require.Equal(t, status, gotStatus, email)
					require.Equal(t, body, gotBody, email)
					require.Equal(t, header, gotHeader, email)
					require.Equal(t, statements, db.Probe.Statements(), email)
					require.Equal(t, c.hashes, s.hashes.Load(), email)
				}
				require.Zero(t, db.Rows("sessions"))
			})
		})
	}
}

func brokenPolicy(cfg *mfa.Config) {
	cfg.GetMFARequirementsForAuth = func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		return nil, errors.New("only who knows the password may see that this fails")
	}
}

// L-04, L-05, G-01: whichever statement or commit of a sign-in fails: a password is compared only once its attempt is committed, an attempt stays counted
// until a right password has cleared it, events tell only what came true, and no tokens go out. Then all works again.
func TestFaultsOfASignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		c := s.client()
		c.SignUp(me, password)
		s.events()
		taken, cleared, counted := 0, 0, 0
		for n := 1; ; n++ {
			s.exec("DELETE FROM {p}limits")
			s.hashes.Store(0)
			before := db.Rows("sessions")
			db.Probe.Reset()
			db.Probe.FailAt(n)
			r := s.post("/signin", filled(me, password), "Authorization: Bearer "+c.Access)
			failed := db.Probe.Failed()
			db.Probe.FailAt(0)
			if !failed {
				require.True(t, r.Is("OK"), r.Body)
				require.Equal(t, []string{"factor.checked true", "session.created true", "session.ended true replaced", "factor.completed true"}, s.events())
				break
			}
			refusedWith(t, r, 500, internal, n)
			ran := strings.Join(db.Probe.Statements(), "\n")
			if strings.Contains(ran, "AS l (scope, key") {
				taken++
			}
			if taken < 2 {
				require.Zero(t, s.hashes.Load(), "statement %d: nothing is compared that was not counted", n)
				require.Zero(t, db.Rows("limits"), n)
				require.Empty(t, s.events())
				continue
			}
			if strings.Contains(ran, "SET times = '', failures = 0") {
				cleared++
			}
			if cleared < 2 {
				counted++
				require.Contains(t, db.Dump("limits"), "failures=1", "statement %d", n)
				require.Empty(t, s.events(), "statement %d", n)
			} else {
				require.Contains(t, db.Dump("limits"), "failures=0", "statement %d", n)
				events := s.events()
				require.Equal(t, "factor.checked true", events[0])
				require.False(t, slices.Contains(events, "factor.completed true"), "statement %d", n)
				require.Equal(t, slices.Contains(events, "session.created true"), db.Rows("sessions") > before, "statement %d", n)
			}
		}
		require.Equal(t, 2, counted, "the hash could not be read, the count not cleared")
		require.NotContains(t, s.logged(), password)
	})
}

// The same of a sign-up: until its commit there is nothing, after it a user who can sign in, and only its session is missing.
func TestFaultsOfASignUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		for n := 1; ; n++ {
			before := db.Dump()
			db.Probe.FailAt(n)
			r := s.post("/signup", filled(me, password))
			failed := db.Probe.Failed()
			db.Probe.FailAt(0)
			require.True(t, failed, "the last step is the session's")
			refusedWith(t, r, 500, internal, n)
			require.Empty(t, s.events())
			if db.Rows("recipe_users") == 0 {
				require.Equal(t, before, db.Dump(), "step %d", n)
				continue
			}
			require.Equal(t, 7, n, "facts, list, three that write, the commit, then the session")
			break
		}
		require.Equal(t, []int{1, 1, 1, 0}, []int{db.Rows("recipe_users"), db.Rows("user_tenants"), db.Rows("emailpassword_credentials"), db.Rows("sessions")})
		refusedWith(t, s.post("/signup", filled(me, password)), 200, fieldErrors("email", "This email already exists. Please sign in instead."))
		require.True(t, s.post("/signin", filled(me, password)).Is("OK"))
	})
}
