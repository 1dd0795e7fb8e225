package emailpassword

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// bundle is the recipe in an instance whose clock is turned by hand.
type bundle struct {
	*Recipe
	db     *storetest.DB
	hashes *atomic.Int64 // operations so far

	now    atomic.Int64 // milliseconds
	mu     sync.Mutex
	events []env.Event
	log    bytes.Buffer
}

const (
	me       = "me@example.com"
	password = "right password 1"
)

func newBundle(t *testing.T, db *storetest.DB, cfg Config) *bundle {
	t.Helper()
	return newLimitedBundle(t, db, cfg, limits.Guesses{})
}

func newLimitedBundle(t *testing.T, db *storetest.DB, cfg Config, guesses limits.Guesses) *bundle {
	t.Helper()
	if cfg.Hashing == (Hashing{}) {
		cfg.Hashing = cheap
	}
	b := &bundle{Recipe: New(cfg), db: db}
	b.now.Store(time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	e := &env.Env{
		Store:  db.Backend,
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
		Clock:  func() time.Time { return time.UnixMilli(b.now.Load()) },
		Random: rand.Reader,
		OnEvent: func(ctx context.Context, event env.Event) {
			assert.False(t, db.Backend.InTx(ctx))
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, event)
		},
	}
	people, err := accountlinking.Attach(e, accountlinking.Config{})
	require.NoError(t, err)
	require.NoError(t, b.attach(e, people, guesses))
	b.hashes = countOperations(b.hasher)
	return b
}

// takeEvents returns what happened since the last call.
func (b *bundle) takeEvents() []env.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}

func (b *bundle) checked(userID string, ok bool, reason string) []env.Event {
	return []env.Event{{
		Time: time.UnixMilli(b.now.Load()).UTC(), Name: "factor.checked", UserID: userID, TenantID: "public", FactorID: "emailpassword",
		OK: ok, Reason: reason,
	}}
}

func (b *bundle) mustSignUp(t *testing.T, email string) SignInResult {
	t.Helper()
	result, err := b.SignUp(t.Context(), SignUpInput{Email: email, Password: password})
	require.NoError(t, err)
	return result
}

func (b *bundle) verify(ctx context.Context, email, password string) error {
	return b.VerifyCredentials(ctx, "public", email, password)
}

func (b *bundle) hashOf(t *testing.T, id accountlinking.RecipeUserID) string {
	t.Helper()
	c, found, err := b.credentialOf(t.Context(), id)
	require.NoError(t, err)
	require.True(t, found)
	return c.hash
}

func (b *bundle) setHash(t *testing.T, id accountlinking.RecipeUserID, hash string) {
	t.Helper()
	n, err := b.db.Backend.Exec(t.Context(), rehashCredential, string(id), hash, b.hashOf(t, id))
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestRecipeOfNoInstance(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	const message = "emailpassword: the recipe belongs to no instance: give it to mfa.New in Config.Factors"
	_, err := r.SignUp(t.Context(), SignUpInput{})
	assert.EqualError(t, err, message)
	_, err = r.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{})
	assert.EqualError(t, err, message)
	_, err = r.SignIn(t.Context(), SignInInput{})
	assert.EqualError(t, err, message)
	assert.EqualError(t, r.VerifyCredentials(t.Context(), "public", me, password), message)
}

// Every mistake is reported at once, and nothing is attached.
func TestConfigurationMistakes(t *testing.T) {
	t.Parallel()
	r := New(Config{
		SignUpFormFields: []FormField{{}},
		Hashing:          Hashing{BcryptCost: 2},
		Override: Override{Functions: func(_ Functions, functions *Functions) {
			functions.SignIn, functions.VerifyCredentials = nil, nil
		}},
	})
	err := r.attach(&env.Env{Random: rand.Reader}, nil, limits.Guesses{})
	assert.EqualError(t, err, strings.Join([]string{
		"emailpassword: Config.Hashing.BcryptCost must be 10 to 31, or from 4 on with InsecureLowCost",
		"emailpassword: Config.SignUpFormFields[0] has no ID",
		"emailpassword: Config.Override.Functions left the function SignIn nil",
		"emailpassword: Config.Override.Functions left the function VerifyCredentials nil",
	}, "\n"))
	_, err = r.SignIn(t.Context(), SignInInput{})
	assert.ErrorIs(t, err, errNotAttached)
}

