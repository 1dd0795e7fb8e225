package mfa_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
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

// bundle is an instance with password and TOTP, served over HTTP, whose clock is turned by hand.
type bundle struct {
	*mfa.MFA
	t    testing.TB
	db   *storetest.DB
	totp *totp.Recipe
	url  string

	change []func(*mfa.Config)
	clock  *atomic.Int64 // milliseconds
	mu     sync.Mutex
	log    bytes.Buffer
	seen   []mfa.Event
}

// cheap passwords: what is tested here is not the hash.
var cheap = emailpassword.Hashing{InsecureLowCost: true, Argon2id: emailpassword.Argon2idCost{MemoryKiB: 8, Passes: 1, Lanes: 1}}

const (
	ada      = "ada@example.com"
	password = "analytical engine 1"
)

// admins must complete TOTP.
func admins(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	roles, err := in.Roles(ctx)
	if err != nil || !slices.Contains(roles, "admin") {
		return nil, err
	}
	return factor.Requirements{factor.TOTP}, nil
}

// everybody must complete TOTP.
func everybody(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	return factor.Requirements{factor.TOTP}, nil
}

func newBundle(t testing.TB, db *storetest.DB, change ...func(*mfa.Config)) *bundle {
	t.Helper()
	clock := &atomic.Int64{}
	clock.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return newBundleAt(t, db, clock, change...)
}

func newBundleAt(t testing.TB, db *storetest.DB, clock *atomic.Int64, change ...func(*mfa.Config)) *bundle {
	t.Helper()
	b := &bundle{t: t, db: db, totp: totp.New(totp.Config{}), change: change, clock: clock}
	cfg := mfa.Config{
		AppInfo:      mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage:      db.DB,
		Factors:      []mfa.Factor{emailpassword.New(emailpassword.Config{Hashing: cheap}), b.totp},
		FirstFactors: []factor.ID{factor.EmailPassword},
		OnEvent: func(_ context.Context, e mfa.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.seen = append(b.seen, e)
		},
		Now:    b.now,
		Logger: slog.New(slog.NewTextHandler(lockedWriter{b}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	auth, err := mfa.New(t.Context(), cfg)
	require.NoError(t, err)
	b.MFA = auth
	b.url = frontend.Serve(t, func(string) http.Handler { return auth.Middleware(b.host()) })
	return b
}

// machines are this one and, where the database can be shared, another on it, with the same clock.
func (b *bundle) machines() []*bundle {
	b.t.Helper()
	if b.db.Name == "memory" {
		return []*bundle{b}
	}
	return []*bundle{b, newBundleAt(b.t, b.db.Again(storetest.Keys(b.t, "k1")), b.clock, b.change...)}
}

type lockedWriter struct{ b *bundle }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.b.log.Write(p)
}

// host is the application: one protected page.
func (b *bundle) host() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/me", b.Sessions().Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"userId": s.UserID()})
	})))
	return mux
}

func (b *bundle) now() time.Time { return time.UnixMilli(b.clock.Load()).UTC() }

func (b *bundle) turn(d time.Duration) { b.clock.Add(d.Milliseconds()) }

func (b *bundle) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// events are what was told since the last call, as "name factor ok reason".
func (b *bundle) events() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := []string{}
	for _, e := range b.seen {
		line := fmt.Sprintf("%s %s %t %s", e.Name, e.FactorID, e.OK, e.Reason)
		lines = append(lines, string(bytes.Join(bytes.Fields([]byte(line)), []byte(" "))))
	}
	b.seen = nil
	return lines
}

func (b *bundle) client() *frontend.Client { return frontend.New(b.t, b.url, "header") }

// visits is a client of this machine with the session of a client of another.
func (b *bundle) visits(c *frontend.Client) *frontend.Client { return c.At(b.url) }

// signedUp is a client of a new user.
func (b *bundle) signedUp(email string) *frontend.Client {
	b.t.Helper()
	c := b.client()
	c.SignUp(email, password)
	return c
}

// enrolled is a client of a new user with a TOTP device, whose session is complete; the clock stands in the next period, so that the device has an
// unused code.
func (b *bundle) enrolled(email string) (c *frontend.Client, secret string) {
	b.t.Helper()
	c = b.signedUp(email)
	secret = c.EnrolTOTP(b.now())
	b.turn(30 * time.Second)
	return c, secret
}

func (b *bundle) makeAdmin(userID string) {
	b.t.Helper()
	_, err := b.UserRoles().CreateNewRoleOrAddPermissions(b.t.Context(), "admin")
	require.NoError(b.t, err)
	_, err = b.UserRoles().AddRoleToUser(b.t.Context(), "public", userID, "admin")
	require.NoError(b.t, err)
}

// me asks for the protected page.
func me(c *frontend.Client) int { return c.Call("GET", "/me", nil).Status }

// session loads the session of a client, as a handler of the host has it.
func (b *bundle) session(c *frontend.Client) *session.Session {
	b.t.Helper()
	s, err := b.Sessions().GetSessionWithoutRequestResponse(b.t.Context(), session.GetSessionInput{
		AccessToken: c.Access,
		Options: session.VerifyOptions{OverrideGlobalClaimValidators: func(context.Context, []session.ClaimValidator, *session.Session) ([]session.ClaimValidator, error) {
			return nil, nil
		}},
	})
	require.NoError(b.t, err)
	return s
}

// hostTx begins a transaction as a host does.
func hostTx(db *storetest.DB) (*sql.Tx, error) { return db.Handle.Begin() }

func parse(text string) map[string]any {
	var object map[string]any
	json.Unmarshal([]byte(text), &object)
	return object
}

func decodeFront(t *testing.T, token string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(token)
	require.NoError(t, err)
	return string(text)
}
