package totp

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func TestCreateDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		made := b.create("u", "")
		assert.Equal(t, "TOTP Device 1", made.DeviceName)
		secret, err := base32.StdEncoding.DecodeString(made.Secret)
		require.NoError(t, err)
		assert.Len(t, secret, 20)
		assert.Len(t, made.Secret, 32)
		assert.Equal(t, "otpauth://totp/Acme:u%40example.com?secret="+made.Secret+"&issuer=Acme&digits=6&period=30&algorithm=SHA1", made.QRCodeString)
		text, err := json.Marshal(made)
		require.NoError(t, err)
		assert.JSONEq(t, fmt.Sprintf(`{"deviceName":"TOTP Device 1","secret":%q,"qrCodeString":%q}`, made.Secret, made.QRCodeString), string(text))
		assert.Equal(t, []string{"TOTP Device 1?"}, b.names("u"))
		assert.Equal(t, []string{}, b.taken(), "an unverified device is nothing that is set up")
	})
}

func TestCreateDeviceWithEverything(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *Config, _ *parts) {
		cfg.Issuer, cfg.DefaultSkew, cfg.DefaultPeriod = "Big: Corp", new(0), time.Minute
	})
	ctx := t.Context()
	made, err := b.CreateDevice(ctx, CreateDeviceInput{
		UserID: "nobody", UserIdentifierInfo: "me, myself", DeviceName: "my phone", Skew: new(2), Period: 15 * time.Second,
	})
	require.NoError(t, err, "with a name nobody looks for the user")
	assert.Equal(t, "otpauth://totp/Big%20Corp:me%2C%20myself?secret="+made.Secret+"&issuer=Big%20Corp&digits=6&period=15&algorithm=SHA1", made.QRCodeString)
	_, err = b.CreateDevice(ctx, CreateDeviceInput{UserID: "nobody"})
	assert.ErrorIs(t, err, ErrUnknownUserID)
	_, err = b.CreateDevice(ctx, CreateDeviceInput{UserID: "nobody", UserIdentifierInfo: "x", DeviceName: "other"})
	require.NoError(t, err)
	devices, err := b.ListDevices(ctx, "nobody")
	require.NoError(t, err)
	assert.Equal(t, []Device{
		{Name: "my phone", Period: 15 * time.Second, Skew: 2}, {Name: "other", Period: time.Minute},
	}, devices)
	text, err := json.Marshal(devices)
	require.NoError(t, err)
	assert.Equal(t, `[{"name":"my phone","period":15,"skew":2,"verified":false},{"name":"other","period":60,"skew":0,"verified":false}]`, string(text))
}

func TestDefaultNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ have, name, replaced string }{
		{"", "TOTP Device 1", ""},
		{"TOTP Device 1?", "TOTP Device 1", "TOTP Device 1"},
		{"TOTP Device 1", "TOTP Device 2", ""},
		{"d1", "TOTP Device 2", ""},
		{"TOTP Device 1,TOTP Device 2?", "TOTP Device 2", "TOTP Device 2"},
		{"TOTP Device 2", "TOTP Device 3", ""},
		{"TOTP Device 1,TOTP Device 3", "TOTP Device 4", ""},
	} {
		b := newBundle(t, storetest.Open(t, "memory"))
		secrets := map[string]string{}
		for name := range strings.SplitSeq(test.have, ",") {
			if name, open := strings.CutSuffix(name, "?"); open {
				secrets[name] = b.create("u", name).Secret
			} else if name != "" {
				secrets[name] = b.enrol("u", name)
			}
		}
		made := b.create("u", "")
		assert.Equal(t, test.name, made.DeviceName, test.have)
		assert.NotEqual(t, secrets[test.replaced], made.Secret)
		want := len(secrets) + 1
		if test.replaced != "" {
			want--
		}
		assert.Len(t, b.names("u"), want, test.have)
	}
}

// F-04: an unverified device is replaced whole, a verified one never.
func TestSameNameAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		first := b.create("u", "phone")
		b.after(time.Hour)
		second, err := b.CreateDevice(ctx, CreateDeviceInput{UserID: "u", DeviceName: "phone", Skew: new(0), Period: 60 * time.Second})
		require.NoError(t, err)
		assert.NotEqual(t, first.Secret, second.Secret)
		b.after(23*time.Hour + 30*time.Minute) // the time of creation is that of the second
		_, err = b.verify("u", "phone", code(t, first.Secret, b.now, 60))
		assert.Equal(t, invalid(1), err, "the replaced secret is worth nothing")
		_, err = b.verify("u", "phone", code(t, second.Secret, b.now, 60))
		require.NoError(t, err)

		before := db.Dump("totp_devices")
		_, err = b.CreateDevice(ctx, CreateDeviceInput{UserID: "u", DeviceName: "phone"})
		assert.ErrorIs(t, err, ErrDeviceAlreadyExists)
		_, err = b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "u", DeviceName: "phone"}, second.Secret})
		assert.ErrorIs(t, err, ErrDeviceAlreadyExists)
		assert.Equal(t, before, db.Dump("totp_devices"))
		assert.NotEmpty(t, b.create("u", "Phone").Secret, "names differ by case")
		assert.NotEmpty(t, b.create("v", "phone").Secret, "and belong to their user")
	})
}

