package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func custom(t *testing.T, b *bundle, handle string) map[string]any {
	t.Helper()
	info, err := b.GetSessionInformation(t.Context(), handle)
	require.NoError(t, err)
	return info.CustomClaimsInAccessTokenPayload
}

func TestMergeIntoAccessTokenPayload(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
			RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"digits": json.Number("1.50"), "big": int64(9007199254740993), "gone": 1, "nested": map[string]any{"a": 1}},
		})
		require.NoError(t, err)
		before := s.AllSessionTokensDangerously()
		b.clock.Add(time.Minute)
		db.Probe.Reset()
		require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"plan": "paid", "bigger": int64(9007199254740995), "gone": nil, "nested": map[string]any{"b": 2}, "never": nil}))
		require.Equal(t, 1, db.Probe.Count(), "one statement")
		want := map[string]any{
			"digits": 1.5, "big": 9007199254740992.0, "bigger": 9007199254740996.0, "plan": "paid", "nested": map[string]any{"b": 2.0},
		}
		require.Equal(t, want, custom(t, b, s.Handle()))
		require.Contains(t, db.Dump("sessions"), `"big":9007199254740993,"bigger":9007199254740995,"digits":1.50,`, "numbers keep their digits")

		payload := s.AccessTokenPayload()
		require.Equal(t, "paid", payload["plan"])
		require.Equal(t, float64(b.clock.Now().Unix()), payload["iat"], "a new iat")
		require.Equal(t, float64(b.clock.Now().Add(59*time.Minute).Unix()), payload["exp"], "and the old exp")
		require.NotEqual(t, before.AccessToken, s.AccessToken())
		again, err := b.verified(s.AccessToken())
		require.NoError(t, err)
		require.Equal(t, payload, again.AccessTokenPayload())
		require.NoError(t, again.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"more": true}))
		require.NoError(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{"huge": uint64(18446744073709551615)}))
		require.NoError(t, s.UpdateDataInDatabase(t.Context(), map[string]any{"huge": uint64(18446744073709551614)}))
		require.Contains(t, db.Dump("sessions"), `"digits":1.50,"huge":18446744073709551615,"more":true,`)
		require.Contains(t, db.Dump("sessions"), `{"huge":18446744073709551614}`)
		refreshed, err := b.refreshed(before.RefreshToken)
		require.NoError(t, err)
		require.Equal(t, true, refreshed.AccessTokenPayload()["more"], "rotation takes the stored payload over")

		stored := db.Dump("sessions")
		for _, name := range []string{
			"sub", "iat", "exp", "sessionHandle", "parentRefreshTokenHash1", "refreshTokenHash1", "antiCsrfToken", "rsub", "tId", "stt", "iss",
		} {
			var protected *session.ProtectedClaimError
			for _, value := range []any{"x", nil} {
				require.ErrorAs(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"a": 1, name: value}), &protected)
				require.Equal(t, "The user payload contains protected field "+name, protected.Error())
				require.ErrorAs(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{name: value}), &protected)
			}
		}
		var bad *session.BadInputError
		require.ErrorAs(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"a": "\x00"}), &bad)
		require.ErrorAs(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{"a": "\xff"}), &bad)
		require.Equal(t, stored, db.Dump("sessions"), "nothing was written")

		db.Probe.Reset()
		require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), nil))
		require.Zero(t, db.Probe.Count(), "nothing to do")
	})
}

func TestAPayloadThatIsGivenAwayIsACopy(t *testing.T) {
	t.Parallel()
	nested := map[string]any{"a": 1.0}
	b := inMemory(t, session.Config{})
	s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
		RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"n": nested}, SessionDataInDatabase: map[string]any{"n": nested},
	})
	require.NoError(t, err)
	nested["a"] = 2.0
	s.AccessTokenPayload()["n"].(map[string]any)["a"] = 3.0
	custom(t, b, s.Handle())["n"].(map[string]any)["a"] = 3.0
	require.Equal(t, map[string]any{"a": 1.0}, s.AccessTokenPayload()["n"])
	require.Equal(t, map[string]any{"n": map[string]any{"a": 1.0}}, custom(t, b, s.Handle()))
	data, err := s.DataFromDatabase(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]any{"n": map[string]any{"a": 1.0}}, data)
}

