package totp

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// start is the beginning of a period of 30, 60 and 120 seconds.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bundle is a recipe in an instance of its own, with all that it is connected to.
type bundle struct {
	*Recipe
	t   testing.TB
	db  *storetest.DB
	log *bytes.Buffer

	mu      sync.Mutex
	now     time.Time
	events  []env.Event
	removed []string // users whose sessions lost the factor
}

type change func(*Config, *parts)

// newBundle makes a recipe on db. The person nobody does not exist, all others do.
func newBundle(t testing.TB, db *storetest.DB, changes ...change) *bundle {
	b := &bundle{t: t, db: db, log: &bytes.Buffer{}, now: start}
	var cfg Config
	p := parts{
		env: &env.Env{
			Store: db.Backend, Logger: slog.New(slog.NewTextHandler(b.log, nil)), Random: rand.Reader,
			Clock: func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now },
			OnEvent: func(_ context.Context, e env.Event) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.events = append(b.events, e)
			},
		},
		attempts: limits.Attempts{Max: 5, Cooldown: 15 * time.Minute, Stop: 100},
		appName:  "Acme",
		getUser: func(_ context.Context, userID string) (*accountlinking.User, error) {
			if userID == "nobody" {
				return nil, ErrUnknownUserID
			}
			return &accountlinking.User{ID: userID, LoginMethods: []accountlinking.LoginMethod{method(userID, userID+"@example.com", "")}}, nil
		},
		factorRemoved: func(_ context.Context, _ *session.Session, userID string, id factor.ID) error {
			assert.Equal(t, factor.TOTP, id)
			b.removed = append(b.removed, userID)
			return nil
		},
	}
	for _, change := range changes {
		change(&cfg, &p)
	}
	b.Recipe = New(cfg)
	require.NoError(t, b.attach(p))
	return b
}

// again is the same recipe in another process on the same database.
func (b *bundle) again() *bundle {
	return newBundle(b.t, b.db.Again(storetest.Keys(b.t, "k1")))
}

func (b *bundle) at(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = now
}

func (b *bundle) after(d time.Duration) { b.at(b.now.Add(d)) }

// taken returns the events since it was last called, as "name user reason", with a + where it went well.
func (b *bundle) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := []string{}
	for _, e := range b.events {
		if e.Name == env.PasswordKnown {
			assert.Equal(b.t, "emailpassword", e.FactorID)
		} else {
			assert.Equal(b.t, "totp", e.FactorID)
		}
		assert.False(b.t, e.Time.IsZero())
		result := e.Reason
		if e.OK {
			result = "+" + e.Reason
		}
		told = append(told, fmt.Sprintf("%s %s %s", e.Name, e.UserID, result))
	}
	b.events = nil
	return told
}

// code is what the authenticator app shows at a time.
func code(t testing.TB, secret string, at time.Time, period int64) string {
	text, err := hotp.GenerateCode(secret, uint64(at.Unix()/period))
	require.NoError(t, err)
	return text
}

func (b *bundle) code(secret string) string { return code(b.t, secret, b.now, 30) }

// wrong is a code that no device of the secrets accepts now.
func (b *bundle) wrong(secrets ...string) string {
next:
	for n := 0; ; n++ {
		text := fmt.Sprintf("%06d", n)
		for _, secret := range secrets {
			for skew := -2; skew <= 2; skew++ {
				if text == code(b.t, secret, b.now.Add(time.Duration(skew)*30*time.Second), 30) {
					continue next
				}
			}
		}
		return text
	}
}

func (b *bundle) create(userID, name string) CreateDeviceResult {
	b.t.Helper()
	result, err := b.CreateDevice(b.t.Context(), CreateDeviceInput{UserID: userID, DeviceName: name})
	require.NoError(b.t, err)
	return result
}

// enrol makes a verified device and returns its secret. The code of the previous period is used up by it.
func (b *bundle) enrol(userID, name string) (secret string) {
	b.t.Helper()
	made := b.create(userID, name)
	result, err := b.verify(userID, made.DeviceName, code(b.t, made.Secret, b.now.Add(-30*time.Second), 30))
	require.NoError(b.t, err)
	require.False(b.t, result.WasAlreadyVerified)
	return made.Secret
}

func (b *bundle) verify(userID, name, code string) (VerifyDeviceResult, error) {
	return b.VerifyDevice(b.t.Context(), VerifyDeviceInput{UserID: userID, DeviceName: name, TOTP: code})
}

func (b *bundle) check(userID, code string) error {
	return b.VerifyTOTP(b.t.Context(), "", userID, code)
}

func (b *bundle) names(userID string) []string {
	b.t.Helper()
	devices, err := b.ListDevices(b.t.Context(), userID)
	require.NoError(b.t, err)
	names := []string{}
	for _, d := range devices {
		name := d.Name
		if !d.Verified {
			name += "?"
		}
		names = append(names, name)
	}
	return names
}

func method(id, email, phone string) accountlinking.LoginMethod {
	return accountlinking.LoginMethod{
		AccountInfo:  accountlinking.AccountInfo{Email: email, PhoneNumber: phone},
		RecipeUserID: accountlinking.RecipeUserID(id),
	}
}

func invalid(n int) error { return &InvalidTOTPError{n, 5} }

func limited(wait time.Duration) error { return &LimitReachedError{RetryAfter: wait} }

func run(t testing.TB, db *storetest.DB, text string, args ...any) {
	_, err := db.Backend.Exec(t.Context(), store.SQL("test", text), args...)
	require.NoError(t, err)
}
