package mfa_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
	"github.com/stepup-auth/stepup/usermetadata"
	"github.com/stepup-auth/stepup/userroles"
)

// watched is an instance whose every override, policy, hook, claim and route notes which instance it finds in its ctx.
type watched struct {
	*bundle
	passwords     *emailpassword.Recipe
	authenticator *totp.Recipe

	mu     sync.Mutex
	called map[string]bool
	wrong  []string // found another instance
}

// note is called with each ctx that application code gets.
func (w *watched) note(ctx context.Context, what string) {
	found := mfa.FromContext(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.called[what] = true
	if found == nil || w.bundle != nil && found != w.MFA {
		w.wrong = append(w.wrong, what)
	}
}

// watch replaces every field of a table by one that notes its call.
func watch[T any](w *watched, recipe string) func(original T, table *T) {
	return func(original T, table *T) {
		from, to := reflect.ValueOf(original), reflect.ValueOf(table).Elem()
		for i := range to.NumField() {
			what, f := recipe+"."+to.Type().Field(i).Name, from.Field(i)
			w.called[what] = false
			to.Field(i).Set(reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
				w.note(args[0].Interface().(context.Context), what)
				return f.Call(args)
			}))
		}
	}
}

func newWatched(t *testing.T, db *storetest.DB, clock *atomic.Int64, during func(ctx context.Context)) *watched {
	t.Helper()
	w := &watched{called: map[string]bool{}}
	flag := session.NewBooleanClaim("flag", func(ctx context.Context, _ session.FetchValueInput) (bool, bool, error) {
		w.note(ctx, "a claim")
		return true, true, nil
	})
	b := newBundleAt(t, db, clock, withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		during(ctx)
		w.note(ctx, "the policy")
		return admins(ctx, in)
	}), func(cfg *mfa.Config) {
		w.passwords = emailpassword.New(emailpassword.Config{
			Hashing: cheap,
			CheckPassword: func(ctx context.Context, _, _, _ string) (string, error) {
				w.note(ctx, "a check of a password")
				return "", nil
			},
			Override: emailpassword.Override{
				Functions: watch[emailpassword.Functions](w, "emailpassword"), APIs: watch[emailpassword.APIs](w, "emailpassword"),
			},
		})
		w.authenticator = totp.New(totp.Config{Override: totp.Override{
			Functions: watch[totp.Functions](w, "totp"), APIs: watch[totp.APIs](w, "totp"),
		}})
		cfg.Factors = []mfa.Factor{w.passwords, w.authenticator, registered{Registration: mfa.Registration{
			RecipeID: "own",
			FactorsSetUpForUser: func(ctx context.Context, _ *accountlinking.User) ([]factor.ID, error) {
				w.note(ctx, "a factor")
				return nil, nil
			},
			EmailsForFactors: func(ctx context.Context, _ *accountlinking.User, _ accountlinking.RecipeUserID) (map[factor.ID][]string, error) {
				w.note(ctx, "contacts")
				return nil, nil
			},
			Routes: []mfa.Route{{Method: "GET", Path: "/own", Handle: func(ctx context.Context, _ *mfa.Request) (any, error) {
				w.note(ctx, "a route")
				return nil, nil
			}}},
		}}}
		cfg.Sessions = session.Config{
			Claims: []session.Claim{flag}, GlobalClaimValidators: []session.ClaimValidator{flag.IsTrue()},
			Override: session.Override{Functions: watch[session.Functions](w, "session"), APIs: watch[session.APIs](w, "session")},
		}
		cfg.Override = mfa.Override{Functions: watch[mfa.Functions](w, "mfa"), APIs: watch[mfa.APIs](w, "mfa")}
		cfg.AccountLinking.Override.Functions = watch[accountlinking.Functions](w, "accountlinking")
		cfg.Tenants.Override.Functions = watch[tenant.Functions](w, "tenant")
		cfg.UserRoles.Override.Functions = watch[userroles.Functions](w, "userroles")
		cfg.UserMetadata.Override.Functions = watch[usermetadata.Functions](w, "usermetadata")
		cfg.OnEvent = func(ctx context.Context, _ mfa.Event) { w.note(ctx, "the sink") }
	})
	w.bundle = b
	return w
}

