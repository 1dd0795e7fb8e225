package mfa_test

import (
	"context"
	"net/http"
	"strings"
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

// noWayIn asserts that no session with v true is stored for a user who owes a factor.
func noWayIn(t *testing.T, db *storetest.DB) {
	t.Helper()
	require.NotContains(t, db.Dump("sessions"), `"v":true`)
}

// C-02 and I-03: whichever statement of a flow fails, the answer is a clear error, nothing opens, and the flow works afterwards.
func TestEveryStatementMayFail(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "memory", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, database)
			b := newBundle(t, db, withPolicy(everybody))
			c := b.signedUp(ada)
			secret := ""
			flows := []struct {
				name string
				do   func(c *frontend.Client) frontend.Response
			}{
				{"sign-up", func(*frontend.Client) frontend.Response { return trySignUp(b.client(), "eve@example.com") }},
				{"sign-in", func(*frontend.Client) frontend.Response { return b.client().SignIn(ada, password) }},
				{"info", func(c *frontend.Client) frontend.Response { return c.Call("PUT", "/auth/mfa/info", map[string]any{}) }},
				{"create", func(c *frontend.Client) frontend.Response {
					return c.Call("POST", "/auth/totp/device", map[string]any{})
				}},
				{"list", func(c *frontend.Client) frontend.Response { return c.Call("GET", "/auth/totp/device/list", nil) }},
				{"refresh", func(c *frontend.Client) frontend.Response { return c.Clone().RefreshSession() }},
			}
			for _, flow := range flows {
				failures := 0
				for n := 1; ; n++ {
					before := db.Dump("sessions", "recipe_users", "user_tenants", "emailpassword_credentials", "totp_devices")
					db.Probe.FailAt(n)
					r := flow.do(c)
					if !db.Probe.Failed() { // there is no n-th statement
						db.Probe.FailAt(0)
						require.Equal(t, http.StatusOK, r.Status, "%s: %s", flow.name, r.Body)
						break
					}
					failures++
					require.Equal(t, http.StatusInternalServerError, r.Status, "%s, statement %d: %s", flow.name, n, r.Body)
					require.JSONEq(t, `{"message":"internal error"}`, r.Body)
					require.Empty(t, r.Header.Get("front-token"), flow.name)
					require.Empty(t, r.Header.Get("st-access-token"), flow.name)
					noWayIn(t, db)
					if flow.name != "sign-up" { // a user that was made before its session failed stays
						require.Equal(t, before, db.Dump("sessions", "recipe_users", "user_tenants", "emailpassword_credentials", "totp_devices"), "%s, statement %d", flow.name, n)
					} else if db.Rows("recipe_users") > 1 {
						require.Equal(t, db.Rows("recipe_users"), db.Rows("emailpassword_credentials"))
						require.True(t, b.client().SignIn("eve@example.com", password).Is("OK"))
						break
					}
				}
				require.NotZero(t, failures, flow.name)
			}
			noWayIn(t, db)
			require.Contains(t, b.logged(), "injected failure", "the cause is in the log")

			// The second factor itself, while every statement of it fails once.
			name, secret := c.CreateDevice()
			for n := 1; ; n++ {
				db.Probe.FailAt(n)
				r := c.Call("POST", "/auth/totp/device/verify", map[string]string{"deviceName": name, "totp": frontend.Code(t, secret, b.now())})
				failed := db.Probe.Failed()
				db.Probe.FailAt(0)
				if !failed {
					require.True(t, r.Is("OK"), r.Body)
					break
				}
				require.Equal(t, http.StatusInternalServerError, r.Status, "statement %d: %s", n, r.Body)
				noWayIn(t, db)
				if strings.Contains(db.Dump("totp_devices"), "verified=true") || strings.Contains(db.Dump("totp_devices"), "verified=1") {
					// The device is verified, the session is not: the next code completes it.
					b.turn(30 * time.Second)
					require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
					break
				}
			}
			require.True(t, c.V())
		})
	}
}

func trySignUp(c *frontend.Client, email string) frontend.Response {
	return c.Call("POST", "/auth/signup", map[string]any{
		"formFields": []map[string]string{{"id": "email", "value": email}, {"id": "password", "value": password}},
	})
}

