package totp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/storetest"
)

func TestConfigMistakes(t *testing.T) { // T-03, L-02
	t.Parallel()
	for name, test := range map[string]struct {
		cfg      Config
		attempts int
		mistakes []string
	}{
		"defaults":                  {Config{}, 5, nil},
		"the largest of everything": {Config{DefaultSkew: new(2), DefaultPeriod: 120 * time.Second, MaxDevices: 19}, 1, nil},
		"the smallest":              {Config{DefaultSkew: new(0), DefaultPeriod: time.Second, MaxDevices: 1}, 99, nil},
		"skew":                      {Config{DefaultSkew: new(3)}, 1, []string{"DefaultSkew 3"}},
		"negative skew":             {Config{DefaultSkew: new(-1)}, 1, []string{"DefaultSkew -1"}},
		"period":                    {Config{DefaultPeriod: 121 * time.Second}, 1, []string{"DefaultPeriod 2m1s"}},
		"part of a second":          {Config{DefaultPeriod: 1500 * time.Millisecond}, 1, []string{"DefaultPeriod 1.5s"}},
		"negative period":           {Config{DefaultPeriod: -time.Second}, 1, []string{"DefaultPeriod -1s"}},
		"devices":                   {Config{MaxDevices: 21}, 1, []string{"MaxDevices 21"}},
		"issuer":                    {Config{Issuer: ":"}, 1, []string{`Issuer ":"`}},
		"issuer of broken text":     {Config{Issuer: "\xff"}, 1, []string{"Issuer"}},
		"all at once":               {Config{DefaultSkew: new(9), MaxDevices: -1, DefaultPeriod: time.Hour}, 1, []string{"DefaultSkew", "DefaultPeriod", "MaxDevices"}},
		"1 in 10,000 by attempts":   {Config{}, 7, []string{"MaxDevices 5 with DefaultSkew 1 and Limits.MaxAttempts 7: guesses have a chance of 105 in 1,000,000"}},
		"1 in 10,000 by devices":    {Config{MaxDevices: 7}, 5, []string{"105 in 1,000,000"}},
		"1 in 10,000 by skew":       {Config{DefaultSkew: new(2)}, 5, []string{"125 in 1,000,000"}},
		"exactly 1 in 10,000":       {Config{MaxDevices: 20, DefaultSkew: new(0)}, 5, []string{"100 in 1,000,000"}},
		"a function left out": {Config{Override: Override{Functions: func(_ Functions, functions *Functions) {
			functions.VerifyTOTP = nil
		}}}, 5, []string{"totp: Config.Override.Functions left the function VerifyTOTP nil"}},
	} {
		e := &env.Env{}
		err := New(test.cfg).attach(parts{env: e, appName: "Acme", attempts: limits.Attempts{Max: test.attempts, Cooldown: time.Minute}})
		if test.mistakes == nil {
			assert.NoError(t, err, name)
			assert.Len(t, e.Sweeps, 1)
			continue
		}
		require.Error(t, err, name)
		assert.Empty(t, e.Sweeps, "after an error nothing is attached")
		lines := strings.Split(err.Error(), "\n")
		require.Len(t, lines, len(test.mistakes), name)
		for i, mistake := range test.mistakes {
			assert.Contains(t, lines[i], mistake, name)
		}
	}
}

func TestOneHandleOneInstance(t *testing.T) {
	t.Parallel()
	p := parts{env: &env.Env{}, appName: "Acme", attempts: limits.Attempts{Max: 5, Cooldown: time.Minute}}
	r := New(Config{MaxDevices: 50})
	require.Error(t, r.attach(p))
	r.cfg.MaxDevices = 5
	require.NoError(t, r.attach(p), "after an error the recipe is free")
	assert.ErrorContains(t, r.attach(p), "another instance")
}

