package emailpassword

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
	"github.com/stepup-auth/stepup/session"
)

// site is the recipe in an instance of its own, served over HTTP, with one protected page of the host's.
type site struct {
	*mfa.MFA
	recipe *Recipe
	t      testing.TB
	db     *storetest.DB
	url    string
	hashes *atomic.Int64 // operations so far

	clock atomic.Int64 // milliseconds
	mu    sync.Mutex
	log   bytes.Buffer
	seen  []mfa.Event
}

func newSite(t testing.TB, db *storetest.DB, cfg Config, change ...func(*mfa.Config)) *site {
	t.Helper()
	if cfg.Hashing == (Hashing{}) {
		cfg.Hashing = cheap
	}
	s := &site{recipe: New(cfg), t: t, db: db}
	s.clock.Store(time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	config := mfa.Config{
		AppInfo: mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage: db.DB,
		Factors: []mfa.Factor{s.recipe},
		Now:     func() time.Time { return time.UnixMilli(s.clock.Load()) },
		Logger:  slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e mfa.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen = append(s.seen, e)
		},
	}
	for _, c := range change {
		c(&config)
	}
	auth, err := mfa.New(context.Background(), config)
	require.NoError(t, err)
	s.MFA = auth
	s.hashes = countOperations(s.recipe.hasher)
	s.url = frontend.Serve(t, func(string) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/me", auth.Sessions().Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, session.FromContext(r.Context()).UserID())
		})))
		return auth.Middleware(mux)
	})
	return s
}

// Write is that of the log.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// events are what was told since the last call: "name ok reason".
func (s *site) events() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []string{}
	for _, e := range s.seen {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %t %s", e.Name, e.OK, e.Reason)))
	}
	s.seen = nil
	return lines
}

func (s *site) client() *frontend.Client { return frontend.New(s.t, s.url, "header") }

// filled is the body that front ends send.
func filled(email, password string) string {
	text, err := json.Marshal(map[string]any{
		"formFields": []Field{{emailField, email}, {passwordField, password}}, "shouldTryLinkingWithSessionUser": false,
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// send sends a body as it is, with the headers "name: value".
func (s *site) send(method, path, body string, headers ...string) frontend.Response {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	req.Header.Set("st-auth-mode", "header")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	r := frontend.Response{Status: res.StatusCode, Header: res.Header, Body: string(text)}
	json.Unmarshal(text, &r.JSON)
	return r
}

func (s *site) post(path, body string, headers ...string) frontend.Response {
	s.t.Helper()
	return s.send("POST", "/auth"+path, body, headers...)
}

// signUp makes a user over HTTP and returns its id.
func (s *site) signUp(email string) (userID string) {
	s.t.Helper()
	r := s.post("/signup", filled(email, password))
	require.True(s.t, r.Is("OK"), r.Body)
	return r.JSON["user"].(map[string]any)["id"].(string)
}

// handles are the sessions of who has the email.
func (s *site) handles(email string) []string {
	s.t.Helper()
	found, err := s.recipe.find(context.Background(), "public", email)
	require.NoError(s.t, err)
	if found.User == nil {
		return nil
	}
	list, err := s.Sessions().GetAllSessionHandlesForUser(context.Background(), session.GetAllSessionHandlesForUserInput{UserID: found.User.ID})
	require.NoError(s.t, err)
	return list
}

// exec runs a statement of the test's own.
func (s *site) exec(statement string) {
	s.t.Helper()
	_, err := s.db.Backend.Query(context.Background(), statement)
	require.NoError(s.t, err)
}

// reset forgets everybody, and what was logged, told and counted.
func (s *site) reset() {
	s.t.Helper()
	for _, table := range []string{"sessions", "recipe_users", "limits"} {
		s.exec("DELETE FROM {p}" + table)
	}
	s.events()
	s.hashes.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Reset()
}

// refusedWith asserts an answer that is no session.
func refusedWith(t *testing.T, r frontend.Response, status int, body string, about ...any) {
	t.Helper()
	note := fmt.Sprint(about...) + ": " + r.Body
	require.Equal(t, status, r.Status, note)
	require.JSONEq(t, body, r.Body, note)
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"), note)
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"), note)
	for _, name := range []string{"front-token", "st-access-token", "st-refresh-token", "Set-Cookie"} {
		require.Empty(t, r.Header.Values(name), note)
	}
}

func fieldErrors(problems ...string) string {
	var list []FieldProblem
	for i := 0; i < len(problems); i += 2 {
		list = append(list, FieldProblem{problems[i], problems[i+1]})
	}
	text, _ := json.Marshal(map[string]any{"status": "FIELD_ERROR", "formFields": list})
	return string(text)
}

const (
	wrongCredentials = `{"status":"WRONG_CREDENTIALS_ERROR"}`
	unauthorised     = `{"message":"unauthorised"}`
	tenantNotFound   = `{"message":"Tenant not found"}`
	internal         = `{"message":"internal error"}`
)

func userJSON(id, email string, joined int64, verified bool) string {
	return fmt.Sprintf(`{"id":%q,"isPrimaryUser":false,"tenantIds":["public"],"emails":[%q],"phoneNumbers":[],"thirdParty":[],"webauthn":{"credentialIds":[]},
		"loginMethods":[{"recipeId":"emailpassword","recipeUserId":%[1]q,"tenantIds":["public"],"email":%[2]q,"verified":%[4]t,"timeJoined":%[3]d}],
		"timeJoined":%[3]d}`, id, email, joined, verified)
}