// tour calls everything there is. The handles are called with a ctx that belongs to no instance, or to another.
func (w *watched) tour(t *testing.T, ctx context.Context) {
	t.Helper()
	c, secret := w.enrolled(ada)
	w.makeAdmin(c.UserID())
	c.Info()
	require.True(t, c.SignIn(ada, password).Is("OK"))
	require.Equal(t, 403, me(c))
	require.True(t, c.VerifyTOTP(secret, w.now()).Is("OK"))
	require.Equal(t, 200, me(c))
	require.Equal(t, 200, c.RefreshSession().Status)
	for _, path := range []string{
		"/auth/own", "/auth/totp/device/list", "/auth/emailpassword/email/exists?email=x@example.com", "/auth/jwt/jwks.json", "/auth/.well-known/openid-configuration",
	} {
		require.Equal(t, 200, c.Call("GET", path, nil).Status, path)
	}
	user, s := c.UserID(), w.session(c)
	_, err := w.passwords.SignIn(ctx, emailpassword.SignInInput{Email: ada, Password: password})
	require.NoError(t, err)
	device, err := w.MFA.GetFactorsSetupForUser(ctx, user)
	require.NoError(t, err)
	require.Equal(t, []factor.ID{factor.EmailPassword, factor.TOTP}, device)
	_, err = w.authenticator.ImportDevice(ctx, totp.ImportDeviceInput{CreateDeviceInput: totp.CreateDeviceInput{UserID: user, DeviceName: "old"}, Secret: secret})
	require.NoError(t, err)
	for what, err := range map[string]error{
		"update device": w.authenticator.UpdateDevice(ctx, user, "old", "new"),
		"add":           w.AddToRequiredSecondaryFactorsForUser(ctx, user, "totp"),
		"remove":        w.RemoveFromRequiredSecondaryFactorsForUser(ctx, user, "totp"),
		"reevaluate":    w.ReevaluateSessionsOfUser(ctx, user),
		"attempt":       w.Attempt(ctx, s, "x", func(ctx context.Context) (bool, error) { w.note(ctx, "a check of an Attempt"); return true, nil }),
		"mark":          w.MarkFactorAsCompleteInSession(ctx, s, "x"),
		"remove claim":  w.Sessions().RemoveClaim(ctx, s.Handle(), mfa.Claim),
		"fetch claim":   w.Sessions().FetchAndSetClaim(ctx, s.Handle(), mfa.Claim),
		"set claim":     w.Sessions().SetClaimValue(ctx, s.Handle(), mfa.Claim, mfa.ClaimValue{V: true}),
		"validate":      w.Sessions().ValidateClaimsForSessionHandle(ctx, s.Handle(), session.VerifyOptions{}),
		"data":          s.UpdateDataInDatabase(ctx, nil),
		"delete":        w.DeleteExpired(ctx),
		"metadata 1":    w.UserMetadata().ReplaceUserMetadata(ctx, user, nil),
		"metadata 2":    w.UserMetadata().ClearUserMetadata(ctx, user),
		"roles 1":       w.UserRoles().RemovePermissionsFromRole(ctx, "admin", "x"),
		"roles 2":       w.UserRoles().RemoveAllPermissionsFromRole(ctx, "admin"),
		"roles 3":       w.UserRoles().MoveRoles(ctx, user, user),
	} {
		require.NoError(t, err, what)
	}
	handles := w.Sessions()
	for what, err := range map[string]error{
		"required":    last(w.GetRequiredSecondaryFactorsForUser(ctx, user)),
		"jwt":         last(handles.CreateJWT(ctx, session.CreateJWTInput{})),
		"handles":     last(handles.GetAllSessionHandlesForUser(ctx, session.GetAllSessionHandlesForUserInput{UserID: user})),
		"information": last(handles.GetSessionInformation(ctx, s.Handle())),
		"regenerate":  last(handles.RegenerateAccessToken(ctx, session.RegenerateAccessTokenInput{AccessToken: s.AccessToken()})),
		"users":       last(w.AccountLinking().GetUsers(ctx, accountlinking.GetUsersInput{})),
		"user roles":  last(w.UserRoles().GetUsersThatHaveRole(ctx, userroles.GetUsersThatHaveRoleInput{Role: "admin"})),
		"permissions": last(w.UserRoles().GetPermissionsForRole(ctx, "admin")),
		"that have":   last(w.UserRoles().GetRolesThatHavePermission(ctx, "x")),
		"all roles":   last(w.UserRoles().GetAllRoles(ctx)),
		"tenants":     last(w.Tenants().ListAllTenants(ctx)),
		"metadata 3":  last(w.UserMetadata().GetUserMetadata(ctx, user)),
		"metadata 4":  last(w.UserMetadata().UpdateUserMetadata(ctx, user, map[string]any{"a": 1})),
		"metadata 5":  last(w.UserMetadata().ChangeUserMetadata(ctx, user, func(map[string]any) error { return nil })),
		"remove role": last(w.UserRoles().RemoveUserRole(ctx, "", user, "admin")),
		"delete role": last(w.UserRoles().DeleteRole(ctx, "admin")),
		"tenant":      last(w.Tenants().CreateOrUpdateTenant(ctx, "acme", tenant.Update{})),
	} {
		require.NoError(t, err, what)
	}
	_, _, err = handles.GetClaimValue(ctx, s.Handle(), mfa.Claim)
	require.NoError(t, err)
	require.Equal(t, 200, c.RefreshSession().Status)
	require.True(t, c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": "new"}).Is("OK"))
	c.SignOut()
	_, err = handles.RevokeMultipleSessions(ctx, []string{"x"})
	require.NoError(t, err)
	_, err = handles.RevokeAllSessionsForUser(ctx, session.RevokeAllSessionsForUserInput{UserID: user})
	require.NoError(t, err)
}

func last[T any](_ T, err error) error { return err }

// Two instances in one process, with the same configuration and clock, in two databases or in one with two prefixes: in all application code each finds
// itself, also when that of one calls the other; neither knows users, sessions or tokens of the other.
func TestTwoInstancesDoNotMeet(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (a, b *storetest.DB){
		"two databases": func(t *testing.T) (a, b *storetest.DB) {
			return storetest.Open(t, "memory"), storetest.Open(t, "memory")
		},
		"one file":   func(t *testing.T) (a, b *storetest.DB) { return twoPrefixes(t, "sqlite") },
		"one server": func(t *testing.T) (a, b *storetest.DB) { return twoPrefixes(t, "postgres") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbA, dbB := open(t)
			clock := &atomic.Int64{}
			clock.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
			var b *watched
			a := newWatched(t, dbA, clock, func(ctx context.Context) {
				if b == nil {
					return
				}
				_, err := b.UserRoles().GetRolesForUser(ctx, "", "x") // the policy of one asks the other
				assert.NoError(t, err)
			})
			b = newWatched(t, dbB, clock, func(context.Context) {})

			a.tour(t, t.Context())
			require.Zero(t, dbB.Rows("recipe_users"), "nobody at the other")
			b.tour(t, mfa.NewContext(t.Context(), a.MFA))
			var all sync.WaitGroup
			for _, w := range []*watched{a, b} {
				all.Go(func() { // beside each other
					for range 5 {
						c := w.client()
						c.SignIn(ada, password)
						c.Info()
						me(c)
						c.RefreshSession()
					}
				})
			}
			all.Wait()
			for name, w := range map[string]*watched{"a": a, "b": b} {
				require.Empty(t, w.wrong, name)
				for what, called := range w.called {
					require.True(t, called, "%s: %s was not called", name, what)
				}
			}
			require.Nil(t, mfa.FromContext(t.Context()))

			// Their tokens have the same issuer and the same key ids, and are refused all the same.
			clients := map[string]*frontend.Client{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				instance := a
				if strings.HasPrefix(r.Host, "localhost") {
					instance = b
				}
				instance.Middleware(instance.host()).ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			hosts := []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)}
			for i, host := range hosts {
				c := frontend.New(t, host, "header")
				require.True(t, c.SignIn(ada, password).Is("OK"))
				c.NoRefresh = true
				clients[host] = c
				require.Equal(t, 200, me(c))
				foreign := c.At(hosts[1-i])
				require.JSONEq(t, `{"message":"try refresh token"}`, foreign.Call("GET", "/me", nil).Body)
				require.Equal(t, 401, foreign.Call("PUT", "/auth/mfa/info", nil).Status)
				require.Equal(t, 401, foreign.RefreshSession().Status)
			}
			kids := []string{strings.Split(clients[hosts[0]].Access, ".")[0], strings.Split(clients[hosts[1]].Access, ".")[0]}
			require.Equal(t, kids[0], kids[1], "the key ids are the same, the keys are not")
			require.NotEqual(t, clients[hosts[0]].UserID(), clients[hosts[1]].UserID())
			_, err := b.Sessions().GetSessionInformation(t.Context(), a.session(clients[hosts[0]]).Handle())
			require.ErrorIs(t, err, session.ErrSessionDoesNotExist)
			_, err = b.AccountLinking().GetUser(t.Context(), clients[hosts[0]].UserID())
			require.ErrorIs(t, err, accountlinking.ErrUnknownUserID)
			require.Equal(t, 200, me(clients[hosts[0]]))
			require.Equal(t, 200, me(clients[hosts[1]]))
		})
	}
}

func twoPrefixes(t *testing.T, name string) (a, b *storetest.DB) {
	t.Helper()
	a = storetest.Open(t, name)
	other := *a
	other.Prefix = storetest.NewPrefix()
	return a, other.Again(storetest.Keys(t, "k1"))
}

// A recipe, or a database, belongs to one instance.
func TestNothingIsSharedByTwoInstances(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	_, err := mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: storetest.Open(t, "memory").DB, Factors: []mfa.Factor{b.totp}})
	require.ErrorContains(t, err, "another instance")
	_, err = mfa.New(t.Context(), mfa.Config{AppInfo: local, Storage: b.db.DB})
	require.ErrorContains(t, err, "another instance")
	require.Equal(t, 200, me(b.signedUp(ada)), "and the first goes on")
}
