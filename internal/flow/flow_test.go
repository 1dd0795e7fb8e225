package flow_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

// people is account linking in which a lookup finds these users.
func people(t *testing.T, found ...*accountlinking.User) *accountlinking.Recipe {
	t.Helper()
	db := storetest.Open(t, "memory")
	r, err := accountlinking.Attach(&env.Env{Store: db.Backend, Logger: slog.Default(), Clock: time.Now, Random: rand.Reader}, accountlinking.Config{
		Override: accountlinking.Override{Functions: func(_ accountlinking.Functions, functions *accountlinking.Functions) {
			functions.ListUsersByAccountInfo = func(context.Context, accountlinking.ListUsersByAccountInfoInput) ([]*accountlinking.User, error) {
				return found, nil
			}
		}},
	})
	require.NoError(t, err)
	return r
}

func method(recipeID, id, tenantID string, info accountlinking.AccountInfo) accountlinking.LoginMethod {
	return accountlinking.LoginMethod{RecipeID: recipeID, RecipeUserID: session.RecipeUserID(id), TenantIDs: []string{tenantID}, AccountInfo: info}
}

// A person may be known here by the info through another login method only: then this recipe has nobody here.
func TestLookup(t *testing.T) {
	t.Parallel()
	email := accountlinking.AccountInfo{Email: "ada@example.com"}
	phone := accountlinking.AccountInfo{PhoneNumber: "+36701234123"}
	social := accountlinking.AccountInfo{ThirdParty: &accountlinking.ThirdPartyInfo{ID: "google", UserID: "1"}}
	ada := &accountlinking.User{ID: "ada", LoginMethods: []accountlinking.LoginMethod{
		method("passwordless", "1", "public", email),
		method("emailpassword", "2", "acme", email),
		method("emailpassword", "3", "public", accountlinking.AccountInfo{Email: "other@example.com"}),
		method("passwordless", "4", "acme", phone),
		method("thirdparty", "5", "acme", social),
	}}
	eve := &accountlinking.User{ID: "eve", LoginMethods: []accountlinking.LoginMethod{method("passwordless", "6", "acme", email)}}
	both := people(t, ada, eve)
	for _, c := range []struct {
		recipeID, tenantID string
		info               accountlinking.AccountInfo
		user, method       string
	}{
		{"passwordless", "public", email, "ada", "1"},
		{"emailpassword", "acme", accountlinking.AccountInfo{Email: " ADA@example.com"}, "ada", "2"},
		{"emailpassword", "public", email, "", ""},
		{"passwordless", "acme", phone, "ada", "4"},
		{"thirdparty", "acme", social, "ada", "5"},
		{"passwordless", "acme", email, "eve", "6"},
		{"emailpassword", "acme", accountlinking.AccountInfo{}, "", ""},
		{"host", "acme", email, "", ""},
	} {
		found, err := flow.Lookup(t.Context(), both, c.recipeID, c.tenantID, c.info)
		require.NoError(t, err)
		require.Equal(t, c.user, found.UserID(), "%v", c)
		if c.user != "" {
			require.EqualValues(t, c.method, found.Method.RecipeUserID, "%v", c)
			require.True(t, flow.HasMethod(found.User, found.Method.RecipeUserID))
		}
	}
	require.False(t, flow.HasMethod(ada, "6"))

	twin := &accountlinking.User{ID: "twin", LoginMethods: []accountlinking.LoginMethod{method("emailpassword", "7", "acme", email)}}
	_, err := flow.Lookup(t.Context(), people(t, ada, twin), "emailpassword", "acme", email)
	require.ErrorContains(t, err, "two users", "nobody is signed in by chance")
}

func TestBegin(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"": "public", "public": "public", " ACME ": "acme"} {
		a, err := flow.Begin(flow.Attempt{RecipeID: "emailpassword", TenantID: given})
		require.NoError(t, err)
		require.Equal(t, &flow.Attempt{RecipeID: "emailpassword", TenantID: want}, a)
	}
	for _, bad := range []string{"no tenant", "users", "\xff"} {
		_, err := flow.Begin(flow.Attempt{TenantID: bad})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
	}
}
