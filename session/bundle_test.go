package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// clock is turned by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logbook is where the logger of a bundle writes.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bundle is one instance with all that a test turns and looks at.
type bundle struct {
	*session.Recipe
	t     testing.TB
	db    *storetest.DB
	env   *env.Env
	clock *clock
	log   *logbook

	mu     sync.Mutex
	events []env.Event
}

// setup changes a bundle before it is made.
type setup struct {
	info  session.AppInfo
	cfg   session.Config
	env   func(e *env.Env)
	clock *clock
}

var acme = session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example"}

func noJitter(cfg session.Config) session.Config {
	if cfg.AccessTokenJitter == nil {
		cfg.AccessTokenJitter = new(0.0)
	}
	return cfg
}

func newBundle(t testing.TB, db *storetest.DB, s setup) *bundle {
	t.Helper()
	b, err := tryBundle(t, db, s)
	require.NoError(t, err)
	return b
}

func tryBundle(t testing.TB, db *storetest.DB, s setup) (*bundle, error) {
	if s.info.AppName == "" {
		s.info = acme
	}
	if s.clock == nil {
		s.clock = newClock()
	}
	b := &bundle{t: t, db: db, clock: s.clock, log: &logbook{}}
	b.env = &env.Env{
		Store: db.Backend, Clock: b.clock.Now, Random: randomReader{},
		Logger:     slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FetchClaim: map[string]env.FetchFunc{},
		OnEvent: func(_ context.Context, e env.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	}
	if s.env != nil {
		s.env(b.env)
	}
	var err error
	b.Recipe, err = session.Attach(t.Context(), b.env, s.info, noJitter(s.cfg))
	db.Probe.Reset()
	return b, err
}

// inMemory is a bundle for tests that do not care about the database.
func inMemory(t testing.TB, cfg session.Config) *bundle {
	t.Helper()
	return newBundle(t, storetest.Open(t, "memory"), setup{cfg: cfg})
}

func (b *bundle) eventNames() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := []string{}
	for _, e := range b.events {
		names = append(names, e.Name+" "+e.Reason)
	}
	return names
}

// sign makes a session without a request.
func (b *bundle) sign(id session.RecipeUserID) *session.Session {
	b.t.Helper()
	s, err := b.CreateNewSessionWithoutRequestResponse(b.t.Context(), session.NewSession{RecipeUserID: id})
	require.NoError(b.t, err)
	return s
}

// verified verifies an access token without a request and without validators.
func (b *bundle) verified(access string) (*session.Session, error) {
	return b.GetSessionWithoutRequestResponse(b.t.Context(), session.GetSessionInput{AccessToken: access})
}

func (b *bundle) refreshed(refresh string) (*session.Session, error) {
	return b.RefreshSessionWithoutRequestResponse(b.t.Context(), session.RefreshSessionInput{RefreshToken: refresh, DisableAntiCSRF: true})
}

// client is a browser or app: it keeps what front ends keep.
type client struct {
	t       testing.TB
	handler http.Handler
	header  http.Header // of every request
	cookies map[string]string
	access  string // header mode
	refresh string
}

func newClient(t testing.TB, handler http.Handler, mode string) *client {
	c := &client{t: t, handler: handler, header: http.Header{}, cookies: map[string]string{}}
	if mode != "" {
		c.header.Set("st-auth-mode", mode)
	}
	c.header.Set("rid", "anti-csrf")
	return c
}

// call sends a request and keeps the tokens of the answer. change may do anything to the request.
func (c *client) call(method, path, body string, change ...func(*http.Request)) *http.Response {
	c.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, content)
	for name, values := range c.header {
		r.Header[name] = values
	}
	bearer := c.access
	if strings.HasSuffix(path, "/session/refresh") {
		bearer = c.refresh
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	res := w.Result()
	c.take(res)
	return res
}

func (c *client) take(res *http.Response) {
	for _, cookie := range res.Cookies() {
		if cookie.MaxAge < 0 {
			delete(c.cookies, cookie.Name)
			continue
		}
		c.cookies[cookie.Name] = cookie.Value
	}
	for name, field := range map[string]*string{"St-Access-Token": &c.access, "St-Refresh-Token": &c.refresh} {
		if values, ok := res.Header[name]; ok {
			*field = values[0]
		}
	}
}

func text(t testing.TB, res *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(raw)
}

// front is the decoded front token of an answer.
type front struct {
	UID string          `json:"uid"`
	ATE int64           `json:"ate"`
	Up  json.RawMessage `json:"up"`
}

func frontOf(t testing.TB, res *http.Response) (f front) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(res.Header.Get("front-token"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &f), string(raw))
	return f
}

// payloadOf is the JSON text that a JWT carries.
func payloadOf(t testing.TB, jwt string) string {
	t.Helper()
	parts := strings.Split(jwt, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	return string(raw)
}

// app is a host: it signs in whoever asks, and shows the session.
func app(b *bundle, in session.NewSession) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if in.RecipeUserID == "" {
			in.RecipeUserID = "user-1"
		}
		if _, err := b.CreateNewSession(w, r, in); err != nil {
			b.HandleError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("/me", b.Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, session.FromContext(r.Context()).UserID())
	})))
	mux.Handle("/maybe", b.VerifySession(session.VerifyOptions{SessionOptional: true})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := session.FromContext(r.Context()); s != nil {
			io.WriteString(w, s.UserID())
		}
	})))
	mux.Handle("/strict", b.VerifySession(session.VerifyOptions{CheckDatabase: true})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, session.FromContext(r.Context()).UserID())
	})))
	return b.Middleware(mux)
}

func decodeJSON(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	return m
}
