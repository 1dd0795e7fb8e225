package mfa_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

func eachDatabase(b *testing.B, run func(b *testing.B, db *storetest.DB)) {
	for _, name := range storetest.Names {
		b.Run(name, func(b *testing.B) { run(b, storetest.Open(b, name)) })
	}
}

// Whole requests over HTTP, client and connection included; the password hash is a cheap one.
func BenchmarkHTTP(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db *storetest.DB) {
		instance := newBundle(b, db, withPolicy(admins))
		c, secret := instance.enrolled(ada)
		instance.makeAdmin(c.UserID())
		b.Run("sign-in", func(b *testing.B) {
			for b.Loop() {
				require.True(b, c.SignIn(ada, password).Is("OK"))
			}
		})
		b.Run("TOTP", func(b *testing.B) {
			for b.Loop() {
				instance.turn(30 * time.Second)
				require.True(b, c.VerifyTOTP(secret, instance.now()).Is("OK"))
			}
		})
		b.Run("info", func(b *testing.B) {
			for b.Loop() {
				require.True(b, c.Call("PUT", "/auth/mfa/info", nil).Is("OK"))
			}
		})
		b.Run("refresh", func(b *testing.B) {
			for b.Loop() {
				require.Equal(b, http.StatusOK, c.RefreshSession().Status)
			}
		})
	})
}

// What a protected route costs beside its handler: the token was seen before, and the claim is looked at.
func BenchmarkProtectedRoute(b *testing.B) {
	instance := newBundle(b, storetest.Open(b, "memory"), withPolicy(admins))
	c, _ := instance.enrolled(ada)
	req := httptest.NewRequest("GET", "/me", nil)
	req.Header.Set("Authorization", "Bearer "+c.Access)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, handler := range map[string]http.Handler{
		"v":       instance.Sessions().Verify(nothing),
		"step-up": instance.Sessions().Verify(nothing, mfa.Claim.HasCompletedRequirementListWithin(time.Hour, factor.Requirements{factor.TOTP})),
		"behind":  instance.Middleware(instance.Sessions().Verify(nothing)),
	} {
		b.Run(name, func(b *testing.B) {
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(w, req)
			}
			require.Equal(b, http.StatusOK, w.Code)
		})
	}
	b.Run("token to session", func(b *testing.B) {
		in := session.GetSessionInput{AccessToken: c.Access}
		b.ReportAllocs()
		for b.Loop() {
			_, err := instance.Sessions().GetSessionWithoutRequestResponse(context.Background(), in)
			require.NoError(b, err)
		}
	})
}

// The policy is asked about a session: one that asks for nothing, one that asks for the roles, and one that asks for everything.
func BenchmarkPolicy(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db *storetest.DB) {
		policy := everybody
		instance := newBundle(b, db, withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return policy(ctx, in)
		}))
		c, _ := instance.enrolled(ada)
		instance.makeAdmin(c.UserID())
		s := instance.session(c)
		for name, asks := range map[string]mfa.GetMFARequirementsForAuthFunc{"nothing": everybody, "roles": admins, "everything": asksForEverything} {
			b.Run(name, func(b *testing.B) {
				policy = asks
				b.ReportAllocs()
				for b.Loop() {
					_, err := instance.GetMFARequirementsForAuth(context.Background(), s)
					require.NoError(b, err)
				}
			})
		}
	})
}

func asksForEverything(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	if _, err := in.FactorsSetUpForUser(ctx); err != nil {
		return nil, err
	}
	if _, err := in.RequiredSecondaryFactorsForUser(ctx); err != nil {
		return nil, err
	}
	if _, err := in.RequiredSecondaryFactorsForTenant(ctx); err != nil {
		return nil, err
	}
	return admins(ctx, in)
}