func TestCaps(t *testing.T) { // F-05
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		for i := range 5 {
			b.create("u", fmt.Sprintf("open %d", i))
		}
		_, err := b.CreateDevice(ctx, CreateDeviceInput{UserID: "u"})
		assert.ErrorIs(t, err, ErrTooManyDevices)
		var refusal session.Refusal
		require.ErrorAs(t, err, &refusal)
		status, fields := refusal.Refusal()
		assert.Equal(t, "GENERAL_ERROR", status)
		assert.Equal(t, map[string]any{"message": "You have too many authenticator devices. Remove one first."}, fields)

		replaced := b.create("u", "open 3")
		_, err = b.verify("u", "open 3", b.code(replaced.Secret))
		require.NoError(t, err)
		for i := range 4 {
			_, err := b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "u"}, encodeSecret(vectorSecret)})
			require.NoError(t, err, "the open ones are in nobody's way: %d", i)
		}
		last := b.create("v", "x")
		for i := range 5 {
			_, err := b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "v", DeviceName: fmt.Sprint(i)}, encodeSecret(vectorSecret)})
			require.NoError(t, err)
		}
		_, err = b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "v", DeviceName: "6th"}, encodeSecret(vectorSecret)})
		assert.ErrorIs(t, err, ErrTooManyDevices)
		_, err = b.CreateDevice(ctx, CreateDeviceInput{UserID: "v", DeviceName: "6th"})
		assert.ErrorIs(t, err, ErrTooManyDevices)
		b.taken()
		_, err = b.verify("v", "x", b.code(last.Secret))
		assert.ErrorIs(t, err, ErrTooManyDevices)
		_, err = b.verify("v", "x", b.wrong(last.Secret))
		assert.ErrorIs(t, err, ErrTooManyDevices)
		assert.Empty(t, b.taken(), "the code was not looked at")
		_, err = b.RemoveDevice(ctx, "v", "0")
		require.NoError(t, err)
		_, err = b.verify("v", "x", b.code(last.Secret))
		require.NoError(t, err)
	})
}

// F-03, F-05: after a day an unverified device is gone for every function.
func TestUnverifiedDeviceExpires(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		made := b.create("u", "old")
		kept := b.enrol("u", "kept")
		b.after(24*time.Hour - time.Millisecond)
		assert.Equal(t, []string{"kept", "old?"}, b.names("u"))
		b.after(time.Millisecond)
		assert.Equal(t, []string{"kept"}, b.names("u"))
		_, err := b.verify("u", "old", b.code(made.Secret))
		assert.ErrorIs(t, err, ErrUnknownDevice)
		assert.ErrorIs(t, b.UpdateDevice(ctx, "u", "old", "new"), ErrUnknownDevice)
		assert.Contains(t, db.Dump("totp_devices"), "name=old")

		require.NoError(t, b.UpdateDevice(ctx, "u", "kept", "old"), "its name is free")
		assert.Equal(t, 1, db.Rows("totp_devices"))
		require.NoError(t, b.check("u", b.code(kept)))

		b.create("u", "second")
		b.after(25 * time.Hour)
		result, err := b.RemoveDevice(ctx, "u", "second")
		require.NoError(t, err)
		assert.False(t, result.DidDeviceExist)
		assert.Equal(t, 1, db.Rows("totp_devices"), "the write deleted it")
	})
}

func TestSweepOfUnverifiedDevices(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		for i := range 501 {
			run(t, db, `INSERT INTO {p}totp_devices VALUES ($1, $2, 'x', '.', 30, 1, FALSE, -1, CAST($3 AS BIGINT))`,
				fmt.Sprint(i), fmt.Sprint(i), start.Add(-24*time.Hour).UnixMilli()-int64(i))
		}
		b.enrol("u", "verified")
		b.create("u", "young")
		b.db.Probe.Reset()
		require.NoError(t, b.sweepUnverified(t.Context()))
		assert.Equal(t, 2, b.db.Probe.Count(), "pages of 500")
		assert.Equal(t, 2, db.Rows("totp_devices"))
		b.after(24 * time.Hour)
		require.NoError(t, b.sweepUnverified(t.Context()))
		assert.Equal(t, []string{"verified"}, b.names("u"))
	})
}

func TestUpdateDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		secret := b.enrol("u", "a")
		b.create("u", "open")
		b.after(time.Minute)
		assert.ErrorIs(t, b.UpdateDevice(ctx, "u", "none", "b"), ErrUnknownDevice)
		assert.ErrorIs(t, b.UpdateDevice(ctx, "stranger", "a", "b"), ErrUnknownDevice)
		assert.ErrorIs(t, b.UpdateDevice(ctx, "u", "a", "open"), ErrDeviceAlreadyExists)
		assert.ErrorIs(t, b.UpdateDevice(ctx, "u", "open", "a"), ErrDeviceAlreadyExists)
		require.NoError(t, b.UpdateDevice(ctx, "u", "a", "a"))
		require.NoError(t, b.UpdateDevice(ctx, "u", "open", "still open"))
		require.NoError(t, b.UpdateDevice(ctx, "u", "a", "b"))
		assert.Equal(t, []string{"b", "still open?"}, b.names("u"))
		require.NoError(t, b.check("u", b.code(secret)), "codes keep working")
	})
}

// C-08, F-07, F-08: each verified device that goes is told, and with the last one the sessions lose the factor.
func TestRemoveDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		remove := func(userID, name string) bool {
			result, err := b.RemoveDevice(ctx, userID, name)
			require.NoError(t, err)
			return result.DidDeviceExist
		}
		b.enrol("u", "a")
		secret := b.enrol("u", "b")
		b.create("u", "open")
		b.enrol("v", "a")
		b.after(time.Minute)
		require.Equal(t, invalid(1), b.check("u", b.wrong(secret)))
		b.taken()

		assert.True(t, remove("u", "open"))
		assert.False(t, remove("u", "open"))
		assert.Empty(t, b.taken())
		assert.True(t, remove("u", "a"))
		assert.Equal(t, []string{"factor.removed u +"}, b.taken())
		assert.Empty(t, b.removed, "a device is left")
		assert.Equal(t, invalid(2), b.check("u", b.wrong(secret)), "the failures stay")
		assert.True(t, remove("u", "b"))
		assert.Equal(t, []string{"u"}, b.removed)
		assert.ErrorIs(t, b.check("u", b.code(secret)), ErrUnknownUserID)
		assert.Equal(t, []string{"a"}, b.names("v"), "of nobody else")

		assert.False(t, remove("u", "b"))
		assert.Equal(t, []string{"u", "u"}, b.removed, "a removal that was cut off before it reached the sessions can be finished")

		b.enrol("u", "c")
		require.Equal(t, invalid(1), b.check("u", b.wrong(secret)), "a right code cleared them")
	})
}

func TestImportDevice(t *testing.T) { // T-02
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		imported := func(name, secret string) (ImportDeviceResult, error) {
			return b.ImportDevice(ctx, ImportDeviceInput{CreateDeviceInput{UserID: "u", DeviceName: name, Period: time.Minute}, secret})
		}
		b.create("u", "TOTP Device 1")
		result, err := imported("", "gezd gnbv gy3t qojq gezd gnbv gy======")
		require.NoError(t, err)
		assert.Equal(t, "TOTP Device 1", result.DeviceName, "it takes the place of an unverified one")
		assert.Equal(t, []string{"TOTP Device 1"}, b.names("u"))
		assert.Equal(t, []string{"factor.set_up u +"}, b.taken())
		require.NoError(t, b.check("u", code(t, "GEZDGNBVGY3TQOJQGEZDGNBVGY", b.now, 60)))

		for _, secret := range []string{"", "GEZDGNBVGY3TQOJQGEZDGNBV", "GEZDGNBVGY3TQOJQGEZDGNBV1890", "not base32!", strings.Repeat("GEZDGNBV", 26)} {
			_, err := imported("x", secret)
			var bad *session.BadInputError
			require.ErrorAs(t, err, &bad, secret)
			assert.Contains(t, bad.Message, "16 to 128 bytes")
			if secret != "" {
				assert.NotContains(t, err.Error(), secret)
			}
		}
		_, err = imported("long", strings.Repeat("GEZDGNBVGY3TQOJQ", 12))
		require.NoError(t, err)
	})
}

func TestDistinctSecrets(t *testing.T) { // T-02
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	seen := map[string]bool{}
	for range 10_000 {
		secret, err := b.random(secretBytes)
		require.NoError(t, err)
		require.Len(t, secret, 20)
		seen[string(secret)] = true
	}
	assert.Len(t, seen, 10_000)
}

func TestRandomSourceThatFails(t *testing.T) { // T-02
	t.Parallel()
	fails := errors.New("no entropy")
	for name, source := range map[string]func(p *parts){
		"at once": func(p *parts) { p.env.Random = iotest.ErrReader(fails) },
		"in the secret": func(p *parts) {
			p.env.Random = &joined{bytes.NewReader(make([]byte, 30)), fails}
		},
	} {
		db := storetest.Open(t, "memory")
		b := newBundle(t, db, func(_ *Config, p *parts) { source(p) })
		_, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u"})
		assert.ErrorIs(t, err, fails, name)
		assert.Zero(t, db.Rows("totp_devices"))
	}
}

