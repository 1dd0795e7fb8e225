package totp

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
)

// What each call costs, however many devices the user has.
func TestStatements(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, devices := range []int{0, 3} {
			b, ctx := newBundle(t, db), t.Context()
			user := fmt.Sprint("user", devices)
			secret := b.enrol(user, "phone")
			for i := range devices {
				b.enrol(user, fmt.Sprint(i))
				b.create(user, fmt.Sprint("open", i))
			}
			spends := func(statements, commits int, call func() error) {
				t.Helper()
				db.Probe.Reset()
				require.NoError(t, call())
				assert.Equal(t, statements, db.Probe.Count(), "%v", db.Probe.Statements())
				assert.Equal(t, commits, db.Probe.Commits())
			}
			refused := func(want error, call func() error) func() error {
				return func() error {
					assert.Equal(t, want, call())
					return nil
				}
			}
			check := func(code string) func() error { return func() error { return b.check(user, code) } }

			b.after(time.Minute)
			spends(3, 1, check(b.code(secret)))
			b.after(30 * time.Second)
			spends(3, 1, refused(invalid(1), check(b.wrong(secret))))
			spends(4, 1, check(b.code(secret)))
			for n := range 5 {
				spends(3, 1, refused(invalid(n+1), check(b.code(secret))))
			}
			spends(1, 0, refused(limited(15*time.Minute), check(b.code(secret))))
			b.after(15 * time.Minute)

			var made CreateDeviceResult
			spends(3, 1, func() (err error) {
				made, err = b.CreateDevice(ctx, CreateDeviceInput{UserID: user, DeviceName: "new"})
				return err
			})
			spends(4, 1, func() error { _, err := b.verify(user, "new", b.code(made.Secret)); return err })
			spends(2, 0, func() error { _, err := b.verify(user, "new", ""); return err })
			spends(1, 0, func() error { _, err := b.ListDevices(ctx, user); return err })
			spends(3, 1, func() error { return b.UpdateDevice(ctx, user, "new", "newer") })
			spends(3, 1, func() error { _, err := b.RemoveDevice(ctx, user, "newer"); return err })
		}
	})
}
