package totp

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
)

func TestSetUp(t *testing.T) { // F-03
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		ctx := db.Backend.Remember(t.Context())
		setUp := func() (ids []factor.ID, statements int) {
			t.Helper()
			db.Probe.Reset()
			ids, err := b.factorsSetUpForUser(ctx, &accountlinking.User{ID: "u"})
			require.NoError(t, err)
			return ids, db.Probe.Count()
		}
		is := func(want []factor.ID, statements int) {
			t.Helper()
			ids, n := setUp()
			assert.Equal(t, want, ids)
			assert.Equal(t, statements, n)
		}
		is(nil, 1)
		is(nil, 0)
		made, err := b.CreateDevice(ctx, CreateDeviceInput{UserID: "u", Period: time.Minute, Skew: new(2)})
		require.NoError(t, err)
		is(nil, 0)
		_, err = b.VerifyDevice(ctx, VerifyDeviceInput{UserID: "u", DeviceName: made.DeviceName, TOTP: code(t, made.Secret, b.now, 60)})
		require.NoError(t, err)
		is([]factor.ID{factor.TOTP}, 0)
		remembered, err := facts.Get(ctx, db.Backend, "public", "u")
		require.NoError(t, err)
		stored, err := facts.Get(t.Context(), db.Backend, "public", "u")
		require.NoError(t, err)
		assert.Equal(t, stored, remembered)
		_, err = b.RemoveDevice(ctx, "u", made.DeviceName)
		require.NoError(t, err)
		_, err = facts.Get(ctx, db.Backend, "public", "u")
		require.NoError(t, err)
		is(nil, 0)
		_, err = b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "u", DeviceName: "x", Period: time.Minute, Skew: new(2)}, encodeSecret(vectorSecret)})
		require.NoError(t, err)
		is([]factor.ID{factor.TOTP}, 1)

		b.create("u", "open")
		devices, err := b.functions.ListDevices(context.WithValue(ctx, setUpTestKey{}, true), ListDevicesInput{UserID: "u"})
		require.NoError(t, err)
		assert.Equal(t, []Device{{Name: "x", Period: time.Minute, Skew: 2, Verified: true}}, devices)
		devices, err = b.ListDevices(ctx, "u")
		require.NoError(t, err)
		assert.Len(t, devices, 2, "whoever else asks gets all of them")
	})
}

// What an override of ListDevices says is what counts.
func TestSetUpAsksTheTable(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *Config, _ *parts) {
		cfg.Override.Functions = func(original Functions, functions *Functions) {
			functions.ListDevices = func(ctx context.Context, in ListDevicesInput) ([]Device, error) {
				devices, err := original.ListDevices(ctx, in)
				return append(devices, Device{Name: "kept elsewhere", Verified: in.UserID == "u"}), err
			}
		}
	})
	for user, want := range map[string][]factor.ID{"u": {factor.TOTP}, "v": nil} {
		ids, err := b.factorsSetUpForUser(t.Context(), &accountlinking.User{ID: user})
		require.NoError(t, err)
		assert.Equal(t, want, ids)
	}
}
