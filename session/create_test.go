package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func TestALifeOfASession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, mode := range []string{"cookie", "header"} {
			b := newBundle(t, db, setup{})
			c := newClient(t, app(b, session.NewSession{AccessTokenPayload: map[string]any{"plan": 1.50, "sub": "stolen", "iss": "stolen"}}), mode)
			require.Equal(t, http.StatusUnauthorized, c.call("GET", "/me", "").StatusCode)

			res := c.call("POST", "/login", "")
			require.Equal(t, http.StatusNoContent, res.StatusCode, b.log)
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			if mode == "cookie" {
				assert.Len(t, c.cookies, 2)
				assert.Empty(t, c.access+c.refresh)
			} else {
				assert.Empty(t, c.cookies)
				assert.NotEmpty(t, c.access)
				assert.NotEmpty(t, c.refresh)
			}
			f := frontOf(t, res)
			assert.Equal(t, "user-1", f.UID)

			res = c.call("GET", "/me", "")
			require.Equal(t, "user-1", text(t, res))
			require.Empty(t, res.Header["Front-Token"], "an unchanged token is not sent again")
			require.Empty(t, res.Header["Cache-Control"])

			res = c.call("POST", "/auth/session/refresh", "")
			require.Equal(t, http.StatusOK, res.StatusCode, b.log)
			require.Equal(t, "{}", text(t, res))
			require.NotEmpty(t, res.Header.Get("front-token"))
			require.Equal(t, "user-1", text(t, c.call("GET", "/me", "")))

			res = c.call("POST", "/auth/signout", "")
			require.Equal(t, http.StatusOK, res.StatusCode, b.log)
			require.Equal(t, `{"status":"OK"}`, text(t, res))
			require.Equal(t, "remove", res.Header.Get("front-token"))
			require.Empty(t, c.cookies)
			require.Empty(t, c.access+c.refresh)
			require.Zero(t, db.Rows("sessions"))
			require.Equal(t, []string{"session.created ", "session.ended sign_out"}, b.eventNames())
		}
	})
}

// S-07: the attributes of every cookie.
func TestCookies(t *testing.T) {
	t.Parallel()
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		info   session.AppInfo
		cfg    session.Config
		domain string
		same   http.SameSite
		secure bool
		path   string
	}{
		"same site": {acme, session.Config{}, "", http.SameSiteLaxMode, true, "/"},
		"another site": {
			session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.test"}, session.Config{},
			"", http.SameSiteNoneMode, true, "/",
		},
		"local": {
			session.AppInfo{AppName: "Acme", APIDomain: "localhost:3001", WebsiteDomain: "localhost:3000"}, session.Config{},
			"", http.SameSiteLaxMode, false, "/",
		},
		"in an iframe": {
			session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.test"},
			session.Config{PartitionedCookies: true}, "", http.SameSiteNoneMode, true, "/",
		},
		"chosen": {
			acme,
			session.Config{CookieDomain: ".Acme.example", CookieSameSite: http.SameSiteStrictMode, InsecureCookies: true, AccessTokenPath: "/api"},
			"acme.example", http.SameSiteStrictMode, false, "/api",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, storetest.Open(t, "memory"), setup{info: c.info, cfg: c.cfg})
			client := newClient(t, app(b, session.NewSession{}), "cookie")
			res := client.call("POST", "/login", "")
			require.Equal(t, http.StatusNoContent, res.StatusCode, b.log)
			now := b.clock.Now()
			for _, cookie := range res.Cookies() {
				assert.True(t, cookie.HttpOnly)
				assert.Equal(t, c.secure, cookie.Secure)
				assert.Equal(t, c.same, cookie.SameSite)
				assert.Equal(t, c.domain, cookie.Domain)
				assert.Equal(t, name == "in an iframe", cookie.Partitioned)
				assert.Regexp(t, `^[A-Za-z0-9._-]+$`, cookie.Value)
				path, life := c.path, year
				if cookie.Name == "sRefreshToken" {
					path, life = "/auth/session/refresh", 100*24*time.Hour
				}
				assert.Equal(t, path, cookie.Path)
				assert.Equal(t, now.Add(life).Truncate(time.Second), cookie.Expires)
				assert.Equal(t, int(life/time.Second), cookie.MaxAge)
			}
			res = client.call("POST", "/auth/signout", "")
			require.Len(t, res.Cookies(), 2)
			for _, cookie := range res.Cookies() {
				assert.Empty(t, cookie.Value)
				assert.Equal(t, time.Unix(0, 0).UTC(), cookie.Expires.UTC())
				assert.Equal(t, -1, cookie.MaxAge)
				assert.Equal(t, c.secure, cookie.Secure)
				assert.Equal(t, c.domain, cookie.Domain)
			}
		})
	}
}