// A hundred changes of one session at once, half of them by its handle, are all kept.
func TestNoChangeIsLost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s := b.sign("user-1")
		token := s.AccessToken()
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				update := map[string]any{fmt.Sprint("k", i): i}
				switch i % 4 {
				case 0:
					assert.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), update), "one *Session in many goroutines")
				case 1:
					own, err := b.verified(token)
					if assert.NoError(t, err) {
						assert.NoError(t, own.MergeIntoAccessTokenPayload(t.Context(), update))
					}
				default:
					assert.NoError(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), update))
				}
			})
		}
		group.Wait()
		require.Len(t, custom(t, b, s.Handle()), 100)
		require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"last": true}))
		require.Len(t, s.AccessTokenPayload(), 101+10, "and the token shows them")
	})
}

// completed adds to a list, as the claim of the factors does.
func completed(factor string) func(context.Context, map[string]any) (map[string]any, error) {
	return func(_ context.Context, payload map[string]any) (map[string]any, error) {
		done, _ := payload["done"].(map[string]any)
		all := map[string]any{factor: true}
		for name := range done {
			all[name] = true
		}
		return map[string]any{"done": all}, nil
	}
}

// Two factors that are completed in parallel with one token are both kept.
func TestChangePayload(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s := b.sign("user-1")
		db.Probe.Reset()
		require.NoError(t, s.ChangePayload(t.Context(), env.Key{}, completed("password")))
		require.Equal(t, 1, db.Probe.Count(), "the first swap is one statement")
		token := s.AccessToken()

		one, err := b.verified(token)
		require.NoError(t, err)
		two, err := b.verified(token)
		require.NoError(t, err)
		require.NoError(t, one.ChangePayload(t.Context(), env.Key{}, completed("totp")))
		asked := 0
		db.Probe.Reset()
		require.NoError(t, two.ChangePayload(t.Context(), env.Key{}, func(ctx context.Context, payload map[string]any) (map[string]any, error) {
			asked++
			assert.Equal(t, []any{"user-1", "user-1", "public", s.Handle()},
				[]any{payload["sub"], payload["rsub"], payload["tId"], payload["sessionHandle"]})
			assert.Same(t, b.env, env.FromContext(ctx))
			return completed("otp-email")(ctx, payload)
		}))
		require.Equal(t, 2, asked)
		require.Equal(t, 3, db.Probe.Count(), "swap, read, swap")
		want := map[string]any{"password": true, "totp": true, "otp-email": true}
		require.Equal(t, want, custom(t, b, s.Handle())["done"])
		require.Equal(t, want, two.AccessTokenPayload()["done"])

		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if i%2 == 0 {
					assert.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), completed(fmt.Sprint("f", i))))
					return
				}
				own, err := b.verified(token)
				if assert.NoError(t, err) {
					assert.NoError(t, own.ChangePayload(t.Context(), env.Key{}, completed(fmt.Sprint("f", i))))
				}
			})
		}
		group.Wait()
		require.Len(t, custom(t, b, s.Handle())["done"], 103)
	})
}

// What another request has stored is taken over with a token that ends when the old one does; nothing is written.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s := b.sign("user-1")
		token := s.AccessToken()
		db.Probe.Reset()
		changed, err := s.TakeOver(t.Context(), env.Key{})
		require.NoError(t, err)
		require.False(t, changed)
		require.Equal(t, token, s.AccessToken())
		require.Equal(t, 1, db.Probe.Count())

		require.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), completed("totp")))
		stored, ends := db.Dump("sessions"), s.AccessTokenPayload()["exp"]
		changed, err = s.TakeOver(t.Context(), env.Key{})
		require.NoError(t, err)
		require.True(t, changed)
		require.Equal(t, stored, db.Dump("sessions"))
		require.NotEqual(t, token, s.AccessToken())
		require.True(t, s.AllSessionTokensDangerously().AccessAndFrontTokenUpdated)
		require.Equal(t, map[string]any{"totp": true}, s.AccessTokenPayload()["done"])
		require.Equal(t, ends, s.AccessTokenPayload()["exp"])

		require.NoError(t, s.Revoke(t.Context()))
		_, err = s.TakeOver(t.Context(), env.Key{})
		var gone *session.UnauthorisedError
		require.ErrorAs(t, err, &gone)
		require.False(t, gone.KeepTokens)
		db.Probe.FailAt(1)
		_, err = s.TakeOver(t.Context(), env.Key{})
		require.ErrorIs(t, err, storetest.ErrInjected)
	})
}

