package mfa_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/session"
)

// story is a day in the life of a user, with a success and a failure of everything. It returns the statuses of all answers.
func story(t *testing.T, b *bundle) []string {
	t.Helper()
	var told []string
	c := b.signedUp(ada)
	note := func(r interface{ Is(string) bool }, wanted string) {
		t.Helper()
		require.True(t, r.Is(wanted), "%s: %+v", wanted, r)
		told = append(told, wanted)
	}
	secret := c.EnrolTOTP(b.now())
	b.makeAdmin(c.UserID())
	note(b.client().SignIn(ada, "wrong password 1"), "WRONG_CREDENTIALS_ERROR")
	note(c.SignIn(ada, password), "OK")
	require.False(t, c.V())
	require.Equal(t, http.StatusForbidden, me(c))
	for range 5 {
		note(c.VerifyTOTP(secret, b.now()), "INVALID_TOTP_ERROR") // the code that verified the device
	}
	b.turn(30e9)
	note(c.VerifyTOTP(secret, b.now()), "LIMIT_REACHED_ERROR")
	require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
	require.False(t, c.V())
	note(c.VerifyTOTP(secret, b.now()), "OK")
	require.True(t, c.V())
	require.Equal(t, http.StatusOK, me(c))
	require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "totp"))
	note(c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": "TOTP Device 1"}), "OK")
	require.False(t, c.V())
	require.Equal(t, http.StatusForbidden, me(c))
	c.SignOut()
	return told
}

// G-03: a right password and then a spent budget is told once, as a password that somebody else probably knows; a sink that fails at every event
// neither keeps anybody out nor lets anybody in.
func TestAPasswordThatIsProbablyKnown(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		answers := story(t, b)
		known := 0
		for _, e := range b.events() {
			if e == "password.known emailpassword false limited" {
				known++
			}
		}
		require.Equal(t, 1, known)

		panics := 0
		broken := newBundle(t, storetest.Open(t, "memory"), withPolicy(admins), func(cfg *mfa.Config) {
			cfg.OnEvent = func(context.Context, mfa.Event) {
				panics++
				panic("the sink is broken")
			}
		})
		require.Equal(t, answers, story(t, broken))
		require.Equal(t, panics, strings.Count(broken.logged(), "the sink is broken"))
		require.NotZero(t, panics)
	})
}

// A session that no password began says nothing about the password.
func TestASpentBudgetWithoutAPassword(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	c := b.signedUp(ada)
	s, err := b.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
		RecipeUserID:       session.RecipeUserID(c.UserID()),
		AccessTokenPayload: map[string]any{"st-mfa": map[string]any{"c": map[string]any{"my-sso": b.now().Unix()}, "v": true}},
	})
	require.NoError(t, err)
	b.events()
	for range 5 {
		require.Error(t, b.Attempt(t.Context(), s, "x", answer(false)))
	}
	require.Equal(t, []string{
		"factor.checked x false wrong", "factor.checked x false wrong", "factor.checked x false wrong", "factor.checked x false wrong",
		"factor.checked x false wrong",
	}, b.events())
}

// F-07: with what an event says, and the ctx that the sink gets, the host finds the address that is to be told.
func TestASinkReadsTheUser(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var mu sync.Mutex
		mails := map[mfa.EventName]string{}
		var problems []error
		b := newBundle(t, db, withPolicy(admins), func(cfg *mfa.Config) {
			cfg.OnEvent = func(ctx context.Context, e mfa.Event) {
				if e.UserID == "" {
					return
				}
				user, err := mfa.FromContext(ctx).AccountLinking().GetUser(ctx, e.UserID)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					problems = append(problems, err)
					return
				}
				mails[e.Name] = user.Emails[0]
			}
		})
		story(t, b)
		c := b.client()
		require.True(t, c.SignIn(ada, password).Is("OK"))
		require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(t.Context(), c.UserID(), "totp"))
		delete(mails, mfa.EventSessionEnded)
		_, err := b.Sessions().RevokeMultipleSessions(t.Context(), []string{b.session(c).Handle()})
		require.NoError(t, err)
		require.Empty(t, problems)
		for _, name := range []mfa.EventName{
			mfa.EventFactorChecked, mfa.EventFactorCompleted, mfa.EventFactorSetUp, mfa.EventFactorRemoved, mfa.EventRequirementAdded,
			mfa.EventRequirementRemoved, mfa.EventAttemptsReset, mfa.EventPasswordKnown, mfa.EventSessionCreated, mfa.EventSessionEnded,
		} {
			require.Equal(t, ada, mails[name], name)
		}
	})
}

func TestNoSink(t *testing.T) {
	t.Parallel()
	story(t, newBundle(t, storetest.Open(t, "memory"), withPolicy(admins), func(cfg *mfa.Config) { cfg.OnEvent = nil }))
}
