package mfa_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// What joins a transaction of the host, through whatever handle, is undone by its rollback and done by its commit; within it each call sees the others.
func TestWhatJoinsATransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var passwords *emailpassword.Recipe
		b := newBundle(t, db, withPolicy(admins), func(cfg *mfa.Config) {
			passwords = emailpassword.New(emailpassword.Config{Hashing: cheap})
			cfg.Factors[0] = passwords
		})
		c := b.signedUp(ada)
		user, s := c.UserID(), b.session(c)
		read := func(ctx context.Context) (roles []string, required []factor.ID) {
			t.Helper()
			roles, err := b.UserRoles().GetRolesForUser(ctx, "", user)
			require.NoError(t, err)
			required, err = b.GetRequiredSecondaryFactorsForUser(ctx, user)
			require.NoError(t, err)
			return roles, required
		}
		db.RollsBack(func(ctx context.Context) {
			_, err := b.Tenants().CreateOrUpdateTenant(ctx, "acme", tenant.Update{FirstFactors: tenant.Only(factor.EmailPassword)})
			require.NoError(t, err)
			_, err = b.Tenants().CreateOrUpdateTenant(ctx, "", tenant.Update{RequiredSecondaryFactors: tenant.Only(factor.TOTP)})
			require.NoError(t, err)
			_, err = b.UserRoles().CreateNewRoleOrAddPermissions(ctx, "admin", "all")
			require.NoError(t, err)
			_, err = b.UserRoles().AddRoleToUser(ctx, "", user, "admin")
			require.NoError(t, err)
			_, err = b.UserMetadata().UpdateUserMetadata(ctx, user, map[string]any{"theme": "dark"})
			require.NoError(t, err)
			require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(ctx, user, factor.TOTP))
			require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(ctx, user, "x"))
			require.NoError(t, b.RemoveFromRequiredSecondaryFactorsForUser(ctx, user, "x"))
			_, err = b.totp.CreateDevice(ctx, totp.CreateDeviceInput{UserID: user})
			require.NoError(t, err)
			_, err = passwords.CreateNewRecipeUser(ctx, emailpassword.CreateNewRecipeUserInput{
				Email: "bob@example.com", Password: password, TenantID: "acme",
			})
			require.NoError(t, err)
			require.NoError(t, b.Sessions().MergeIntoAccessTokenPayload(ctx, s.Handle(), map[string]any{"theme": "dark"}))
			require.NoError(t, b.ReevaluateSessionsOfUser(ctx, user), "it sees the role")
			require.NoError(t, b.ResetAttempts(ctx, user))
			roles, required := read(ctx)
			require.Equal(t, []string{"admin"}, roles)
			require.Equal(t, []factor.ID{factor.TOTP}, required)
		})
		roles, required := read(t.Context())
		require.Equal(t, []string{"admin"}, roles)
		require.Equal(t, []factor.ID{factor.TOTP}, required)
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.False(t, c.V())
		require.Equal(t, "dark", c.Payload["theme"])
	})
}