func TestChangePayloadOfAHandle(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s := b.sign("user-1")
		asked := 0
		db.Probe.Reset()
		require.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), func(ctx context.Context, payload map[string]any) (map[string]any, error) {
			assert.Equal(t, []any{"user-1", "user-1", "public", s.Handle()},
				[]any{payload["sub"], payload["rsub"], payload["tId"], payload["sessionHandle"]})
			if asked++; asked == 1 {
				return completed("totp")(ctx, payload)
			}
			return nil, nil
		}))
		require.Equal(t, []int{1, 2}, []int{asked, db.Probe.Count()}, "read, swap")
		db.Probe.Reset()
		require.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), func(context.Context, map[string]any) (map[string]any, error) { return nil, nil }))
		require.Equal(t, 1, db.Probe.Count(), "nothing changes")

		failure := errors.New("the policy failed")
		failing := func(context.Context, map[string]any) (map[string]any, error) { return map[string]any{"a": 1}, failure }
		before := db.Dump("sessions")
		require.ErrorIs(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), failing), failure)
		require.ErrorIs(t, s.ChangePayload(t.Context(), env.Key{}, failing), failure)
		require.Equal(t, before, db.Dump("sessions"))

		_, err := b.RevokeSession(t.Context(), s.Handle())
		require.NoError(t, err)
		require.ErrorIs(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), completed("x")), session.ErrSessionDoesNotExist)
		var gone *session.UnauthorisedError
		require.ErrorAs(t, s.ChangePayload(t.Context(), env.Key{}, completed("x")), &gone)
	})
}

// After a lost swap the second answer may be that nothing is to change: then the token shows what is stored.
func TestTheSecondAnswerIsNothing(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	s := b.sign("user-1")
	require.NoError(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{"stored": true}))
	asked := 0
	require.NoError(t, s.ChangePayload(t.Context(), env.Key{}, func(_ context.Context, payload map[string]any) (map[string]any, error) {
		asked++
		if payload["stored"] == true {
			return nil, nil
		}
		return map[string]any{"mine": true}, nil
	}))
	require.Equal(t, 2, asked)
	require.Equal(t, true, s.AccessTokenPayload()["stored"])
	require.NotContains(t, s.AccessTokenPayload(), "mine")
	require.Equal(t, map[string]any{"stored": true}, custom(t, b, s.Handle()))
}

// What an override adds to a change, or takes out of it, stays so after a lost swap, too.
func TestAnOverrideOfAChange(t *testing.T) {
	t.Parallel()
	var cfg session.Config
	cfg.Override.Functions = func(original session.Functions, functions *session.Functions) {
		functions.RegenerateAccessToken = func(ctx context.Context, in session.RegenerateAccessTokenInput) (session.RegenerateAccessTokenResult, error) {
			in.NewAccessTokenPayload["by"] = "override"
			delete(in.NewAccessTokenPayload, "secret")
			return original.RegenerateAccessToken(ctx, in)
		}
		functions.MergeIntoAccessTokenPayload = func(ctx context.Context, in session.MergeIntoAccessTokenPayloadInput) error {
			in.Update["by handle"] = "override"
			delete(in.Update, "secret")
			return original.MergeIntoAccessTokenPayload(ctx, in)
		}
	}
	b := inMemory(t, cfg)
	update := func(context.Context, map[string]any) (map[string]any, error) {
		return map[string]any{"a": 1.0, "secret": 2.0}, nil
	}
	s := b.sign("user-1")
	require.NoError(t, s.ChangePayload(t.Context(), env.Key{}, update))
	require.Equal(t, map[string]any{"a": 1.0, "by": "override"}, custom(t, b, s.Handle()))

	s = b.sign("user-1")
	require.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), update))
	require.Equal(t, map[string]any{"a": 1.0, "by handle": "override"}, custom(t, b, s.Handle()))
	require.NoError(t, s.ChangePayload(t.Context(), env.Key{}, update), "the token is older than the row")
	want := map[string]any{"a": 1.0, "by handle": "override", "by": "override"}
	require.Equal(t, want, custom(t, b, s.Handle()))
	require.Equal(t, "override", s.AccessTokenPayload()["by handle"])

	s = b.sign("user-1")
	interfered := false
	require.NoError(t, b.ChangePayload(t.Context(), env.Key{}, s.Handle(), func(ctx context.Context, _ map[string]any) (map[string]any, error) {
		if !interfered {
			interfered = true
			assert.NoError(t, s.MergeIntoAccessTokenPayload(ctx, map[string]any{"between": true}))
		}
		return update(ctx, nil)
	}))
	require.Equal(t, map[string]any{"a": 1.0, "by handle": "override", "between": true, "by": "override"}, custom(t, b, s.Handle()))
}

