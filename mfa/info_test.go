package mfa_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// mailbox is a factor of an application's own: set up for users with a mailbox, completed by the host.
type mailbox struct {
	setUp func(user *accountlinking.User) bool
}

func (f mailbox) Attach(*mfa.MFA) (mfa.Registration, error) {
	return mfa.Registration{
		RecipeID:         "mailbox",
		SecondaryFactors: []factor.ID{"mailbox"},
		FactorsSetUpForUser: func(_ context.Context, user *accountlinking.User) ([]factor.ID, error) {
			if f.setUp(user) {
				return []factor.ID{"mailbox"}, nil
			}
			return nil, nil
		},
		EmailsForFactors: func(_ context.Context, user *accountlinking.User, _ accountlinking.RecipeUserID) (map[factor.ID][]string, error) {
			return map[factor.ID][]string{"mailbox": user.Emails}, nil
		},
		PhoneNumbersForFactors: func(context.Context, *accountlinking.User, accountlinking.RecipeUserID) (map[factor.ID][]string, error) {
			return map[factor.ID][]string{"mailbox": {"+36701234123"}}, nil
		},
		Routes: []mfa.Route{{Method: "POST", Path: "/mailbox/open", Handle: func(ctx context.Context, r *mfa.Request) (any, error) {
			s, err := r.Session(ctx)
			if err != nil {
				return nil, err
			}
			m := mfa.FromContext(ctx)
			if err := m.AssertAllowedToSetupFactor(ctx, s, "mailbox"); err != nil && !f.setUp(nil) {
				return nil, err
			}
			var body struct {
				Word string `json:"word"`
			}
			if err := r.Decode(&body); err != nil {
				return nil, err
			}
			err = m.Attempt(ctx, s, "mailbox", func(context.Context) (bool, error) { return body.Word == "sesame", nil })
			if err != nil {
				return nil, err
			}
			return map[string]string{"tenant": r.TenantID}, m.MarkFactorAsCompleteInSession(ctx, s, "mailbox")
		}}},
	}, nil
}

func withMailbox(setUp bool) func(*mfa.Config) {
	return func(cfg *mfa.Config) {
		cfg.Factors = slices.Insert(slices.Clone(cfg.Factors), 1, mfa.Factor(mailbox{func(*accountlinking.User) bool { return setUp }}))
	}
}

func TestMFAInfo(t *testing.T) {
	t.Parallel()
	type ids = []string
	list := func(items ...factor.Requirement) mfa.GetMFARequirementsForAuthFunc {
		return func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return items, nil
		}
	}
	for name, test := range map[string]struct {
		policy         mfa.GetMFARequirementsForAuthFunc
		mailbox        bool // set up
		device         bool // verified while nothing was required
		complete       ids  // by the host
		next, setUp, a ids  // a: allowed to set up
	}{
		"nothing required": {
			policy: list(factor.OneOf{}), next: ids{}, setUp: ids{"emailpassword"}, a: ids{"emailpassword", "mailbox", "totp"},
		},
		"one, nothing set up": {
			policy: list(factor.OneOf{"mailbox"}), next: ids{"mailbox"}, setUp: ids{"emailpassword"}, a: ids{"mailbox"},
		},
		"one of two, nothing set up": {
			policy: list(factor.OneOf{"mailbox", factor.TOTP}), next: ids{"mailbox", "totp"}, setUp: ids{"emailpassword"}, a: ids{"mailbox", "totp"},
		},
		"one of two, one set up": {
			policy: list(factor.OneOf{"mailbox", factor.TOTP}), mailbox: true, next: ids{"mailbox"}, setUp: ids{"emailpassword", "mailbox"}, a: ids{},
		},
		"one of two, completed": {
			policy: list(factor.OneOf{"mailbox", factor.TOTP}), mailbox: true, complete: ids{"mailbox"},
			next: ids{}, setUp: ids{"emailpassword", "mailbox"}, a: ids{"emailpassword", "mailbox", "totp"},
		},
		"a verified device, open": {
			policy: list(factor.TOTP), device: true, next: ids{"totp"}, setUp: ids{"emailpassword", "totp"}, a: ids{},
		},
		"two in order, the first completed": {
			policy: list(factor.TOTP, factor.ID("mailbox")), mailbox: true, device: true, complete: ids{"totp"},
			next: ids{"mailbox"}, setUp: ids{"emailpassword", "mailbox", "totp"}, a: ids{},
		},
		"all of two, one completed": {
			policy: list(factor.AllOfInAnyOrder{"mailbox", factor.TOTP}), mailbox: true, complete: ids{"mailbox"},
			next: ids{"totp"}, setUp: ids{"emailpassword", "mailbox"}, a: ids{"totp"},
		},
		"the first factor is required": {
			policy: list(factor.EmailPassword), next: ids{}, setUp: ids{"emailpassword"}, a: ids{"emailpassword", "mailbox", "totp"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			strict := false
			b := newBundle(t, storetest.Open(t, "memory"), withMailbox(test.mailbox), withPolicy(
				func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
					if !strict {
						return nil, nil
					}
					return test.policy(ctx, in)
				}))
			c := b.signedUp(ada)
			if test.device {
				c.EnrolTOTP(b.now())
				c.SignOut()
			}
			strict = true
			require.True(t, c.SignIn(ada, password).Is("OK"))
			for _, id := range test.complete {
				require.NoError(t, b.MarkFactorAsCompleteInSession(t.Context(), b.session(c), factor.ID(id)))
			}
			if len(test.complete) > 0 {
				require.Equal(t, http.StatusOK, c.RefreshSession().Status)
			}
			next, setUp, allowed := c.Info()
			require.Equal(t, test.next, next, "next")
			require.Equal(t, test.setUp, setUp, "already set up")
			require.Equal(t, test.a, allowed, "allowed to set up")
			require.Equal(t, len(test.next) == 0, c.V())
		})
	}
}

