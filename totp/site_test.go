package totp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// site is an application with password and TOTP, served over HTTP. Its clock is turned by hand, and its policy can be changed at any time.
type site struct {
	*mfa.MFA
	t    testing.TB
	db   *storetest.DB
	totp *totp.Recipe
	url  string

	clock  atomic.Int64 // milliseconds
	policy atomic.Pointer[factor.Requirements]

	mu   sync.Mutex
	log  bytes.Buffer
	seen []mfa.Event
}

// period is how long an authenticator shows one code.
const period = 30 * time.Second

// noon is the beginning of a period of 30 seconds.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	ada      = "ada@example.com"
	bob      = "bob@example.com"
	password = "analytical engine 1"
)

// change is one to the configuration of a site, and to that of its recipe.
type change func(*mfa.Config, *totp.Config)

// override changes the tables of the recipe.
func override(o totp.Override) change {
	return func(_ *mfa.Config, cfg *totp.Config) { cfg.Override = o }
}

func newSite(t testing.TB, db *storetest.DB, changes ...change) *site {
	t.Helper()
	s := &site{t: t, db: db}
	s.clock.Store(noon.UnixMilli())
	s.requires()
	var of totp.Config
	cfg := mfa.Config{
		AppInfo: mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage: db.DB,
		Now:     s.now,
		Logger:  slog.New(slog.NewTextHandler(locked{s}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e mfa.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen = append(s.seen, e)
		},
		GetMFARequirementsForAuth: func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return *s.policy.Load(), nil
		},
	}
	for _, change := range changes {
		change(&cfg, &of)
	}
	s.totp = totp.New(of)
	cheap := emailpassword.Hashing{InsecureLowCost: true, Argon2id: emailpassword.Argon2idCost{MemoryKiB: 8, Passes: 1, Lanes: 1}}
	cfg.Factors = append([]mfa.Factor{emailpassword.New(emailpassword.Config{Hashing: cheap}), s.totp}, cfg.Factors...)
	auth, err := mfa.New(t.Context(), cfg)
	require.NoError(t, err)
	s.MFA = auth
	s.url = frontend.Serve(t, func(string) http.Handler { return auth.Middleware(http.NotFoundHandler()) })
	return s
}

// again is the same application in another process.
func (s *site) again(changes ...change) *site {
	other := newSite(s.t, s.db.Again(storetest.Keys(s.t, "k1")), changes...)
	other.clock.Store(s.clock.Load())
	other.policy.Store(s.policy.Load())
	return other
}

type locked struct{ *site }

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.site.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// events are what was told since the last call, as "name factor reason", with a + where it went well.
func (s *site) events() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []string{}
	for _, e := range s.seen {
		result := e.Reason
		if e.OK {
			result = "+" + e.Reason
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Name, e.FactorID, result)))
	}
	s.seen = nil
	return lines
}

// requires sets the policy, of everybody.
func (s *site) requires(items ...factor.Requirement) {
	list := factor.Requirements(items)
	s.policy.Store(&list)
}

func (s *site) now() time.Time { return time.UnixMilli(s.clock.Load()).UTC() }

func (s *site) turn(d time.Duration) { s.clock.Add(d.Milliseconds()) }

func (s *site) code(secret string) string { return frontend.Code(s.t, secret, s.now()) }

// wrong is a code that none of the secrets accepts now.
func (s *site) wrong(secrets ...string) string {
	right := map[string]bool{}
	for _, secret := range secrets {
		for shift := -2; shift <= 2; shift++ {
			right[frontend.Code(s.t, secret, s.now().Add(time.Duration(shift)*30*time.Second))] = true
		}
	}
	n := 0
	for right[fmt.Sprintf("%06d", n)] {
		n++
	}
	return fmt.Sprintf("%06d", n)
}

// visitor is a browser of somebody.
type visitor struct {
	*frontend.Client
	site *site
}

func (s *site) visitor(mode string) visitor { return visitor{frontend.New(s.t, s.url, mode), s} }

func (s *site) signedUp(email string) visitor {
	s.t.Helper()
	v := s.visitor("header")
	v.SignUp(email, password)
	return v
}

// signedIn is a further session of somebody, after the password.
func (s *site) signedIn(email string) visitor {
	s.t.Helper()
	v := s.visitor("header")
	r := v.SignIn(email, password)
	require.True(s.t, r.Is("OK"), r.Body)
	return v
}

// enrolled is a new user with a device. The clock then stands in the next period, so that its present code is unused.
func (s *site) enrolled(email string) (v visitor, secret string) {
	s.t.Helper()
	v = s.signedUp(email)
	secret = v.EnrolTOTP(s.now())
	s.turn(30 * time.Second)
	return v, secret
}

// clone is another tab with the same session.
func (v visitor) clone() visitor { return visitor{v.Client.Clone(), v.site} }

type object = map[string]any

func (v visitor) create(body any) frontend.Response { return v.Call("POST", "/auth/totp/device", body) }

func (v visitor) list() frontend.Response { return v.Call("GET", "/auth/totp/device/list", nil) }

func (v visitor) remove(name string) frontend.Response {
	return v.Call("POST", "/auth/totp/device/remove", object{"deviceName": name})
}

func (v visitor) verifyDevice(name, code string) frontend.Response {
	return v.Call("POST", "/auth/totp/device/verify", object{"deviceName": name, "totp": code})
}

