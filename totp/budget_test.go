package totp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

// L-01, L-07: one user's codes in time, as the front end sees them; the sweep of the cron job changes nothing.
func TestTraceOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		begin := s.now()
		at := func(second int) { s.clock.Store(begin.Add(time.Duration(second) * time.Second).UnixMilli()) }
		ok := `{"status":"OK"}`
		right := func() string { return s.code(secret) }
		wrong := func() string { return s.wrong(secret) }
		second := ""
		for _, step := range []struct {
			second int
			code   func() string
			answer string
			tokens tokens
		}{
			{0, wrong, invalidTOTP(1), none},
			{1, wrong, invalidTOTP(2), none},
			{2, wrong, invalidTOTP(3), none},
			{3, wrong, invalidTOTP(4), none},
			{4, wrong, invalidTOTP(5), none},
			{5, wrong, limitReached(899 * time.Second), none},
			{6, right, limitReached(898 * time.Second), none},
			{903, right, limitReached(time.Second), none},
			{904, wrong, invalidTOTP(1), none},
			{905, func() string { return "123456789" }, invalidTOTP(2), none},
			{906, wrong, invalidTOTP(2), none},
			{907, right, ok, changed},
			{908, func() string { second = frontend.Code(t, secret, s.now().Add(30*time.Second)); return second }, ok, changed},
			{909, func() string { return second }, invalidTOTP(1), none},
			{910, wrong, invalidTOTP(2), none},
		} {
			at(step.second)
			require.NoError(t, s.DeleteExpired(t.Context()))
			code := step.code()
			is(t, v.verifyTOTP(code), 200, step.answer, step.tokens)
		}
		for n, code := range []string{"12345", "12345678", "letters"} {
			is(t, v.verifyTOTP(code), 200, invalidTOTP(3+n), none)
		}
		is(t, v.verifyTOTP("123456789012"), 200, limitReached(900*time.Second), none)
	})
}

// L-06, L-07, T-08: whatever a client does, at whatever door, in whatever session and on whatever tenant, it has one budget, and nothing but time or a
// right code gives it back.
func TestNoDoorRenewsTheBudget(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		_, err := s.Tenants().CreateOrUpdateTenant(t.Context(), "acme", tenant.Update{FirstFactors: tenant.Only(factor.EmailPassword)})
		require.NoError(t, err)
		v, secret := s.enrolled(ada)
		attempt := func(v visitor) (failed float64) {
			t.Helper()
			r := v.verifyTOTP("abcdef")
			require.True(t, r.Is("INVALID_TOTP_ERROR"), r.Body)
			return r.JSON["currentNumberOfFailedAttempts"].(float64)
		}
		require.EqualValues(t, 1, attempt(v))
		require.EqualValues(t, 2, attempt(s.signedIn(ada)), "a new session")
		elsewhere, err := s.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
			RecipeUserID: session.RecipeUserID(v.UserID()), TenantID: "acme",
		})
		require.NoError(t, err)
		acme := s.visitor("header")
		acme.Access = elsewhere.AccessToken()
		require.EqualValues(t, 3, attempt(acme), "a session of another tenant")
		name, open := v.CreateDevice()
		r := v.verifyDevice(name, s.wrong(open))
		is(t, r, 200, invalidTOTP(4), none)
		require.True(t, v.remove(name).Is("OK"))
		name, open = v.CreateDevice()
		is(t, v.raw("POST", "/auth/acme/totp/verify", `{"totp":"abcdef"}`), 200, invalidTOTP(5), none)

		limited := limitReached(15 * time.Minute)
		doors := func() {
			t.Helper()
			is(t, v.verifyTOTP(s.code(secret)), 200, limited, none)
			is(t, v.verifyDevice(name, s.code(open)), 200, limited, none)
			is(t, acme.verifyTOTP(s.code(secret)), 200, limited, none)
			is(t, s.signedIn(ada).verifyTOTP(s.code(secret)), 200, limited, none)
			is(t, s.signedIn(ada).verifyTOTP("1234567890"), 200, limited, none)
		}
		doors()
		require.True(t, v.remove("TOTP Device 1").Is("OK"), "what guesses nothing works")
		name, open = v.CreateDevice()
		for range 2 {
			s.visitor("header").SignIn(ada, "wrong password 1")
		}
		require.Equal(t, 200, v.RefreshSession().Status)
		is(t, v.verifyDevice(name, s.code(open)), 200, limited, none)
		require.NoError(t, s.DeleteExpired(t.Context()))
		is(t, v.verifyDevice(name, s.code(open)), 200, limited, none)
		s.turn(15 * time.Minute)
		is(t, v.verifyDevice(name, s.code(open)), 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)

		// The code is used on all tenants, and the device counts on all.
		s.turn(30 * time.Second)
		is(t, acme.verifyTOTP(s.code(open)), 200, `{"status":"OK"}`, changed)
		is(t, v.verifyTOTP(s.code(open)), 200, invalidTOTP(1), none)
	})
}