// The whole answer, on a tenant's path too, with every list and object there.
func TestMFAInfoOnTheWire(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withMailbox(false))
	c := b.signedUp(ada)
	for _, path := range []string{"/auth/mfa/info", "/auth/public/mfa/info", "/auth/nosuchtenant/mfa/info"} {
		for _, body := range []any{nil, map[string]any{}, []any{}} { // it is not read
			r := c.Call("PUT", path, body)
			require.Equal(t, http.StatusOK, r.Status, path)
			require.JSONEq(t, `{"status":"OK","factors":{"next":[],"alreadySetup":["emailpassword"],"allowedToSetup":["emailpassword","mailbox","totp"]},
				"emails":{"emailpassword":["ada@example.com"],"mailbox":["ada@example.com"]},"phoneNumbers":{"mailbox":["+36701234123"]}}`, r.Body)
			require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
			require.Empty(t, r.Header.Get("front-token"), "nothing changed, so no new token")
		}
	}
	plain := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) { cfg.FirstFactors = nil })
	r := plain.signedUp(ada).Call("PUT", "/auth/mfa/info", map[string]any{})
	require.Contains(t, r.Body, `"phoneNumbers":{}`)

	anonymous := b.client()
	require.Equal(t, http.StatusUnauthorized, anonymous.Call("PUT", "/auth/mfa/info", map[string]any{}).Status)
	b.turn(2 * 3600e9)
	c.NoRefresh = true
	expired := c.Call("PUT", "/auth/mfa/info", map[string]any{})
	require.Equal(t, http.StatusUnauthorized, expired.Status)
	require.JSONEq(t, `{"message":"try refresh token"}`, expired.Body)
}

// Requirements that nobody could meet are an error that names them, in the answer and in the log.
func TestImpossibleRequirements(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		return factor.Requirements{factor.OneOf{factor.OTPPhone, "nobody-offers-it"}}, nil
	}))
	c := b.signedUp(ada)
	r := c.Call("PUT", "/auth/mfa/info", map[string]any{})
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.JSONEq(t, `{"message":"The user is required to complete secondary factors they are not allowed to (otp-phone, nobody-offers-it), likely because of configuration issues."}`, r.Body)
	require.Contains(t, b.logged(), "otp-phone")
	require.False(t, c.V())
}

// A user, login method or tenant that is gone.
func TestMFAInfoOfWhatIsGone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c := b.signedUp(ada)
		_, err := db.Backend.Query(t.Context(), "DELETE FROM {p}user_tenants")
		require.NoError(t, err)
		_, err = db.Backend.Query(t.Context(), "DELETE FROM {p}emailpassword_credentials")
		require.NoError(t, err)
		_, err = db.Backend.Query(t.Context(), "DELETE FROM {p}recipe_users")
		require.NoError(t, err)
		c.NoRefresh = true
		r := c.Call("PUT", "/auth/mfa/info", map[string]any{})
		require.Equal(t, http.StatusUnauthorized, r.Status)
		require.JSONEq(t, `{"message":"unauthorised"}`, r.Body)
		require.Nil(t, c.Payload, "the client is told that the session is over")
	})
}

// Only a refusal means that a factor may not be set up.
func TestAnErrorOfAssertAllowedIsAnError(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) {
		cfg.Override.Functions = func(_ mfa.Functions, functions *mfa.Functions) {
			functions.AssertAllowedToSetupFactor = func(context.Context, mfa.AssertAllowedToSetupFactorInput) error { return errors.New("away") }
		}
	})
	r := b.signedUp(ada).Call("PUT", "/auth/mfa/info", map[string]any{})
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.JSONEq(t, `{"message":"internal error"}`, r.Body)
	require.True(t, strings.Contains(b.logged(), "away"))
}