func TestFrontToken(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	c := newClient(t, app(b, session.NewSession{AccessTokenPayload: map[string]any{"z": 1e21, "a": "<&>"}}), "header")
	f := frontOf(t, c.call("POST", "/login", ""))
	assert.Equal(t, payloadOf(t, c.access), string(f.Up), "the very text of the token's payload")
	assert.Equal(t, b.clock.Now().Add(time.Hour).Unix()*1000, f.ATE)
	assert.Contains(t, string(f.Up), fmt.Sprintf(`"iat":%d`, b.clock.Now().Unix()), "floored")
	assert.Contains(t, string(f.Up), `"iss":"https://api.acme.example/auth"`)
}

func TestWhereANewSessionGoes(t *testing.T) {
	t.Parallel()
	form := func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	multipart := func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }
	json := func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }
	always := func(m session.TransferMethod) func(*http.Request, bool) session.TransferMethod {
		return func(*http.Request, bool) session.TransferMethod { return m }
	}
	for name, c := range map[string]struct {
		cfg    session.Config
		mode   string
		change func(*http.Request)
		cookie bool
	}{
		"asked for cookies":             {mode: "cookie", cookie: true},
		"asked for headers":             {mode: "header"},
		"in capitals":                   {mode: "COOKIE", cookie: true},
		"nothing asked":                 {},
		"nonsense asked":                {mode: "smoke"},
		"a form":                        {change: form, cookie: true},
		"a form with files":             {change: multipart, cookie: true},
		"JSON":                          {change: json},
		"a form of a script":            {mode: "header", change: form},
		"cookies configured":            {cfg: session.Config{TokenTransfer: session.TransferCookie}, mode: "header", cookie: true},
		"headers configured":            {cfg: session.Config{TokenTransfer: session.TransferHeader}, mode: "cookie"},
		"a function wins":               {cfg: session.Config{TokenTransfer: session.TransferHeader, GetTokenTransferMethod: always("cookie")}, cookie: true},
		"a function without an opinion": {cfg: session.Config{GetTokenTransferMethod: always("")}, mode: "cookie", cookie: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := inMemory(t, c.cfg)
			client := newClient(t, app(b, session.NewSession{}), c.mode)
			change := c.change
			if change == nil {
				change = func(*http.Request) {}
			}
			require.Equal(t, http.StatusNoContent, client.call("POST", "/login", "", change).StatusCode, b.log)
			assert.Equal(t, c.cookie, len(client.cookies) == 2)
			assert.Equal(t, c.cookie, client.access == "")
		})
	}
}

// A page that was navigated to has no script that reads headers.
func TestNavigationsGetCookies(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	for name, c := range map[string]struct {
		header http.Header
		cookie bool
	}{
		"navigation":           {http.Header{"Sec-Fetch-Mode": {"navigate"}}, true},
		"script":               {http.Header{"Sec-Fetch-Mode": {"cors"}, "Accept": {"text/html"}}, false},
		"old browser":          {http.Header{"Accept": {"application/xml, TEXT/html;q=0.9"}}, true},
		"old script":           {http.Header{"Accept": {"*/*"}}, false},
		"with a token already": {http.Header{"Accept": {"text/html"}, "Authorization": {"Bearer x"}}, false},
	} {
		r := httptest.NewRequest("GET", "/callback", nil)
		r.Header = c.header
		w := httptest.NewRecorder()
		_, err := b.CreateNewSession(w, r, session.NewSession{RecipeUserID: "user-1"})
		require.NoError(t, err)
		assert.Equal(t, c.cookie, strings.Contains(w.Header().Get("Set-Cookie")+";", "sAccessToken="), name)
	}
}