// A token that expired in the middle of a request: the payload is stored, nothing is sent, and there is no error.
func TestAChangeAfterTheTokenExpired(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	s := b.sign("user-1")
	s, err := b.verified(s.AccessToken())
	require.NoError(t, err)
	token := s.AccessToken()
	b.clock.Add(2 * time.Hour)
	require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"a": 1}))
	require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"b": 2}))
	require.Equal(t, token, s.AccessToken())
	require.False(t, s.AllSessionTokensDangerously().AccessAndFrontTokenUpdated)
	require.Equal(t, 1.0, s.AccessTokenPayload()["a"], "the payload at hand has the new values")
	require.Equal(t, map[string]any{"a": 1.0, "b": 2.0}, custom(t, b, s.Handle()))
}

func TestRegenerateAccessToken(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		s := b.sign("user-1")
		require.NoError(t, b.MergeIntoAccessTokenPayload(t.Context(), s.Handle(), map[string]any{"other": true}))
		result, err := b.RegenerateAccessToken(t.Context(), session.RegenerateAccessTokenInput{
			AccessToken: s.AccessToken(), NewAccessTokenPayload: map[string]any{"a": 1},
		})
		require.NoError(t, err)
		require.Equal(t, b.clock.Now().Add(time.Hour).Truncate(time.Second), result.Expiry)
		require.Equal(t, map[string]any{"a": 1.0}, custom(t, b, s.Handle()), "it replaces")
		again, err := b.verified(result.AccessToken)
		require.NoError(t, err)
		require.Equal(t, s.Handle(), again.Handle())
		_, err = b.RegenerateAccessToken(t.Context(), session.RegenerateAccessTokenInput{AccessToken: result.AccessToken})
		require.NoError(t, err)
		require.Empty(t, custom(t, b, s.Handle()), "nil is an empty payload")

		regenerate := func(token string, payload map[string]any) error {
			_, err := b.RegenerateAccessToken(t.Context(), session.RegenerateAccessTokenInput{AccessToken: token, NewAccessTokenPayload: payload})
			return err
		}
		forged := result.AccessToken[:len(result.AccessToken)-4] + "AAAA"
		before := db.Dump("sessions")
		var refused *session.TryRefreshTokenError
		require.ErrorAs(t, regenerate(forged, nil), &refused)
		var none *session.UnauthorisedError
		require.ErrorAs(t, regenerate("garbage", nil), &none)
		var protected *session.ProtectedClaimError
		require.ErrorAs(t, regenerate(result.AccessToken, map[string]any{"iss": "x"}), &protected)
		require.Equal(t, before, db.Dump("sessions"))
		b.clock.Add(2 * time.Hour)
		expired, err := b.RegenerateAccessToken(t.Context(), session.RegenerateAccessTokenInput{
			AccessToken: result.AccessToken, NewAccessTokenPayload: map[string]any{"late": true},
		})
		require.NoError(t, err)
		require.Empty(t, expired.AccessToken)
		require.Equal(t, map[string]any{"late": true}, custom(t, b, s.Handle()))
		_, err = b.RevokeSession(t.Context(), s.Handle())
		require.NoError(t, err)
		require.ErrorIs(t, regenerate(result.AccessToken, nil), session.ErrSessionDoesNotExist)
	})
}