// L-04: calls that count, or that make or rotate a session, refuse a transaction of the host: nothing is compared and nothing is written, whether it is
// committed or rolled back, and nobody waits for anybody.
func TestWhatRefusesATransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var passwords *emailpassword.Recipe
		b := newBundle(t, db, func(cfg *mfa.Config) {
			passwords = emailpassword.New(emailpassword.Config{Hashing: cheap})
			cfg.Factors[0] = passwords
		})
		c, secret := b.enrolled(ada)
		user, s := c.UserID(), b.session(c)
		device, err := b.totp.CreateDevice(t.Context(), totp.CreateDeviceInput{UserID: user, DeviceName: "waiting"})
		require.NoError(t, err)
		request := func(ctx context.Context, method, path, body, token string) *http.Request {
			req := httptest.NewRequestWithContext(ctx, method, "http://localhost:3001"+path, strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+token)
			return req
		}
		route := func(method, path, body, token string) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				w := httptest.NewRecorder()
				b.Middleware(b.host()).ServeHTTP(w, request(ctx, method, path, body, token))
				require.Equal(t, http.StatusInternalServerError, w.Code, "%s %s: %s", method, path, w.Body)
				require.Empty(t, w.Header().Get("front-token"))
				require.Empty(t, w.Header().Values("Set-Cookie"))
				return storage.ErrInsideTx
			}
		}
		calls := map[string]func(ctx context.Context) error{
			"Attempt": func(ctx context.Context) error {
				return b.Attempt(ctx, s, "x", func(context.Context) (bool, error) { t.Error("checked"); return true, nil })
			},
			"VerifyTOTP, right": func(ctx context.Context) error {
				return b.totp.VerifyTOTP(ctx, "", user, frontend.Code(t, secret, b.now()))
			},
			"VerifyTOTP, wrong": func(ctx context.Context) error { return b.totp.VerifyTOTP(ctx, "", user, "abcdef") },
			"VerifyDevice": func(ctx context.Context) error {
				return last(b.totp.VerifyDevice(ctx, totp.VerifyDeviceInput{
					UserID: user, DeviceName: "waiting", TOTP: frontend.Code(t, device.Secret, b.now()),
				}))
			},
			"SignIn": func(ctx context.Context) error {
				return last(passwords.SignIn(ctx, emailpassword.SignInInput{Email: ada, Password: password}))
			},
			"VerifyCredentials": func(ctx context.Context) error {
				return passwords.VerifyCredentials(ctx, "", ada, "wrong password 1")
			},
			"CreateNewSession": func(ctx context.Context) error {
				return last(b.Sessions().CreateNewSession(
					httptest.NewRecorder(), request(ctx, "POST", "/login", "", ""), session.NewSession{RecipeUserID: s.RecipeUserID()}))
			},
			"CreateNewSessionWithoutRequestResponse": func(ctx context.Context) error {
				return last(b.Sessions().CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: s.RecipeUserID()}))
			},
			"RefreshSession": func(ctx context.Context) error {
				return last(b.Sessions().RefreshSession(httptest.NewRecorder(), request(ctx, "POST", "/refresh", "", c.Refresh)))
			},
			"RefreshSessionWithoutRequestResponse": func(ctx context.Context) error {
				return last(b.Sessions().RefreshSessionWithoutRequestResponse(ctx, session.RefreshSessionInput{RefreshToken: c.Refresh}))
			},
			"POST /signup":          route("POST", "/auth/signup", doors["POST /signup"].body, ""),
			"POST /signin":          route("POST", "/auth/signin", doors["POST /signin"].body, ""),
			"POST /totp/verify":     route("POST", "/auth/totp/verify", `{"totp":"abcdef"}`, c.Access),
			"POST /session/refresh": route("POST", "/auth/session/refresh", ``, c.Refresh),
		}
		for _, end := range []string{"rollback", "commit"} {
			for name, call := range calls {
				before := db.Dump()
				b.events()
				tx, err := hostTx(db)
				require.NoError(t, err)
				require.ErrorIs(t, call(db.WithTx(t.Context(), tx)), storage.ErrInsideTx, name)
				if end == "commit" {
					require.NoError(t, tx.Commit())
				} else {
					require.NoError(t, tx.Rollback())
				}
				require.Equal(t, before, db.Dump(), "%s, %s", name, end)
				require.Empty(t, b.events(), "%s, %s", name, end)
			}
		}
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"), "the code was not spent")
	})
}

// A transaction of one instance's database is none of another's.
func TestATransactionBelongsToOneDatabase(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	newBundle(t, db)
	other := newBundle(t, storetest.Open(t, "memory"))
	c := other.signedUp(ada)
	tx, err := hostTx(db)
	require.NoError(t, err)
	defer tx.Rollback()
	require.NoError(t, other.Attempt(db.WithTx(t.Context(), tx), other.session(c), "x", answer(true)))
}
