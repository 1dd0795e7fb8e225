package mfa_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/session"
)

func withRoute(method, path string, handle func(ctx context.Context, r *mfa.Request) (any, error)) func(*mfa.Config) {
	return func(cfg *mfa.Config) {
		cfg.Factors = append(cfg.Factors, registered{Registration: mfa.Registration{
			RecipeID: "own", Routes: []mfa.Route{{Method: method, Path: path, Handle: handle}},
		}})
	}
}

// What a route puts into the ctx is there in everything that is called later, in the overrides of the session too.
func TestTheContextOfARoute(t *testing.T) {
	t.Parallel()
	type key struct{}
	var seen any
	b := newBundle(t, storetest.Open(t, "memory"), withRoute("POST", "/own", func(ctx context.Context, r *mfa.Request) (any, error) {
		_, err := r.Session(context.WithValue(ctx, key{}, "from the route"))
		return nil, err
	}), func(cfg *mfa.Config) {
		cfg.Sessions.Override.Functions = func(original session.Functions, functions *session.Functions) {
			functions.GetSession = func(ctx context.Context, in session.GetSessionInput) (*session.Session, error) {
				seen = ctx.Value(key{})
				return original.GetSession(ctx, in)
			}
		}
	})
	c := b.signedUp(ada)
	require.Equal(t, http.StatusOK, c.Call("POST", "/auth/own", nil).Status)
	require.Equal(t, "from the route", seen)
}

// The routes of the factors come before that of MFA, which come before those of the sessions.
func TestTheOrderOfRoutes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), withRoute("PUT", "/mfa/info", func(context.Context, *mfa.Request) (any, error) {
		return map[string]string{"by": "the application"}, nil
	}))
	require.JSONEq(t, `{"status":"OK","by":"the application"}`, b.client().Call("PUT", "/auth/mfa/info", nil).Body)
	var paths []string
	for _, r := range mfa.Routes(b.MFA) {
		paths = append(paths, r.Path)
	}
	require.Equal(t, []string{
		"/signup", "/signin", "/emailpassword/email/exists", "/signup/email/exists",
		"/totp/device", "/totp/device/list", "/totp/device/remove", "/totp/device/verify", "/totp/verify",
		"/mfa/info", "/mfa/info", "/session/refresh", "/signout", "/jwt/jwks.json", "/.well-known/openid-configuration",
	}, paths)
}

// A Request that no instance has made is a mistake, not a panic.
func TestARequestOfNoInstance(t *testing.T) {
	t.Parallel()
	_, err := (&mfa.Request{}).Session(t.Context())
	require.ErrorContains(t, err, "no instance")
}