func TestClaimsOfAHandle(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var seen session.FetchValueInput
		claim := session.NewPrimitiveClaim("n", func(_ context.Context, in session.FetchValueInput) (int, bool, error) {
			seen = in
			return 7, in.AccessTokenPayload["skip"] == nil, nil
		})
		b := newBundle(t, db, setup{})
		ctx := t.Context()
		s, err := b.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"a": "b"}})
		require.NoError(t, err)
		handle := s.Handle()
		_, ok, err := b.GetClaimValue(ctx, handle, claim)
		require.NoError(t, err)
		require.False(t, ok)

		require.NoError(t, b.FetchAndSetClaim(ctx, handle, claim))
		require.Equal(t, session.FetchValueInput{UserID: "user-1", RecipeUserID: "user-1", TenantID: "public", AccessTokenPayload: map[string]any{
			"a": "b", "sub": "user-1", "rsub": "user-1", "tId": "public", "sessionHandle": handle,
		}}, seen)
		value, ok, err := b.GetClaimValue(ctx, handle, claim)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, 7, value, "of the claim's own type")
		require.NoError(t, b.SetClaimValue(ctx, handle, claim, 8))
		value, _, err = b.GetClaimValue(ctx, handle, claim)
		require.NoError(t, err)
		require.Equal(t, 8, value)
		require.Equal(t, map[string]any{"a": "b", "n": map[string]any{"v": 8.0, "t": float64(b.clock.Now().UnixMilli())}}, custom(t, b, handle))
		require.NoError(t, b.RemoveClaim(ctx, handle, claim))
		require.Equal(t, map[string]any{"a": "b"}, custom(t, b, handle))
		require.NoError(t, b.MergeIntoAccessTokenPayload(ctx, handle, map[string]any{"skip": true}))
		require.NoError(t, b.FetchAndSetClaim(ctx, handle, claim))
		require.NotContains(t, custom(t, b, handle), "n", "without a value the payload stays as it is")

		require.NoError(t, b.MergeIntoAccessTokenPayload(ctx, handle, map[string]any{"skip": nil}))
		only := func(v ...session.ClaimValidator) session.VerifyOptions { return session.VerifyOptions{Require: v} }
		require.NoError(t, b.ValidateClaimsForSessionHandle(ctx, handle, only(claim.HasValue(7))))
		require.Contains(t, custom(t, b, handle), "n", "what was fetched is stored")
		var invalid *session.InvalidClaimsError
		require.ErrorAs(t, b.ValidateClaimsForSessionHandle(ctx, handle, only(claim.HasValue(7), claim.HasValue(1))), &invalid)
		require.Len(t, invalid.Errors, 1)
		require.NoError(t, b.ValidateClaimsForSessionHandle(ctx, handle, session.VerifyOptions{}))

		_, err = b.RevokeSession(ctx, handle)
		require.NoError(t, err)
		for name, call := range map[string]func() error{
			"fetch":    func() error { return b.FetchAndSetClaim(ctx, handle, claim) },
			"set":      func() error { return b.SetClaimValue(ctx, handle, claim, 1) },
			"get":      func() error { _, _, err := b.GetClaimValue(ctx, handle, claim); return err },
			"remove":   func() error { return b.RemoveClaim(ctx, handle, claim) },
			"validate": func() error { return b.ValidateClaimsForSessionHandle(ctx, handle, only(claim.HasValue(1))) },
			"merge":    func() error { return b.MergeIntoAccessTokenPayload(ctx, handle, map[string]any{"a": 1}) },
			"data":     func() error { return b.UpdateSessionDataInDatabase(ctx, handle, nil) },
			"info":     func() error { _, err := b.GetSessionInformation(ctx, handle); return err },
		} {
			require.ErrorIs(t, call(), session.ErrSessionDoesNotExist, name)
		}
		var bad *session.BadInputError
		_, err = b.GetSessionInformation(ctx, "\x00")
		require.ErrorAs(t, err, &bad)
		_, err = b.RevokeSession(ctx, "\xff")
		require.ErrorAs(t, err, &bad)
	})
}