func TestHandleWithoutInstance(t *testing.T) {
	t.Parallel()
	r, ctx := New(Config{}), t.Context()
	for _, call := range []func() error{
		func() error { _, err := r.CreateDevice(ctx, CreateDeviceInput{}); return err },
		func() error { _, err := r.ImportDevice(ctx, ImportDeviceInput{}); return err },
		func() error { return r.UpdateDevice(ctx, "u", "a", "b") },
		func() error { _, err := r.ListDevices(ctx, "u"); return err },
		func() error { _, err := r.RemoveDevice(ctx, "u", "a"); return err },
		func() error { _, err := r.VerifyDevice(ctx, VerifyDeviceInput{}); return err },
		func() error { return r.VerifyTOTP(ctx, "", "u", "123456") },
	} {
		assert.ErrorContains(t, call(), "mfa.New")
	}
}

// All calls go through the table, those of the library itself too, with a ctx that belongs to the instance.
func TestOverridesAreCalled(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	var called []string
	note := func(ctx context.Context, name string) {
		assert.NotNil(t, env.FromContext(ctx), name)
		called = append(called, name)
	}
	b := newBundle(t, db, func(cfg *Config, _ *parts) {
		cfg.Override.Functions = func(original Functions, functions *Functions) {
			functions.GetUserIdentifierInfoForUserID = func(ctx context.Context, in GetUserIdentifierInfoForUserIDInput) (string, error) {
				note(ctx, "GetUserIdentifierInfoForUserID")
				name, err := original.GetUserIdentifierInfoForUserID(ctx, in)
				return "Mx " + name, err
			}
			functions.CreateDevice = func(ctx context.Context, in CreateDeviceInput) (CreateDeviceResult, error) {
				note(ctx, "CreateDevice")
				return original.CreateDevice(ctx, in)
			}
			functions.ImportDevice = func(ctx context.Context, in ImportDeviceInput) (ImportDeviceResult, error) {
				note(ctx, "ImportDevice")
				return original.ImportDevice(ctx, in)
			}
			functions.UpdateDevice = func(ctx context.Context, in UpdateDeviceInput) error {
				note(ctx, "UpdateDevice")
				return original.UpdateDevice(ctx, in)
			}
			functions.ListDevices = func(ctx context.Context, in ListDevicesInput) ([]Device, error) {
				note(ctx, "ListDevices")
				return original.ListDevices(ctx, in)
			}
			functions.RemoveDevice = func(ctx context.Context, in RemoveDeviceInput) (RemoveDeviceResult, error) {
				note(ctx, "RemoveDevice")
				return original.RemoveDevice(ctx, in)
			}
			functions.VerifyDevice = func(ctx context.Context, in VerifyDeviceInput) (VerifyDeviceResult, error) {
				note(ctx, "VerifyDevice")
				return original.VerifyDevice(ctx, in)
			}
			functions.VerifyTOTP = func(ctx context.Context, in VerifyTOTPInput) error {
				note(ctx, "VerifyTOTP")
				return original.VerifyTOTP(ctx, in)
			}
		}
	})
	made := b.create("u", "")
	assert.Contains(t, made.QRCodeString, "Acme:Mx%20u%40example.com?")
	_, err := b.verify("u", made.DeviceName, b.code(made.Secret))
	require.NoError(t, err)
	b.after(30 * time.Second)
	require.NoError(t, b.check("u", b.code(made.Secret)))
	_, err = b.ImportDevice(t.Context(), ImportDeviceInput{CreateDeviceInput{UserID: "u"}, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"})
	require.NoError(t, err)
	require.NoError(t, b.UpdateDevice(t.Context(), "u", "TOTP Device 2", "old phone"))
	assert.Equal(t, []string{"TOTP Device 1", "old phone"}, b.names("u"))
	_, err = b.RemoveDevice(t.Context(), "u", "old phone")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"CreateDevice", "GetUserIdentifierInfoForUserID", "VerifyDevice", "VerifyTOTP", "ImportDevice", "UpdateDevice", "ListDevices", "RemoveDevice",
	}, called)
}