// C-02, I-03: an error or a panic in the policy, in any of its inputs, or in any override is a 500 without a session.
func TestApplicationCodeMayFail(t *testing.T) {
	t.Parallel()
	policyOf := func(f func(context.Context, mfa.GetMFARequirementsForAuthInput)) func(*mfa.Config) {
		return withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			f(ctx, in)
			return nil, nil
		})
	}
	type change = func(*mfa.Config)
	for name, broken := range map[string]change{
		"policy: panic": policyOf(func(context.Context, mfa.GetMFARequirementsForAuthInput) { panic("policy bug") }),
		"policy: nil map": policyOf(func(_ context.Context, in mfa.GetMFARequirementsForAuthInput) {
			var m map[string]int
			//lint:ignore SA5000 this is the mistake
			m["x"] = len(in.TenantID)
		}),
		"policy: error": withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return nil, context.DeadlineExceeded
		}),
		"policy: nil item": withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return factor.Requirements{nil}, nil
		}),
		"requirements: panic": func(cfg *mfa.Config) {
			cfg.Override.Functions = func(_ mfa.Functions, functions *mfa.Functions) {
				functions.GetRequiredSecondaryFactorsForUser = func(context.Context, mfa.GetRequiredSecondaryFactorsForUserInput) ([]factor.ID, error) { panic("bug") }
			}
		},
		"session creation: panic": func(cfg *mfa.Config) {
			cfg.Sessions.Override.Functions = func(_ session.Functions, functions *session.Functions) {
				functions.CreateNewSession = func(context.Context, session.CreateNewSessionInput) (*session.Session, error) { panic("bug") }
			}
		},
		"sign-in: panic": func(cfg *mfa.Config) {
			cfg.Factors[0] = emailpassword.New(emailpassword.Config{Hashing: cheap, Override: emailpassword.Override{
				Functions: func(_ emailpassword.Functions, functions *emailpassword.Functions) {
					functions.SignIn = func(context.Context, emailpassword.SignInInput) (emailpassword.SignInResult, error) { panic("bug") }
					functions.SignUp = func(context.Context, emailpassword.SignUpInput) (emailpassword.SignInResult, error) { panic("bug") }
				},
			}})
		},
		"sign-in: nobody": func(cfg *mfa.Config) {
			cfg.Factors[0] = emailpassword.New(emailpassword.Config{Hashing: cheap, Override: emailpassword.Override{
				Functions: func(_ emailpassword.Functions, functions *emailpassword.Functions) {
					functions.SignIn = func(context.Context, emailpassword.SignInInput) (emailpassword.SignInResult, error) {
						return emailpassword.SignInResult{}, nil
					}
					functions.SignUp = func(context.Context, emailpassword.SignUpInput) (emailpassword.SignInResult, error) {
						return emailpassword.SignInResult{}, nil
					}
				},
			}})
		},
		"creation of the user: panic": func(cfg *mfa.Config) {
			cfg.Factors[0] = emailpassword.New(emailpassword.Config{Hashing: cheap, Override: emailpassword.Override{
				Functions: func(original emailpassword.Functions, functions *emailpassword.Functions) {
					functions.CreateNewRecipeUser = func(ctx context.Context, in emailpassword.CreateNewRecipeUserInput) (emailpassword.SignInResult, error) {
						original.CreateNewRecipeUser(ctx, in)
						panic("bug")
					}
				},
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			b := newBundle(t, db, broken)
			r := trySignUp(b.client(), ada)
			require.Equal(t, http.StatusInternalServerError, r.Status, r.Body)
			require.JSONEq(t, `{"message":"internal error"}`, r.Body)
			require.Empty(t, r.Header.Get("front-token"))
			require.Zero(t, db.Rows("sessions"))
			require.Equal(t, db.Rows("recipe_users"), db.Rows("emailpassword_credentials"), "no half of a user")
			require.NotContains(t, b.logged(), password, "G-02")
			require.True(t, trySignUp(b.client(), "eve@example.com").Status == http.StatusInternalServerError, "the instance goes on answering")
		})
	}

	t.Run("in TOTP", func(t *testing.T) {
		t.Parallel()
		b := newBundle(t, storetest.Open(t, "memory"), withPolicy(everybody), func(cfg *mfa.Config) {
			cfg.Factors[1] = totp.New(totp.Config{Override: totp.Override{Functions: func(_ totp.Functions, functions *totp.Functions) {
				functions.VerifyTOTP = func(context.Context, totp.VerifyTOTPInput) error { panic("bug") }
			}}})
		})
		c := b.signedUp(ada)
		require.Equal(t, http.StatusInternalServerError, c.Call("POST", "/auth/totp/verify", map[string]string{"totp": "123456"}).Status)
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.False(t, c.V())
	})
}

// An error of the policy at a refresh rotates nothing; afterwards the same token works.
func TestAPolicyThatFailsAtARefresh(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		failing := false
		b := newBundle(t, db, withPolicy(func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			if failing {
				return nil, context.DeadlineExceeded
			}
			return nil, nil
		}))
		c := b.signedUp(ada)
		before := db.Dump("sessions")
		failing = true
		r := c.RefreshSession()
		require.Equal(t, http.StatusInternalServerError, r.Status)
		require.Equal(t, before, db.Dump("sessions"))
		failing = false
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
	})
}