func TestContainer(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		ctx := t.Context()
		claim := session.NewBooleanClaim("flag", func(context.Context, session.FetchValueInput) (bool, bool, error) { return true, true, nil })
		s := b.sign("user-1")
		tokens := s.AllSessionTokensDangerously()
		require.True(t, tokens.AccessAndFrontTokenUpdated)
		require.Equal(t, b.clock.Now(), tokens.RefreshTokenCreated)
		created, err := s.TimeCreated(ctx)
		require.NoError(t, err)
		require.Equal(t, b.clock.Now(), created)
		expiry, err := s.Expiry(ctx)
		require.NoError(t, err)
		require.Equal(t, b.clock.Now().Add(100*24*time.Hour), expiry)
		require.NoError(t, s.UpdateDataInDatabase(ctx, map[string]any{"note": "x"}))
		data, err := s.DataFromDatabase(ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]any{"note": "x"}, data)
		require.NoError(t, s.UpdateDataInDatabase(ctx, nil))
		data, err = s.DataFromDatabase(ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]any{}, data)

		require.NoError(t, s.FetchAndSetClaim(ctx, claim))
		value, ok := claim.GetValue(s)
		require.True(t, ok && value)
		require.NoError(t, s.RemoveClaim(ctx, claim))
		_, ok = claim.GetValue(s)
		require.False(t, ok)
		require.NoError(t, s.AssertClaims(ctx))
		require.NoError(t, s.AssertClaims(ctx, claim.IsTrue()), "fetched on the way")
		require.Contains(t, custom(t, b, s.Handle()), "flag")

		require.NoError(t, s.Revoke(ctx))
		require.NoError(t, s.Revoke(ctx), "it has ended already")
		for name, call := range map[string]func() error{
			"created":  func() error { _, err := s.TimeCreated(ctx); return err },
			"expiry":   func() error { _, err := s.Expiry(ctx); return err },
			"data":     func() error { _, err := s.DataFromDatabase(ctx); return err },
			"set data": func() error { return s.UpdateDataInDatabase(ctx, nil) },
			"merge":    func() error { return s.MergeIntoAccessTokenPayload(ctx, map[string]any{"a": 1}) },
			"claim":    func() error { return s.SetClaimValue(ctx, claim, false) },
		} {
			var gone *session.UnauthorisedError
			require.ErrorAs(t, call(), &gone, name)
			require.False(t, gone.KeepTokens)
		}
	})
}

// What changes in a handler is sent with its answer, and an answer that is under way is an error before anything is written.
func TestChangesInAHandler(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	b := newBundle(t, db, setup{})
	tokens := tokensOf(t, b, "user-1")
	serveIt := func(handle http.HandlerFunc) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		b.Verify(handle).ServeHTTP(w, request("GET", "/", "sAccessToken="+tokens.AccessToken, ""))
		return w
	}
	w := serveIt(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public")
		w.Header().Set("Access-Control-Expose-Headers", "X-Front-Token")
		assert.NoError(t, session.FromContext(r.Context()).MergeIntoAccessTokenPayload(r.Context(), map[string]any{"a": 1}))
		w.Header().Set("Cache-Control", "public")
		io.WriteString(w, "done")
	})
	require.Len(t, w.Result().Cookies(), 1, "the refresh token did not change")
	require.Equal(t, "X-Front-Token, front-token", w.Header().Get("Access-Control-Expose-Headers"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "S-09: whatever the handler said")
	require.Contains(t, string(frontOf(t, w.Result()).Up), `"a":1`)
	tokens.AccessToken = w.Result().Cookies()[0].Value

	before := db.Dump("sessions")
	serveIt(func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		w.WriteHeader(http.StatusOK)
		assert.ErrorIs(t, s.MergeIntoAccessTokenPayload(r.Context(), map[string]any{"a": 2}), session.ErrResponseWritten)
		assert.Equal(t, before, db.Dump("sessions"), "nothing was stored")
		assert.ErrorIs(t, s.Revoke(r.Context()), session.ErrResponseWritten)
	})
	require.Zero(t, db.Rows("sessions"), "but it has ended")

	w = serveIt(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, session.FromContext(r.Context()).Revoke(r.Context()))
	})
	require.Equal(t, "remove", w.Header().Get("front-token"))
	require.Len(t, w.Result().Cookies(), 2)
}

// A refused request carries the token that the fetch has changed, so that the client does not cause the same fetch again.
func TestARefusalCarriesTheNewToken(t *testing.T) {
	t.Parallel()
	claim, fetched := counting("n", 1)
	b := inMemory(t, session.Config{GlobalClaimValidators: []session.ClaimValidator{claim.HasValue(2)}})
	c := newClient(t, app(b, session.NewSession{}), "header")
	c.call("POST", "/login", "")
	res := c.call("GET", "/me", "")
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Contains(t, string(frontOf(t, res).Up), `"n":{`)
	require.Equal(t, http.StatusForbidden, c.call("GET", "/me", "").StatusCode)
	require.Equal(t, 1, *fetched)
}
