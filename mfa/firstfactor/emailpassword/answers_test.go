package emailpassword

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
)

// What front ends get of a sign-up and a sign-in, to the letter, in both modes.
func TestAnswersWithASession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		joined := s.clock.Load()
		for _, mode := range []string{"header", "cookie"} {
			email := mode + "@example.com"
			var id string
			for _, path := range []string{"/signup", "/signin"} {
				r := s.post(path, filled(email, password), "st-auth-mode: "+mode)
				require.Equal(t, http.StatusOK, r.Status, r.Body)
				user := r.JSON["user"].(map[string]any)
				if id == "" {
					id = user["id"].(string)
				}
				require.JSONEq(t, `{"status":"OK","user":`+userJSON(id, email, joined, false)+`}`, r.Body)
				require.True(t, strings.HasPrefix(r.Body, `{"status":"OK","user":{"id":`), r.Body)
				require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
				require.Equal(t, "no-store", r.Header.Get("Cache-Control"))

				front, err := base64.StdEncoding.DecodeString(r.Header.Get("front-token"))
				require.NoError(t, err)
				var token struct {
					UID string
					Up  map[string]any
				}
				require.NoError(t, json.Unmarshal(front, &token))
				require.Equal(t, id, token.UID)
				require.Equal(t, []any{id, id, "public"}, []any{token.Up["sub"], token.Up["rsub"], token.Up["tId"]})
				require.Equal(t, map[string]any{"c": map[string]any{"emailpassword": float64(s.clock.Load() / 1000)}, "v": true}, token.Up["st-mfa"])
				exposed := r.Header.Get("Access-Control-Expose-Headers")
				if mode == "header" {
					require.NotEmpty(t, r.Header.Get("st-access-token"))
					require.NotEmpty(t, r.Header.Get("st-refresh-token"))
					require.Empty(t, r.Header.Values("Set-Cookie"))
					require.Equal(t, "front-token, st-access-token, st-refresh-token", exposed)
				} else {
					require.Empty(t, r.Header.Values("st-access-token"))
					require.Empty(t, r.Header.Values("st-refresh-token"))
					require.Len(t, r.Header.Values("Set-Cookie"), 2)
					require.Equal(t, "front-token", exposed)
				}
				s.clock.Add(time.Hour.Milliseconds())
			}
			joined = s.clock.Load()
		}
		require.Equal(t, []int{2, 2, 4}, []int{db.Rows("recipe_users"), db.Rows("emailpassword_credentials"), db.Rows("sessions")})
	})
}

// G-01: the events of a sign-up, a sign-in that replaces its session, and all ways to be refused; G-02: nothing that was typed is in them or in the
// log, at any level.
func TestEventsAndLog(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		c := s.client()
		c.SignUp(me, password)
		require.Equal(t, []string{"session.created true", "factor.completed true"}, s.events())
		require.True(t, c.SignIn(me, password).Is("OK"))
		require.Equal(t, []string{"factor.checked true", "session.created true", "session.ended true replaced", "factor.completed true"}, s.events())
		s.post("/signup", filled(me, "planted-secret 1"))
		s.post("/signup", filled("not an address", "planted-secret"))
		require.Empty(t, s.events())
		s.post("/signin", filled("stranger@example.com", "planted-secret 1"))
		require.Equal(t, []string{"factor.checked false unknown"}, s.events())
		for range 10 {
			s.post("/signin", filled(me, "planted-secret 1"))
		}
		s.events()
		require.True(t, s.post("/signin", filled(me, "planted-secret 1")).Is("GENERAL_ERROR"))
		s.mu.Lock()
		e := s.seen[0]
		s.mu.Unlock()
		require.Equal(t, mfa.Event{
			Time: time.UnixMilli(s.clock.Load()).UTC(), Name: "factor.checked", UserID: c.UserID(), TenantID: "public", FactorID: "emailpassword", Reason: "limited",
		}, e)
		s.db.Probe.FailAt(1)
		require.Equal(t, 500, s.post("/signin", filled(me, "planted-secret 1")).Status)

		for _, secret := range []string{"planted-secret", password, "stranger@", "not an address"} {
			require.NotContains(t, s.logged(), secret)
			require.NotContains(t, db.Dump("limits"), secret, "the table of limits holds no addresses")
			require.NotContains(t, db.Dump(), "planted-secret")
		}
		require.NotContains(t, db.Dump(), password)
	})
}