type joined struct {
	*bytes.Reader
	then error
}

func (j *joined) Read(p []byte) (int, error) {
	if j.Len() == 0 {
		return 0, j.then
	}
	return j.Reader.Read(p)
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	b, ctx := newBundle(t, db), t.Context()
	long := strings.Repeat("u", 129)
	create := func(in CreateDeviceInput) func() error {
		return func() error { _, err := b.CreateDevice(ctx, in); return err }
	}
	for name, call := range map[string]func() error{
		"no user":              create(CreateDeviceInput{}),
		"long user":            create(CreateDeviceInput{UserID: long}),
		"user with U+0000":     create(CreateDeviceInput{UserID: "u\x00"}),
		"broken user":          create(CreateDeviceInput{UserID: "\xff"}),
		"broken info":          create(CreateDeviceInput{UserID: "u", UserIdentifierInfo: "\xff"}),
		"long name":            create(CreateDeviceInput{UserID: "u", DeviceName: strings.Repeat("é", 129)}),
		"name of broken text":  create(CreateDeviceInput{UserID: "u", DeviceName: "a\xff"}),
		"control character":    create(CreateDeviceInput{UserID: "u", DeviceName: "a\tb"}),
		"C1 control character": create(CreateDeviceInput{UserID: "u", DeviceName: "a\u0085b"}),
		"skew":                 create(CreateDeviceInput{UserID: "u", Skew: new(3)}),
		"negative skew":        create(CreateDeviceInput{UserID: "u", Skew: new(-1)}),
		"period":               create(CreateDeviceInput{UserID: "u", Period: 121 * time.Second}),
		"part of a second":     create(CreateDeviceInput{UserID: "u", Period: time.Millisecond}),
		"rename to nothing":    func() error { return b.UpdateDevice(ctx, "u", "a", "") },
		"rename of U+0000":     func() error { return b.UpdateDevice(ctx, "u", "a\x00", "b") },
		"list":                 func() error { _, err := b.ListDevices(ctx, ""); return err },
		"remove":               func() error { _, err := b.RemoveDevice(ctx, "u", "\xff"); return err },
		"verify device":        func() error { _, err := b.verify("u", "\x00", "123456"); return err },
		"code with U+0000":     func() error { return b.check("u", "12345\x00") },
		"code of broken text":  func() error { return b.check("u", "\xff12345") },
		"account": func() error {
			_, err := b.functions.GetUserIdentifierInfoForUserID(ctx, GetUserIdentifierInfoForUserIDInput{})
			return err
		},
	} {
		var bad *session.BadInputError
		assert.ErrorAs(t, call(), &bad, name)
	}
	assert.Zero(t, db.Rows("totp_devices"))
	assert.Zero(t, db.Rows("limits"))
	assert.NotEmpty(t, b.create(strings.Repeat("é", 128), strings.Repeat("é", 128)))
}

// D-03: a session that may only remove unverified devices never removes a verified one, however the two meet.
func TestRemovalOfUnverifiedDevicesOnly(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		ctx := withCaller(t.Context(), caller{unverifiedOnly: true, handle: "s1", tenantID: "public"})
		b.enrol("u", "phone")
		_, err := b.RemoveDevice(ctx, "u", "phone")
		assert.ErrorIs(t, err, errVerified)
		assert.Equal(t, []string{"phone"}, b.names("u"))
		b.create("u", "open")
		result, err := b.RemoveDevice(ctx, "u", "open")
		require.NoError(t, err)
		assert.True(t, result.DidDeviceExist)

		instances := b.instances()
		for range 10 {
			made := b.create("v", "new")
			right := b.code(made.Secret)
			results := count(instances, 2, func(b *bundle, i int) string {
				if i == 0 {
					_, err := b.verify("v", "new", right)
					return "verify " + outcome(err)
				}
				_, err := b.RemoveDevice(ctx, "v", "new")
				return "remove " + outcome(err)
			})
			if results["verify OK"] == 1 {
				assert.Equal(t, map[string]int{"verify OK": 1, "remove " + errVerified.Error(): 1}, results)
				assert.Equal(t, []string{"new"}, b.names("v"))
				_, err := b.RemoveDevice(t.Context(), "v", "new")
				require.NoError(t, err)
			} else {
				assert.Equal(t, map[string]int{"verify " + ErrUnknownDevice.Error(): 1, "remove OK": 1}, results)
			}
			for _, b := range instances {
				b.after(time.Minute)
			}
		}
	})
}