func (v visitor) verifyTOTP(code string) frontend.Response {
	return v.Call("POST", "/auth/totp/verify", object{"totp": code})
}

// names of the listed devices, with a ? after those that are not verified.
func (v visitor) names() []string {
	v.site.t.Helper()
	r := v.list()
	require.True(v.site.t, r.Is("OK"), r.Body)
	names := []string{}
	for _, d := range r.JSON["devices"].([]any) {
		name := d.(object)["name"].(string)
		if d.(object)["verified"] != true {
			name += "?"
		}
		names = append(names, name)
	}
	return names
}

// completedAt is when the session last completed the factor, by its own token; zero: never.
func (v visitor) completedAt(id string) time.Time {
	claim, _ := v.Payload["st-mfa"].(object)
	times, _ := claim["c"].(object)
	seconds, ok := times[id].(float64)
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// session is that of a visitor, as a handler of the host has it.
func (v visitor) session() *session.Session {
	v.site.t.Helper()
	s, err := v.site.Sessions().GetSessionWithoutRequestResponse(v.site.t.Context(), session.GetSessionInput{
		AccessToken: v.Access, Options: session.VerifyOptions{Skip: []session.Claim{mfa.Claim}},
	})
	require.NoError(v.site.t, err)
	return s
}

// raw sends a body as it is, with the headers of the stock front end.
func (v visitor) raw(method, path, body string, more ...string) frontend.Response {
	v.site.t.Helper()
	req, err := http.NewRequestWithContext(v.site.t.Context(), method, v.site.url+path, strings.NewReader(body))
	require.NoError(v.site.t, err)
	req.Header.Set("rid", "totp")
	req.Header.Set("fdi-version", "3.1,4.0,4.1,4.2")
	req.Header.Set("st-auth-mode", "header")
	req.Header.Set("Content-Type", "application/json")
	if v.Access != "" {
		req.Header.Set("Authorization", "Bearer "+v.Access)
	}
	for i := 0; i < len(more); i += 2 {
		req.Header.Set(more[i], more[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(v.site.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(v.site.t, err)
	r := frontend.Response{Status: res.StatusCode, Header: res.Header, Body: string(text)}
	json.Unmarshal(text, &r.JSON)
	return r
}

// tokens says what an answer does to the tokens of the client.
type tokens string

const (
	none    tokens = ""        // nothing
	changed tokens = "changed" // a new access token, the old refresh token
	cleared tokens = "remove"
)

// is asserts the whole answer: no field more or less, no header with tokens but those, and never anything that a cache may keep.
func is(t testing.TB, r frontend.Response, status int, body string, want tokens) {
	t.Helper()
	require.Equal(t, status, r.Status, r.Body)
	require.JSONEq(t, body, r.Body)
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	require.Empty(t, r.Header.Get("Retry-After"))
	front, hasFront := r.Header["Front-Token"]
	switch want {
	case none:
		require.False(t, hasFront, "front-token: %v", front)
		require.NotContains(t, r.Header, "St-Access-Token")
		require.NotContains(t, r.Header, "Set-Cookie")
	case changed:
		require.True(t, hasFront, "no front-token")
		require.NotEqual(t, "remove", front[0])
	case cleared:
		require.Equal(t, []string{"remove"}, front)
	}
}

const (
	unauthorised = `{"message":"unauthorised"}`
	tryRefresh   = `{"message":"try refresh token"}`
	unsatisfied  = `{"message":"invalid claim","claimValidationErrors":[{"id":"st-mfa","reason":{"message":"MFA requirement for auth is not satisfied"}}]}`
	openFactor   = `{"message":"invalid claim","claimValidationErrors":[{"id":"st-mfa",` +
		`"reason":"Completed factors in the session does not satisfy the MFA requirements for auth"}]}`
	notNext = `{"message":"invalid claim","claimValidationErrors":[{"id":"st-mfa",` +
		`"reason":"Not allowed to setup factor that is not in the next set of unsatisfied factors"}]}`
	tooMany = `{"status":"GENERAL_ERROR","message":"You have too many authenticator devices. Remove one first."}`
)

func invalidTOTP(failed int) string {
	return fmt.Sprintf(`{"status":"INVALID_TOTP_ERROR","currentNumberOfFailedAttempts":%d,"maxNumberOfFailedAttempts":5}`, failed)
}

func limitReached(wait time.Duration) string {
	return fmt.Sprintf(`{"status":"LIMIT_REACHED_ERROR","retryAfterMs":%d}`, wait.Milliseconds())
}

// run changes the database behind the back of everybody.
func (s *site) run(statement string, args ...any) {
	s.t.Helper()
	_, err := s.db.Handle.ExecContext(s.t.Context(), strings.ReplaceAll(statement, "{p}", s.db.Prefix), args...)
	require.NoError(s.t, err)
}

// forget deletes a user, as the application will be able to.
func (s *site) forget(userID string) {
	s.t.Helper()
	for _, table := range []string{"totp_devices", "sessions", "recipe_users"} {
		s.run("DELETE FROM {p}"+table+" WHERE user_id = $1", userID)
	}
}

// configured gives the recipe its configuration.
func configured(of totp.Config) change { return func(_ *mfa.Config, cfg *totp.Config) { *cfg = of } }