// What guesses lead to: a wait, said in whole seconds, for right passwords too, and for addresses that nobody has.
func TestWaitOverHTTP(t *testing.T) {
	t.Parallel()
	const wait = `{"status":"GENERAL_ERROR","message":"Too many attempts. Please wait a while before you try again."}`
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		s.signUp(me)
		spellings := []string{me, "ME@EXAMPLE.COM", "  Me@Example.com ", "\tme@EXAMPLE.com\n"}
		for _, emails := range [][]string{spellings, {"stranger@example.com", "STRANGER@Example.com"}} {
			for i := range 10 {
				r := s.post("/signin", filled(emails[i%len(emails)], "wrong password 1"))
				refusedWith(t, r, 200, wrongCredentials, i)
				require.Empty(t, r.Header.Values("Retry-After"))
			}
			s.hashes.Store(0)
			for _, email := range emails {
				for _, given := range []string{password, "wrong password 1"} {
					r := s.post("/signin", filled(email, given))
					refusedWith(t, r, 200, wait)
					require.Equal(t, "30", r.Header.Get("Retry-After"))
				}
			}
			s.clock.Add(28_999)
			require.Equal(t, "2", s.post("/signin", filled(emails[0], password)).Header.Get("Retry-After"))
			s.clock.Add(1_000)
			require.Equal(t, "1", s.post("/signin", filled(emails[0], password)).Header.Get("Retry-After"))
			require.Zero(t, s.hashes.Load())
			s.clock.Add(1)
			refusedWith(t, s.post("/signin", filled(emails[0], "wrong password 1")), 200, wrongCredentials)
			require.Equal(t, "60", s.post("/signin", filled(emails[0], password)).Header.Get("Retry-After"), "twice as long")
		}
		s.clock.Add(60_000)
		require.True(t, s.post("/signin", filled(me, password)).Is("OK"))
		for range 9 {
			refusedWith(t, s.post("/signin", filled(me, "wrong password 1")), 200, wrongCredentials)
		}
		require.True(t, s.post("/signin", filled(me, password)).Is("OK"), "a right one clears the count")
	})
}

// D-08: however an address is typed, it is one address: one user, one password, one answer.
func TestSpellingsOfAnAddress(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		id := s.signUp("  Ada.Lovelace+x@EXAMPLE.com\n")
		for _, email := range []string{"ada.lovelace+x@example.com", "ADA.LOVELACE+X@EXAMPLE.COM", "\u00a0Ada.Lovelace+x@Example.com\u2003"} {
			r := s.post("/signin", filled(email, password))
			require.True(t, r.Is("OK"), r.Body)
			require.JSONEq(t, `{"status":"OK","user":`+userJSON(id, "ada.lovelace+x@example.com", s.clock.Load(), false)+`}`, r.Body)
			refusedWith(t, s.post("/signup", filled(email, password)), 200, fieldErrors("email", "This email already exists. Please sign in instead."))
			c := s.client()
			r = c.Call("GET", "/auth/emailpassword/email/exists?email="+strings.NewReplacer("+", "%2B", "\u00a0", "%20", "\u2003", "%09").Replace(email), nil)
			require.JSONEq(t, `{"status":"OK","exists":true}`, r.Body)
		}
		for _, email := range []string{"ada.lovelace@example.com", "adalovelace+x@example.com", "ada.lovelace+x@example.co"} { // others fold dots and pluses
			refusedWith(t, s.post("/signin", filled(email, password)), 200, wrongCredentials)
		}
		require.Equal(t, 1, db.Rows("recipe_users"))
	})
}

func TestEmailExistsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		s.signUp(me)
		s.events()
		for _, path := range []string{"/emailpassword/email/exists", "/signup/email/exists", "/public/emailpassword/email/exists", "/PUBLIC/signup/email/exists"} {
			for query, want := range map[string]string{
				"email=me@example.com":                 `{"status":"OK","exists":true}`,
				"email=%20ME@example.com":              `{"status":"OK","exists":true}`,
				"email=you@example.com":                `{"status":"OK","exists":false}`,
				"email=":                               `{"status":"OK","exists":false}`,
				"email=nonsense":                       `{"status":"OK","exists":false}`,
				"email=me@example.com&other=1&other=2": `{"status":"OK","exists":true}`,
			} {
				refusedWith(t, s.send("GET", "/auth"+path+"?"+query, ""), 200, want, path, query)
			}
			for _, query := range []string{"", "?", "?Email=me@example.com", "?email=a&email=b", "?email=" + me + "&email=" + me} {
				refusedWith(t, s.send("GET", "/auth"+path+query, ""), 400, `{"message":"Please provide the email as a GET param"}`, path, query)
			}
		}
		refusedWith(t, s.send("GET", "/auth/acme/emailpassword/email/exists?email="+me, ""), 400, tenantNotFound)
		require.Empty(t, s.events())
		require.Zero(t, db.Rows("limits"))
		require.Equal(t, 404, s.send("POST", "/auth/emailpassword/email/exists?email="+me, "").Status)
	})
}

// A stand-in address begins no session, by sign-up or sign-in, and nobody can tell one that somebody has.
func TestFakeEmailsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		_, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: "known@stfakeemail.supertokens.com", Password: password})
		require.NoError(t, err)
		before := db.Dump("recipe_users", "sessions")
		for _, email := range []string{
			"known@stfakeemail.supertokens.com", "KNOWN@STFakeEmail.SuperTokens.com", " known@stfakeemail.supertokens.com ",
			"unknown@stfakeemail.supertokens.com", "x@acme.fakeemail.com", "x@ACME.FakeEmail.com",
		} {
			s.hashes.Store(0)
			db.Probe.Reset()
			refusedWith(t, s.post("/signin", filled(email, password)), 200, wrongCredentials, email)
			require.EqualValues(t, 1, s.hashes.Load())
			require.Equal(t, []string{"factor.checked false unknown"}, s.events())
			require.Equal(t, 4, db.Probe.Count(), "as many statements as a wrong password takes")
			refusedWith(t, s.post("/signup", filled(email, password)), 200, fieldErrors("email", "This email already exists. Please sign in instead."), email)
		}
		require.Equal(t, before, db.Dump("recipe_users", "sessions"))
		for _, email := range []string{"x@stfakeemail.supertokens.com.example.com", "x@notstfakeemail.supertokens.org", "x@fakeemail.com"} {
			s.signUp(email)
		}
	})
}
