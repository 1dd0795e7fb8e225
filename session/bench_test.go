package session_test

import (
	"context"
	"crypto/ecdsa"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/keys"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// originalGetSession is what verifies: token string in, *Session out.
func originalGetSession(t testing.TB, b *setup) func(context.Context, session.GetSessionInput) (*session.Session, error) {
	var get func(context.Context, session.GetSessionInput) (*session.Session, error)
	b.cfg.Override.Functions = func(original session.Functions, _ *session.Functions) { get = original.GetSession }
	return func(ctx context.Context, in session.GetSessionInput) (*session.Session, error) { return get(ctx, in) }
}

var payload = map[string]any{
	"st-mfa":  map[string]any{"c": map[string]any{"emailpassword": 1772366400, "totp": 1772366410}, "v": true},
	"st-role": map[string]any{"v": []string{"admin", "staff"}, "t": int64(1772366400000)},
}

// At most 3 µs and 5 allocations.
func BenchmarkVerifySeen(b *testing.B) {
	s := setup{}
	get := originalGetSession(b, &s)
	r := newBundle(b, storetest.Open(b, "memory"), s)
	created, err := r.CreateNewSessionWithoutRequestResponse(b.Context(), session.NewSession{RecipeUserID: "user-1", AccessTokenPayload: payload})
	require.NoError(b, err)
	token := created.AccessToken()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := get(b.Context(), session.GetSessionInput{AccessToken: token}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestVerifyingATokenSeenBeforeAllocatesLittle(t *testing.T) {
	s := setup{}
	get := originalGetSession(t, &s)
	r := newBundle(t, storetest.Open(t, "memory"), s)
	token := r.sign("user-1").AccessToken()
	ctx := t.Context()
	r.db.Probe.Reset()
	allocations := testing.AllocsPerRun(100, func() { get(ctx, session.GetSessionInput{AccessToken: token}) })
	require.LessOrEqual(t, allocations, 5.0)
	require.Zero(t, r.db.Probe.Count(), "verifying asks no database")
}

// At most 1.2 times BenchmarkJWTParse. The second instance has seen no token: each is verified once per round, then it is forgotten.
func BenchmarkVerifyNew(b *testing.B) {
	tokens, instance := newTokens(b)
	get := instance()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if i == len(tokens) {
			b.StopTimer()
			get, i = instance(), 0
			b.StartTimer()
		}
		if _, err := get(b.Context(), session.GetSessionInput{AccessToken: tokens[i]}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkJWTParse is golang-jwt's own parse of the same tokens.
func BenchmarkJWTParse(b *testing.B) {
	tokens, _ := newTokens(b)
	public := benchPublic
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(newClock().Now))
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.Parse(tokens[i%len(tokens)], func(*jwt.Token) (any, error) { return public, nil }); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

var benchPublic *ecdsa.PublicKey

// newTokens makes tokens, and instances on the same database that have not seen them.
func newTokens(b *testing.B) ([]string, func() func(context.Context, session.GetSessionInput) (*session.Session, error)) {
	db := storetest.Open(b, "memory")
	first := newBundle(b, db, setup{})
	tokens := make([]string, 200)
	for i := range tokens {
		s, err := first.CreateNewSessionWithoutRequestResponse(b.Context(), session.NewSession{RecipeUserID: "user-1", AccessTokenPayload: payload})
		require.NoError(b, err)
		tokens[i] = s.AccessToken()
	}
	published, _, err := keys.NewSigning(keys.Config{
		Store: db.Backend, Log: first.env.Logger, Random: randomReader{}, Algorithm: "ES256", Interval: 168 * 3600e9, AccessValidity: 3600e9,
	}).Published(b.Context(), first.env.Now(), false)
	require.NoError(b, err)
	benchPublic = published[0].Public.(*ecdsa.PublicKey)
	return tokens, func() func(context.Context, session.GetSessionInput) (*session.Session, error) {
		s := setup{env: func(e *env.Env) {}}
		get := originalGetSession(b, &s)
		newBundle(b, db, s)
		return get
	}
}