// The library itself calls what an override put into the table, and an override runs with the instance in its ctx.
func TestFunctionOverrides(t *testing.T) {
	t.Parallel()
	var calls []string
	var instance *env.Env
	b := newBundle(t, storetest.Open(t, "memory"), Config{Override: Override{Functions: func(original Functions, functions *Functions) {
		note := func(ctx context.Context, name string) {
			assert.Same(t, instance, env.FromContext(ctx))
			calls = append(calls, name)
		}
		functions.SignUp = func(ctx context.Context, in SignUpInput) (SignInResult, error) {
			note(ctx, "SignUp")
			return original.SignUp(ctx, in)
		}
		functions.CreateNewRecipeUser = func(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error) {
			note(ctx, "CreateNewRecipeUser")
			return original.CreateNewRecipeUser(ctx, in)
		}
		functions.SignIn = func(ctx context.Context, in SignInInput) (SignInResult, error) {
			note(ctx, "SignIn")
			return original.SignIn(ctx, in)
		}
		functions.VerifyCredentials = func(ctx context.Context, in VerifyCredentialsInput) (SignInResult, error) {
			note(ctx, "VerifyCredentials")
			return original.VerifyCredentials(ctx, in)
		}
	}}})
	instance = b.env
	called := func() []string {
		defer func() { calls = nil }()
		return calls
	}
	b.mustSignUp(t, me)
	assert.Equal(t, []string{"SignUp", "CreateNewRecipeUser"}, called())
	_, err := b.SignIn(t.Context(), SignInInput{Email: me, Password: password})
	require.NoError(t, err)
	assert.Equal(t, []string{"SignIn", "VerifyCredentials"}, called())
	require.NoError(t, b.verify(t.Context(), me, password))
	assert.Equal(t, []string{"VerifyCredentials"}, called())
	_, err = b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: "you@example.com", Password: password})
	require.NoError(t, err)
	assert.Equal(t, []string{"CreateNewRecipeUser"}, called())
}

// An override of the users' functions is seen, as everywhere.
func TestUsersAreFoundThroughTheirTable(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	b.mustSignUp(t, me)
	people, err := accountlinking.Attach(b.env, accountlinking.Config{Override: accountlinking.Override{
		Functions: func(original accountlinking.Functions, functions *accountlinking.Functions) {
			functions.ListUsersByAccountInfo = func(context.Context, accountlinking.ListUsersByAccountInfoInput) ([]*accountlinking.User, error) {
				return nil, nil
			}
		},
	}})
	require.NoError(t, err)
	b.users = people
	assert.ErrorIs(t, b.verify(t.Context(), me, password), ErrWrongCredentials)
}

func TestAPIOverride(t *testing.T) {
	t.Parallel()
	paths := func(cfg Config) []string {
		registration, err := New(cfg).Attach(nil)
		require.NoError(t, err)
		var paths []string
		for _, route := range registration.Routes {
			paths = append(paths, route.Method+" "+route.Path)
		}
		return paths
	}
	assert.Equal(t, []string{"POST /signup", "POST /signin", "GET /emailpassword/email/exists", "GET /signup/email/exists"}, paths(Config{}))
	off := Config{Override: Override{APIs: func(_ APIs, apis *APIs) { apis.EmailExistsGET, apis.SignUpPOST = nil, nil }}}
	assert.Equal(t, []string{"POST /signin"}, paths(off), "a nil field switches its routes off")
}
