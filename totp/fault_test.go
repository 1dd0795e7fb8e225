package totp

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// L-05: whichever statement fails, the caller gets an error, nothing is half written, and nobody was told of anything.
func TestFailingStorage(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for name, test := range map[string]struct {
			statements int // BEGIN is none, the commit is one
			call       func(b *bundle, secret, open string) error
		}{
			"create": {4, func(b *bundle, _, _ string) error {
				_, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u"})
				return err
			}},
			"create beside an expired one": {5, func(b *bundle, _, _ string) error {
				b.after(24 * time.Hour)
				defer b.after(-24 * time.Hour)
				_, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u"})
				return err
			}},
			"import": {4, func(b *bundle, _, _ string) error {
				_, err := b.ImportDevice(t.Context(), ImportDeviceInput{CreateDeviceInput{UserID: "u"}, encodeSecret(vectorSecret)})
				return err
			}},
			"rename": {4, func(b *bundle, _, _ string) error { return b.UpdateDevice(t.Context(), "u", "phone", "new") }},
			"remove": {4, func(b *bundle, _, _ string) error {
				_, err := b.RemoveDevice(t.Context(), "u", "phone")
				return err
			}},
			"list":       {1, func(b *bundle, _, _ string) error { _, err := b.ListDevices(t.Context(), "u"); return err }},
			"right code": {5, func(b *bundle, secret, _ string) error { return b.check("u", b.code(secret)) }},
			"wrong code": {4, func(b *bundle, secret, open string) error {
				err := b.check("u", b.wrong(secret, open))
				if _, ok := errors.AsType[*InvalidTOTPError](err); ok {
					return nil
				}
				return err
			}},
			"first code": {5, func(b *bundle, _, open string) error { _, err := b.verify("u", "open", b.code(open)); return err }},
			"sweep":      {1, func(b *bundle, _, _ string) error { return b.sweepUnverified(t.Context()) }},
		} {
			run(t, db, `DELETE FROM {p}totp_devices`)
			run(t, db, `DELETE FROM {p}limits`)
			b := newBundle(t, db)
			secret := b.enrol("u", "phone")
			open := b.create("u", "open").Secret
			require.Equal(t, invalid(1), b.check("u", b.wrong(secret, open)))
			b.after(time.Minute)
			b.taken()
			before := db.Dump()
			for n := 1; ; n++ {
				db.Probe.Reset()
				db.Probe.FailAt(n)
				err := test.call(b, secret, open)
				if !db.Probe.Failed() {
					db.Probe.FailAt(0)
					require.NoError(t, err, "%s", name)
					assert.Equal(t, test.statements, n-1, "%s: %v", name, db.Probe.Statements())
					break
				}
				require.ErrorIs(t, err, storetest.ErrInjected, "%s, statement %d", name, n)
				require.Equal(t, before, db.Dump(), "%s, statement %d", name, n)
				require.Empty(t, b.taken(), "%s, statement %d", name, n)
				require.Empty(t, b.removed, "%s, statement %d", name, n)
			}
		}
	})
}

// C-08: a removal that does not reach the sessions says so, and the next call reaches them.
func TestSessionsThatCannotBeReached(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	broken := errors.New("broken")
	calls := 0
	b := newBundle(t, db, func(_ *Config, p *parts) {
		p.factorRemoved = func(ctx context.Context, _ *session.Session, userID string, id factor.ID) error {
			assert.False(t, db.Backend.InTx(ctx))
			calls++
			if calls == 1 {
				return broken
			}
			return nil
		}
	})
	b.enrol("u", "phone")
	_, err := b.RemoveDevice(t.Context(), "u", "phone")
	require.ErrorIs(t, err, broken)
	assert.Empty(t, b.names("u"))
	result, err := b.RemoveDevice(t.Context(), "u", "phone")
	require.NoError(t, err)
	assert.False(t, result.DidDeviceExist)
	assert.Equal(t, 2, calls)
}

// A panic of the host's function in the middle of a creation leaves nothing behind, and no lock.
func TestPanicInAnOverride(t *testing.T) { // I-03
	t.Parallel()
	db := storetest.Open(t, "memory")
	b := newBundle(t, db, func(cfg *Config, _ *parts) {
		cfg.Override.Functions = func(_ Functions, functions *Functions) {
			functions.GetUserIdentifierInfoForUserID = func(ctx context.Context, _ GetUserIdentifierInfoForUserIDInput) (string, error) {
				assert.False(t, db.Backend.InTx(ctx), "no code of the host runs in a transaction")
				panic("the host's")
			}
		}
	})
	assert.PanicsWithValue(t, "the host's", func() { b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u"}) })
	assert.Zero(t, db.Rows("totp_devices"))
	_, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u", UserIdentifierInfo: "u"})
	require.NoError(t, err)
}
