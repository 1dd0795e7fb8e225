package emailpassword

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
)

// BenchmarkSignIn is a whole sign-in over HTTP on loopback, client included. The hash is the cheapest that argon2id has (8 KiB, 1 pass), so that the rest
// shows: the default adds what BenchmarkHash takes. The databases do not wait for the disk. In parallel, each sign-in is of another user.
func BenchmarkSignIn(b *testing.B) {
	for _, name := range storetest.Names {
		b.Run(name, func(b *testing.B) {
			hashing := Hashing{Argon2id: Argon2idCost{MemoryKiB: 8, Passes: 1}, InsecureLowCost: true}
			s := newSite(b, storetest.Open(b, name), Config{Hashing: hashing}, func(cfg *mfa.Config) { cfg.Logger = slog.New(slog.DiscardHandler) })
			const people = 64
			for i := range people {
				s.signUp(fmt.Sprintf("user%d@example.com", i))
			}
			signIn := func(b *testing.B, i int) {
				r := s.post("/signin", filled(fmt.Sprintf("user%d@example.com", i%people), password))
				require.True(b, r.Is("OK"), r.Body)
			}
			b.Run("one by one", func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					signIn(b, i)
				}
			})
			b.Run("parallel", func(b *testing.B) {
				var next atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						signIn(b, int(next.Add(1)))
					}
				})
			})
		})
	}
}

// BenchmarkHash is one password at the default cost.
func BenchmarkHash(b *testing.B) {
	h, errs := newHasher(Hashing{}, nil)
	require.Empty(b, errs)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, h.checkDummy(b.Context(), password))
	}
}