// Of somebody else's failures nobody notices anything.
func TestBudgetsOfTwoUsers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, _ := s.enrolled(ada)
		w, secret := s.enrolled(bob)
		for range 6 {
			v.verifyTOTP("abcdef")
		}
		require.True(t, v.verifyTOTP("abcdef").Is("LIMIT_REACHED_ERROR"))
		is(t, w.verifyTOTP("abcdef"), 200, invalidTOTP(1), none)
		is(t, w.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
	})
}

// L-01: at 100 wrong ones in a row every door is shut until support resets it.
func TestTheStopOverHTTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"))
	v, secret := s.enrolled(ada)
	for range 20 {
		for n := 1; n <= 5; n++ {
			is(t, v.verifyTOTP("abcdef"), 200, invalidTOTP(n), none)
		}
		s.turn(15 * time.Minute)
		v.RefreshSession()
	}
	s.events()
	s.turn(1000 * time.Hour)
	v.RefreshSession()
	is(t, v.verifyTOTP(s.code(secret)), 200, limitReached(15*time.Minute), none)
	require.Contains(t, s.events(), "factor.checked totp stopped")
	require.NoError(t, s.ResetAttempts(t.Context(), v.UserID()))
	is(t, v.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
}

// What the stock front end sends and reads, in both of its modes: empty objects and empty bodies, its rid, no tenant in the path; new tokens with each
// change of the claim, by cookie or header, and none without one.
func TestStockFrontEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cookie", "header"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, storetest.Open(t, "memory"))
			s.requires(factor.TOTP)
			v := s.visitor(mode)
			v.SignUp(ada, password)
			sent := func(r frontend.Response) (access, refresh bool) {
				t.Helper()
				require.NotEmpty(t, r.Header.Get("front-token"))
				for _, cookie := range (&http.Response{Header: r.Header}).Cookies() {
					access = access || cookie.Name == "sAccessToken" && cookie.Value != ""
					refresh = refresh || cookie.Name == "sRefreshToken"
				}
				if mode == "header" {
					require.False(t, access || refresh, "no cookies")
					return r.Header.Get("st-access-token") != "", r.Header.Get("st-refresh-token") != ""
				}
				require.Empty(t, r.Header.Get("st-access-token"))
				return access, refresh
			}
			created := v.create(object{})
			require.True(t, created.Is("OK"))
			require.Empty(t, created.Header.Get("front-token"))
			secret := created.JSON["secret"].(string)
			require.True(t, v.remove(created.JSON["deviceName"].(string)).Is("OK"), "the back button, at v = false")
			created = v.create(object{})
			require.Equal(t, "TOTP Device 1", created.JSON["deviceName"])
			require.NotEqual(t, secret, created.JSON["secret"])
			secret = created.JSON["secret"].(string)

			r := v.verifyDevice("TOTP Device 1", s.code(secret))
			access, refresh := sent(r)
			require.True(t, access)
			require.False(t, refresh, "the refresh token stays")
			require.True(t, v.V())
			issued := v.Payload["iat"].(float64)
			ends := v.Payload["exp"]
			require.EqualValues(t, s.now().Unix(), issued)

			// Step-up: the same page; the time of the factor is renewed, and the session ends when it would have.
			s.turn(10 * time.Minute)
			r = v.verifyTOTP(s.code(secret))
			access, refresh = sent(r)
			require.True(t, access)
			require.False(t, refresh)
			require.Equal(t, s.now(), v.completedAt("totp"))
			require.EqualValues(t, s.now().Unix(), v.Payload["iat"])
			require.Equal(t, ends, v.Payload["exp"])

			// The next sign-in.
			v.SignOut()
			require.True(t, v.SignIn(ada, password).Is("OK"))
			require.False(t, v.V())
			is(t, v.verifyTOTP("000000x"), 200, invalidTOTP(1), none)
			s.turn(30 * time.Second)
			require.True(t, v.verifyTOTP(s.code(secret)).Is("OK"))
			require.True(t, v.V())
			require.Equal(t, 200, v.RefreshSession().Status)
			require.True(t, v.V())
		})
	}
}

// C-04: a step-up wants a fresh code. Neither a used one, nor a device that is verified already, nor a refresh renews the time of the factor.
func TestStepUpWantsAFreshCode(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		fresh := mfa.Claim.HasCompletedRequirementListWithin(5*time.Minute, factor.Requirements{factor.TOTP})
		steppedUp := func() bool { return v.session().AssertClaims(t.Context(), fresh) == nil }
		require.True(t, v.verifyTOTP(s.code(secret)).Is("OK"))
		require.True(t, steppedUp())
		used, done := s.code(secret), s.now()
		s.turn(20 * time.Second)
		is(t, v.verifyTOTP(used), 200, invalidTOTP(1), none)
		s.turn(5 * time.Minute)
		require.False(t, steppedUp())
		is(t, v.verifyDevice("TOTP Device 1", "000000"), 200, `{"status":"OK","wasAlreadyVerified":true}`, none)
		is(t, v.verifyTOTP(s.wrong(secret)), 200, invalidTOTP(2), none)
		require.Equal(t, 200, v.RefreshSession().Status)
		v.Info()
		require.Equal(t, done, v.completedAt("totp"))
		require.False(t, steppedUp())
		is(t, v.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
		require.True(t, steppedUp())
	})
}