func TestSameSiteNoneNeedsSecure(t *testing.T) {
	t.Parallel()
	origin := func(r *http.Request) string {
		if r == nil {
			return "https://acme.example"
		}
		return r.Header.Get("Origin")
	}
	info := session.AppInfo{AppName: "Acme", APIDomain: "http://api.acme.example", Origin: origin}
	for name, c := range map[string]struct {
		info session.AppInfo
		cfg  session.Config
		fine bool
	}{
		"http":                    {info, session.Config{}, false},
		"https":                   {session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", Origin: origin}, session.Config{}, true},
		"https without anti-CSRF": {session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", Origin: origin}, session.Config{AntiCSRF: "NONE"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			b := newBundle(t, db, setup{info: c.info, cfg: c.cfg})
			client := newClient(t, app(b, session.NewSession{}), "cookie")
			client.header.Set("Origin", "https://acme.test")
			res := client.call("POST", "/login", "")
			if c.fine {
				require.Equal(t, http.StatusNoContent, res.StatusCode, b.log)
				return
			}
			require.Equal(t, http.StatusInternalServerError, res.StatusCode)
			require.Zero(t, db.Rows("sessions"))
			client = newClient(t, app(b, session.NewSession{}), "header")
			client.header.Set("Origin", "https://acme.test")
			require.Equal(t, http.StatusNoContent, client.call("POST", "/login", "").StatusCode, "in headers all is well")
		})
	}
}

// S-07: what a browser would drop without a word is not sent, and nothing is written.
func TestTooLargeForACookie(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cookie", "header"} {
		db := storetest.Open(t, "memory")
		b := newBundle(t, db, setup{})
		create := func(size int) int {
			c := newClient(t, app(b, session.NewSession{AccessTokenPayload: map[string]any{"x": strings.Repeat("x", size)}}), mode)
			return c.call("POST", "/login", "").StatusCode
		}
		fits, tooLarge := 1000, 4000
		for tooLarge-fits > 1 {
			if middle := (fits + tooLarge) / 2; create(middle) == http.StatusNoContent {
				fits = middle
			} else {
				tooLarge = middle
			}
		}
		rows := db.Rows("sessions")
		c := newClient(t, app(b, session.NewSession{AccessTokenPayload: map[string]any{"x": strings.Repeat("x", fits)}}), mode)
		res := c.call("POST", "/login", "")
		require.Equal(t, http.StatusNoContent, res.StatusCode)
		access := c.access + c.cookies["sAccessToken"]
		longest := max(len("sAccessToken")+len(access), len("sFrontToken")+len(res.Header.Get("front-token")))
		require.LessOrEqual(t, longest, 4096)
		require.Greater(t, longest, 4092, "the limit is exact")
		require.Equal(t, http.StatusInternalServerError, create(tooLarge))
		require.Equal(t, rows+1, db.Rows("sessions"), "nothing was written")
		require.Contains(t, b.log.String(), "would have 409")

		s := b.sign("user-2")
		before := db.Dump("sessions")
		update := map[string]any{"x": strings.Repeat("x", tooLarge)}
		require.ErrorContains(t, s.MergeIntoAccessTokenPayload(t.Context(), update), "too large")
		require.ErrorContains(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), update), "too large")
		require.Equal(t, before, db.Dump("sessions"))
	}
}

// S-01: what a client planted is never adopted.
func TestPlantedTokens(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	c := newClient(t, app(b, session.NewSession{}), "cookie")
	c.cookies = map[string]string{"sAccessToken": "planted", "sRefreshToken": "planted", "sIdRefreshToken": "planted"}
	require.Equal(t, http.StatusNoContent, c.call("POST", "/login", "").StatusCode)
	require.NotEqual(t, "planted", c.cookies["sAccessToken"])
	require.NotEqual(t, "planted", c.cookies["sRefreshToken"])
	first := c.cookies["sAccessToken"]
	require.Equal(t, http.StatusNoContent, c.call("POST", "/login", "").StatusCode)
	require.NotEqual(t, first, c.cookies["sAccessToken"], "each sign-in has a session of its own")
}

func TestCreationClearsTheOtherMode(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	c := newClient(t, app(b, session.NewSession{}), "cookie")
	c.call("POST", "/login", "")
	c.header.Set("st-auth-mode", "header")
	res := c.call("POST", "/login", "")
	require.Empty(t, c.cookies, "the cookies are taken back")
	require.NotEqual(t, "remove", res.Header.Get("front-token"), "and the new session stays")
	require.Equal(t, "user-1", text(t, c.call("GET", "/me", "")))
	require.Equal(t, "front-token, st-access-token, st-refresh-token", res.Header.Get("Access-Control-Expose-Headers"))

	c.header.Set("st-auth-mode", "cookie")
	c.call("POST", "/login", "")
	require.Len(t, c.cookies, 2)
	require.Empty(t, c.access+c.refresh)
}

