package mfa_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

// vanish takes everything that storage has of the people away, as a deletion does.
func vanish(ctx context.Context, t *testing.T, db *storetest.DB) {
	t.Helper()
	for _, table := range []string{
		"sessions", "emailpassword_credentials", "user_tenants", "recipe_users", "totp_devices", "user_metadata", "user_roles", "limits",
	} {
		_, err := db.Handle.ExecContext(ctx, "DELETE FROM "+db.Prefix+table)
		require.NoError(t, err, table)
	}
}

// D-09: a user who is gone is refused by every door; what is left of the session is an access token that no door of the library's makes more of.
func TestAUserWhoIsGone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins))
		c, secret := b.enrolled(ada)
		b.makeAdmin(c.UserID())
		gone := c.UserID()
		s := b.session(c)
		vanish(t.Context(), t, db)
		for route, want := range map[string]string{
			"PUT /mfa/info":            `{"message":"unauthorised"}`,
			"POST /totp/device":        `{"message":"unauthorised"}`,
			"POST /totp/device/verify": `{"message":"unauthorised"}`,
			"POST /totp/device/remove": `{"message":"unauthorised"}`,
			"GET /totp/device/list":    `{"status":"OK","devices":[]}`,
			"POST /totp/verify":        `{"status":"UNKNOWN_USER_ID_ERROR"}`,
			"POST /signin":             `{"status":"WRONG_CREDENTIALS_ERROR"}`,
			"POST /signout":            `{"status":"OK"}`,
		} {
			method, _, _ := strings.Cut(route, " ")
			r := send(t, b.url, method, pathOf(route), doors[route].body, map[string]string{"Authorization": "Bearer " + c.Access})
			require.JSONEq(t, want, r.Body, route)
			if front := r.Header.Get("front-token"); front != "" {
				require.Equal(t, "remove", front, route)
			}
		}
		var over *session.UnauthorisedError
		require.ErrorAs(t, b.MarkFactorAsCompleteInSession(t.Context(), s, factor.TOTP), &over)
		_, err := b.Sessions().GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{
			AccessToken: c.Access, Options: session.VerifyOptions{CheckDatabase: true},
		})
		require.ErrorAs(t, err, &over)
		require.Equal(t, http.StatusUnauthorized, c.RefreshSession().Status)
		require.Nil(t, c.Payload)
		require.Zero(t, db.Rows("sessions"))

		// Whoever takes the address then is somebody else, with nothing of the one before.
		require.True(t, trySignUp(c, ada).Is("OK"))
		require.NotEqual(t, gone, c.UserID())
		require.True(t, c.V(), "no role")
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("UNKNOWN_USER_ID_ERROR"))
	})
}

// D-09: whoever vanishes between the password and the session gets none.
func TestAUserWhoVanishesDuringTheSignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		during := func(context.Context) {}
		b := newBundle(t, db, withPolicy(func(ctx context.Context, _ mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			during(ctx)
			return nil, nil
		}))
		b.signedUp(ada)
		during = func(ctx context.Context) { vanish(ctx, t, db) }
		r := b.client().SignIn(ada, password)
		require.True(t, r.Is("WRONG_CREDENTIALS_ERROR"), r.Body)
		require.Zero(t, db.Rows("sessions"))
		r = trySignUp(b.client(), ada)
		require.Equal(t, http.StatusInternalServerError, r.Status, "a sign-up has no answer for it: %s", r.Body)
		require.Contains(t, b.logged(), "the new user was deleted")
		require.Zero(t, db.Rows("sessions"))
	})
}

// A session of a login method that was deleted, of a person who still exists.
func TestASessionOfALoginMethodThatIsGone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c, other := b.signedUp(ada), b.signedUp("bob@example.com")
		old, err := b.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: session.RecipeUserID(c.UserID())})
		require.NoError(t, err)
		for _, statement := range []string{
			"UPDATE %recipe_users SET group_id = $1, is_primary = TRUE", // bob is linked to ada
			"DELETE FROM %user_tenants WHERE user_id = $1",              // and ada's own login method deleted
			"DELETE FROM %emailpassword_credentials WHERE user_id = $1",
			"UPDATE %recipe_users SET recipe_id = '', email = '' WHERE user_id = $1",
		} {
			_, err := db.Handle.Exec(strings.ReplaceAll(statement, "%", db.Prefix), c.UserID())
			require.NoError(t, err, statement)
		}
		user, err := b.AccountLinking().GetUser(t.Context(), c.UserID())
		require.NoError(t, err)
		require.Equal(t, []string{"bob@example.com"}, user.Emails)

		var over *session.UnauthorisedError
		require.ErrorAs(t, old.AssertClaims(t.Context(), mfa.Claim.HasCompletedMFARequirementsForAuth()), &over)
		require.Equal(t, "Incorrect login method used", over.Message)
		r := c.Call("PUT", "/auth/mfa/info", nil)
		require.Equal(t, http.StatusUnauthorized, r.Status, r.Body)
		require.Nil(t, c.Payload)
		require.Equal(t, http.StatusOK, other.Call("PUT", "/auth/mfa/info", nil).Status)
		require.True(t, b.client().SignIn(ada, password).Is("WRONG_CREDENTIALS_ERROR"))
	})
}

// A session of a tenant that is gone is over, at whatever route that shows; a tenant of the path that does not exist is a mistake of the path.
func TestASessionOfATenantThatIsGone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(admins), withMailbox(false), func(cfg *mfa.Config) {
			cfg.Factors = append(cfg.Factors, registered{Registration: mfa.Registration{RecipeID: "roles", Routes: []mfa.Route{{
				Method: "POST", Path: "/roles", Handle: func(ctx context.Context, r *mfa.Request) (any, error) {
					s, err := r.Session(ctx)
					if err != nil {
						return nil, err
					}
					_, err = mfa.FromContext(ctx).UserRoles().GetRolesForUser(ctx, r.TenantID, s.UserID())
					return nil, err
				},
			}}}})
		})
		_, err := b.Tenants().CreateOrUpdateTenant(t.Context(), "acme", tenant.Update{FirstFactors: tenant.Only(factor.EmailPassword)})
		require.NoError(t, err)
		c := b.client()
		require.True(t, c.Call("POST", "/auth/acme/signup", parse(doors["POST /signup"].body)).Is("OK"))
		c.EnrolTOTP(b.now())
		call := func(method, path, body string) (status int, text string) {
			r := send(t, b.url, method, "/auth"+path, body, map[string]string{"Authorization": "Bearer " + c.Access})
			return r.Status, r.Body
		}
		status, body := call("POST", "/nosuch/roles", "")
		require.Equal(t, http.StatusBadRequest, status)
		require.JSONEq(t, `{"message":"Tenant not found"}`, body)

		_, err = db.Handle.Exec("DELETE FROM "+db.Prefix+"tenants WHERE tenant_id = $1", "acme")
		require.NoError(t, err)
		for _, route := range []string{
			"PUT /mfa/info", "POST /totp/device", "POST /totp/device/verify", "POST /totp/verify", "POST /mailbox/open", "POST /acme/roles",
		} {
			method, path, _ := strings.Cut(route, " ")
			status, body := call(method, path, doors[method+" "+path].body)
			require.Equal(t, http.StatusUnauthorized, status, "%s: %s", route, body)
			require.JSONEq(t, `{"message":"unauthorised"}`, body, route)
		}
		require.Equal(t, http.StatusUnauthorized, c.RefreshSession().Status)
		require.Nil(t, c.Payload)
	})
}