// A sign-in ends the session that it replaces, if the request may speak for it.
func TestWhatASessionMayBeMadeOf(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	b := newBundle(t, db, setup{})
	create := func(in session.NewSession) error {
		_, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), in)
		return err
	}
	for name, in := range map[string]session.NewSession{
		"no user":                   {},
		"a long user id":            {RecipeUserID: session.RecipeUserID(strings.Repeat("ü", 129))},
		"U+0000 in a user id":       {RecipeUserID: "a\x00"},
		"invalid UTF-8":             {RecipeUserID: "\xff"},
		"U+0000 in a tenant":        {RecipeUserID: "u", TenantID: "\x00"},
		"U+0000 in the payload":     {RecipeUserID: "u", AccessTokenPayload: map[string]any{"a": "\x00"}},
		"invalid UTF-8 in a key":    {RecipeUserID: "u", AccessTokenPayload: map[string]any{"\xff": 1}},
		"U+0000 in the data":        {RecipeUserID: "u", SessionDataInDatabase: map[string]any{"a": []string{"\x00"}}},
		"a payload that is no JSON": {RecipeUserID: "u", AccessTokenPayload: map[string]any{"a": func() {}}},
	} {
		var bad *session.BadInputError
		require.ErrorAs(t, create(in), &bad, name)
	}
	require.ErrorIs(t, create(session.NewSession{RecipeUserID: "u", TenantID: "t1"}), session.ErrTenantNotFound)
	require.ErrorIs(t, create(session.NewSession{RecipeUserID: "u", TenantID: "no tenant"}), session.ErrTenantNotFound)
	require.Zero(t, db.Rows("sessions"))
	require.NoError(t, create(session.NewSession{RecipeUserID: session.RecipeUserID(strings.Repeat("ü", 128)), TenantID: " Public "}))
}

// S-02: the database holds no refresh token, and no signing key in clear.
func TestADumpHoldsNoToken(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		tokens := []string{}
		s := b.sign("user-1")
		for range 3 {
			tokens = append(tokens, s.AllSessionTokensDangerously().RefreshToken, s.AccessToken())
			var err error
			s, err = b.refreshed(s.AllSessionTokensDangerously().RefreshToken)
			require.NoError(t, err)
		}
		tokens = append(tokens, s.AllSessionTokensDangerously().RefreshToken, s.AccessToken())
		dump := db.Dump()
		for _, token := range tokens {
			require.NotContains(t, dump, token)
			require.NotContains(t, dump, fmt.Sprintf("%x", token))
			require.NotContains(t, b.log.String(), token, "G-02")
		}
	})
}

// resolver is an Env.UserOf whose answers are a list.
// A person who changed between the look-up and the insertion is looked up again.
func TestTheAnswerIsUnderWay(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	b := newBundle(t, db, setup{})
	handler := b.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("hello"))
		_, err := b.CreateNewSession(w, r, session.NewSession{RecipeUserID: "user-1"})
		assert.ErrorIs(t, err, session.ErrResponseWritten)
		_, err = b.RefreshSession(w, r)
		assert.ErrorIs(t, err, session.ErrResponseWritten)
		b.HandleError(w, r, errors.New("too late"))
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, "hello", w.Body.String())
	require.Contains(t, b.log.String(), "too late")
	require.Zero(t, db.Rows("sessions"))
}

func TestFailingRandomness(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	b := newBundle(t, db, setup{})
	b.env.Random = bytes.NewReader(nil)
	_, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "user-1"})
	require.Error(t, err)
	require.Zero(t, db.Rows("sessions"))
}

func TestManySessionsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		var mu sync.Mutex
		handles := map[string]bool{}
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: "user-1"})
				if assert.NoError(t, err) {
					mu.Lock()
					defer mu.Unlock()
					handles[s.Handle()] = true
				}
			})
		}
		group.Wait()
		require.Len(t, handles, 100)
		require.Equal(t, 100, db.Rows("sessions"))
	})
}
