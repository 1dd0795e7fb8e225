package totp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/session"
)

func TestVerifyDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		made := b.create("u", "phone")
		_, err := b.verify("u", "phone", b.wrong(made.Secret))
		assert.Equal(t, invalid(1), err)
		_, err = b.verify("u", "none", b.code(made.Secret))
		assert.ErrorIs(t, err, ErrUnknownDevice)
		_, err = b.verify("stranger", "phone", b.code(made.Secret))
		assert.ErrorIs(t, err, ErrUnknownDevice)
		result, err := b.verify("u", "phone", b.code(made.Secret))
		require.NoError(t, err)
		assert.False(t, result.WasAlreadyVerified)
		assert.Equal(t, []string{
			"factor.checked u wrong", "factor.checked u unknown", "factor.checked stranger unknown", "factor.checked u +", "factor.set_up u +",
		}, b.taken())

		before := db.Dump()
		for _, anything := range []string{b.wrong(made.Secret), b.code(made.Secret), "", strings.Repeat("x", 100)} {
			result, err = b.verify("u", "phone", anything)
			require.NoError(t, err)
			assert.True(t, result.WasAlreadyVerified)
		}
		assert.Equal(t, before, db.Dump(), "nothing was looked at or counted")
		assert.Empty(t, b.taken())
	})
}

func TestVerifyTOTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		assert.ErrorIs(t, b.check("u", "123456"), ErrUnknownUserID)
		made := b.create("u", "")
		assert.Equal(t, invalid(1), b.check("u", b.code(made.Secret)), "F-03: an unverified device has no codes")
		_, err := b.verify("u", made.DeviceName, b.code(made.Secret))
		require.NoError(t, err)
		assert.Equal(t, invalid(1), b.check("u", b.code(made.Secret)), "T-06: the code that verified the device")
		b.after(30 * time.Second)
		require.NoError(t, b.check("u", b.code(made.Secret)))
		assert.Equal(t, invalid(1), b.check("u", b.code(made.Secret)), "once")
		require.NoError(t, b.check("u", code(t, made.Secret, b.now.Add(30*time.Second), 30)), "the next period, skew 1")
		b.after(60 * time.Second)
		assert.Equal(t, invalid(1), b.check("u", code(t, made.Secret, b.now.Add(-30*time.Second), 30)), "that of the period before was used")
		require.NoError(t, b.check("u", b.code(made.Secret)))
		b.after(10 * time.Minute)
		assert.Equal(t, invalid(1), b.check("u", code(t, made.Secret, b.now.Add(-60*time.Second), 30)), "too old")
		assert.Equal(t, invalid(2), b.check("u", code(t, made.Secret, b.now.Add(60*time.Second), 30)), "too early")
		require.NoError(t, b.check("u", b.code(made.Secret)))
		b.after(30 * time.Second)
		require.NoError(t, b.check("u", code(t, made.Secret, b.now.Add(30*time.Second), 30)))
		assert.Equal(t, invalid(1), b.check("u", b.code(made.Secret)), "older than the newest one that was used, though not used itself")
		assert.Equal(t, []string{
			"factor.checked u unknown", "factor.checked u wrong", "factor.checked u +", "factor.set_up u +", "factor.checked u replayed",
			"factor.checked u +", "factor.checked u replayed", "factor.checked u +", "factor.checked u replayed", "factor.checked u +",
			"factor.checked u wrong", "factor.checked u wrong", "factor.checked u +", "factor.checked u +", "factor.checked u replayed",
		}, b.taken())
	})
}

// The code that completed the factor cannot verify a device that shares its secret.
func TestCodeOfTheFactorVerifiesNoDevice(t *testing.T) { // T-06
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	made := b.create("u", "phone")
	_, err := b.verify("u", "phone", b.code(made.Secret))
	require.NoError(t, err)
	_, err = b.verify("u", "phone", b.code(made.Secret))
	require.NoError(t, err, "already verified")
	assert.Equal(t, invalid(1), b.check("u", b.code(made.Secret)))
}

func TestSkewOfADevice(t *testing.T) { // T-03
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *Config, _ *parts) { cfg.DefaultSkew = new(0) })
	made := b.create("u", "phone")
	for _, shift := range []time.Duration{-30 * time.Second, 30 * time.Second} {
		_, err := b.verify("u", "phone", code(t, made.Secret, b.now.Add(shift), 30))
		assert.Error(t, err)
	}
	_, err := b.verify("u", "phone", b.code(made.Secret))
	require.NoError(t, err)
}

// T-04: a code that was used one step early is refused in every second for which it could be accepted.
func TestReplayInEverySecond(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(_ *Config, p *parts) {
		p.attempts = limits.Attempts{Max: 6, Cooldown: time.Millisecond}
	})
	secret := b.enrol("u", "phone")
	b.after(time.Minute)
	early := code(t, secret, b.now.Add(30*time.Second), 30)
	require.NoError(t, b.check("u", early))
	b.taken()
	for range 90 {
		require.Equal(t, &InvalidTOTPError{1, 6}, b.check("u", early))
		require.Equal(t, []string{"factor.checked u replayed"}, b.taken())
		b.after(time.Second)
	}
	require.Equal(t, &InvalidTOTPError{1, 6}, b.check("u", early))
	assert.Equal(t, []string{"factor.checked u wrong"}, b.taken(), "then it is any wrong code")
}

func TestLimit(t *testing.T) { // L-01, L-07
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		b.after(time.Hour)
		begin := b.now
		right := func() string { return b.code(secret) }
		wrong := func() string { return b.wrong(secret) }
		var second string
		for _, step := range []struct {
			second int
			code   func() string
			want   error
			event  string
		}{
			{0, wrong, invalid(1), "wrong"},
			{1, wrong, invalid(2), "wrong"},
			{2, wrong, invalid(3), "wrong"},
			{3, wrong, invalid(4), "wrong"},
			{4, wrong, invalid(5), "wrong"},
			{5, wrong, limited(899 * time.Second), "limited"},
			{6, right, limited(898 * time.Second), "limited"},
			{903, right, limited(time.Second), "limited"},
			{904, wrong, invalid(1), "wrong"},
			{905, func() string { return "123456789" }, invalid(2), "wrong"},
			{906, wrong, invalid(2), "wrong"},
			{907, right, nil, "+"},
			{908, func() string { second = code(t, secret, b.now.Add(30*time.Second), 30); return second }, nil, "+"},
			{909, func() string { return second }, invalid(1), "replayed"},
			{910, wrong, invalid(2), "wrong"},
		} {
			b.taken()
			b.at(begin.Add(time.Duration(step.second) * time.Second))
			if step.second == 903 {
				require.NoError(t, b.sweepUnverified(t.Context()))
				require.NoError(t, limits.Sweep(t.Context(), db.Backend, b.now))
			}
			err := b.check("u", step.code())
			require.Equal(t, step.want, err, "at second %d", step.second)
			require.Equal(t, []string{"factor.checked u " + step.event}, b.taken(), "at second %d", step.second)
		}
	})
}

// L-06, R-03: every door spends the one budget: both functions, all devices, and what other factors reserve.
func TestOneBudget(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		secret := b.enrol("u", "phone")
		open := b.create("u", "open")
		assert.Equal(t, invalid(1), b.check("u", b.wrong(secret, open.Secret)))
		_, err := b.verify("u", "open", b.wrong(secret, open.Secret))
		assert.Equal(t, invalid(2), err)
		failed, err := b.attempts.Reserve(ctx, db.Backend, "u", b.now)
		require.NoError(t, err)
		assert.Equal(t, 3, failed)
		assert.Equal(t, invalid(4), b.check("u", b.wrong(secret, open.Secret)))
		_, err = b.RemoveDevice(ctx, "u", "open")
		require.NoError(t, err)
		open = b.create("u", "open")
		_, err = b.verify("u", "open", b.wrong(secret, open.Secret))
		assert.Equal(t, invalid(5), err, "neither removing nor creating a device gives anything back")

		wait := limited(15 * time.Minute)
		assert.Equal(t, wait, b.check("u", b.code(secret)))
		_, err = b.verify("u", "open", b.code(open.Secret))
		assert.Equal(t, wait, err)
		_, err = b.attempts.Reserve(ctx, db.Backend, "u", b.now)
		assert.Equal(t, &limits.SpentError{RetryAfter: 15 * time.Minute}, err)
		require.NoError(t, b.UpdateDevice(ctx, "u", "open", "still open"), "what guesses nothing works")
		result, err := b.verify("u", "phone", "")
		require.NoError(t, err)
		assert.True(t, result.WasAlreadyVerified)

		require.NoError(t, limits.ResetAttempts(ctx, db.Backend, "u", b.now))
		require.NoError(t, b.check("u", b.code(secret)))
	})
}

func TestStopAfterHundredFailures(t *testing.T) { // L-01
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	secret := b.enrol("u", "phone")
	for i := range 100 {
		require.Equal(t, invalid(1), b.check("u", b.wrong(secret)), "failure %d", i+1)
		b.after(15 * time.Minute)
	}
	b.taken()
	assert.Equal(t, limited(15*time.Minute), b.check("u", b.code(secret)))
	assert.Equal(t, []string{"factor.checked u stopped"}, b.taken())
	b.after(1000 * 24 * time.Hour)
	assert.Equal(t, limited(15*time.Minute), b.check("u", b.code(secret)))
	require.NoError(t, limits.ResetAttempts(t.Context(), b.db.Backend, "u", b.now))
	require.NoError(t, b.check("u", b.code(secret)))
}

// T-08: what was used and what failed counts on all tenants together.
func TestTenants(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b, ctx := newBundle(t, db), t.Context()
		run(t, db, `INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('t1', '{}', 0)`)
		secret := b.enrol("u", "phone")
		require.NoError(t, b.VerifyTOTP(ctx, "T1 ", "u", b.code(secret)))
		assert.Equal(t, invalid(1), b.VerifyTOTP(ctx, "public", "u", b.code(secret)))
		assert.Equal(t, invalid(2), b.VerifyTOTP(ctx, "t1", "u", b.code(secret)))

		b.after(time.Minute)
		before := db.Dump()
		b.taken()
		for _, tenant := range []string{"t2", "no tenant", "u", "\x00"} {
			assert.ErrorIs(t, b.VerifyTOTP(ctx, tenant, "u", b.code(secret)), session.ErrTenantNotFound, tenant)
			_, err := b.VerifyDevice(ctx, VerifyDeviceInput{TenantID: tenant, UserID: "u", DeviceName: "phone", TOTP: b.code(secret)})
			assert.ErrorIs(t, err, session.ErrTenantNotFound, tenant)
		}
		assert.Empty(t, b.taken())
		assert.Equal(t, before, db.Dump())
		require.NoError(t, b.VerifyTOTP(ctx, "", "u", b.code(secret)))
		assert.Equal(t, "public", b.events[0].TenantID)
		b.after(30 * time.Second)
		require.NoError(t, b.VerifyTOTP(ctx, "T1", "u", b.code(secret)))
		assert.Equal(t, "t1", b.events[1].TenantID)
	})
}

func TestFormsOfACode(t *testing.T) { // T-07
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(_ *Config, p *parts) { p.attempts.Cooldown = time.Millisecond })
	secret := b.enrol("u", "phone")
	used := b.code(secret)
	require.NoError(t, b.check("u", " "+used[:2]+" "+used[2:4]+" "+used[4:]+" "))
	for _, again := range []string{used, " " + used, used + " ", used[:3] + " " + used[3:]} {
		b.taken()
		assert.Equal(t, invalid(1), b.check("u", again))
		assert.Equal(t, []string{"factor.checked u replayed"}, b.taken())
		b.after(time.Millisecond)
	}
	rows := b.db.Dump("limits")
	for _, text := range []string{strings.Repeat("1", 9), strings.Repeat("9", 1<<20), strings.Repeat("é", 9)} {
		assert.Equal(t, invalid(1), b.check("u", text))
	}
	assert.Equal(t, rows, b.db.Dump("limits"), "too long to be a slip: not recorded")
	b.after(15 * time.Minute)
	for _, text := range []string{"", "12345", "abcd", "1234567", "12345678", "１２３４５６", used[:5] + "\t"} {
		rows := b.db.Dump("limits")
		assert.Equal(t, invalid(1), b.check("u", text), "%q", text)
		assert.NotEqual(t, rows, b.db.Dump("limits"), "%q is counted", text)
		b.after(time.Millisecond)
	}
}

// Several devices: a code of any will do, of each once.
func TestSeveralDevices(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	var secrets []string
	for i := range 5 {
		made, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u", DeviceName: fmt.Sprint(i), Period: time.Duration(20+5*i) * time.Second})
		require.NoError(t, err)
		_, err = b.verify("u", made.DeviceName, code(t, made.Secret, b.now, int64(20+5*i)))
		require.NoError(t, err)
		secrets = append(secrets, made.Secret)
	}
	b.after(2 * time.Minute)
	for i, secret := range secrets {
		right := code(t, secret, b.now, int64(20+5*i))
		require.NoError(t, b.check("u", right), "device %d", i)
		assert.Equal(t, invalid(1), b.check("u", right), "device %d", i)
	}
}

func TestClockThatGoesBackOpensNoUsedStep(t *testing.T) { // I-05
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	secret := b.enrol("u", "phone")
	b.after(time.Hour)
	used := b.code(secret)
	require.NoError(t, b.check("u", used))
	b.after(-time.Hour)
	assert.Equal(t, invalid(1), b.check("u", b.code(secret)), "passed")
	b.after(time.Hour)
	assert.Equal(t, invalid(1), b.check("u", used))
	b.after(30 * time.Second)
	require.NoError(t, b.check("u", b.code(secret)))
}

// G-01, G-03: the HTTP APIs say in which session it was; the budget that a right password could not get past is told once.
func TestEventsOfASession(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"))
	secret := b.enrol("u", "phone")
	b.after(time.Minute)
	b.taken()
	ctx := withCaller(t.Context(), caller{handle: "s1", afterPassword: true})
	for range 6 {
		require.Error(t, b.VerifyTOTP(ctx, "", "u", b.wrong(secret)))
	}
	require.Error(t, b.VerifyTOTP(ctx, "", "u", strings.Repeat("1", 9)))
	for _, e := range b.events {
		assert.Equal(t, "s1", e.SessionHandle)
		assert.Equal(t, "public", e.TenantID)
		assert.Equal(t, start.Add(time.Minute), e.Time)
		assert.False(t, e.OK)
	}
	assert.Equal(t, []string{
		"factor.checked u wrong", "factor.checked u wrong", "factor.checked u wrong", "factor.checked u wrong", "factor.checked u wrong",
		"password.known u limited", "factor.checked u limited", "factor.checked u limited",
	}, b.taken())

	b.after(time.Hour)
	for range 6 {
		require.Error(t, b.check("u", b.wrong(secret)))
	}
	assert.NotContains(t, b.taken(), "password.known u limited", "no password was right")
}

func TestSinkThatPanics(t *testing.T) { // G-03
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(_ *Config, p *parts) {
		p.env.OnEvent = func(context.Context, env.Event) { panic("the sink is broken") }
	})
	secret := b.enrol("u", "phone")
	assert.Equal(t, invalid(1), b.check("u", b.wrong(secret)))
	require.NoError(t, b.check("u", b.code(secret)))
	assert.Contains(t, b.log.String(), "the sink is broken")
}

// L-04: a rollback of the host would give the attempt back, so nothing is compared.
func TestInsideATransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		compared := 0
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		b.create("u", "open")
		generate := b.generate
		b.generate = func(secret string, counter uint64) (string, error) { compared++; return generate(secret, counter) }
		before := db.Dump()
		err := db.Backend.Tx(t.Context(), func(ctx context.Context) error {
			assert.ErrorIs(t, b.VerifyTOTP(ctx, "", "u", b.code(secret)), storage.ErrInsideTx)
			_, err := b.VerifyDevice(ctx, VerifyDeviceInput{UserID: "u", DeviceName: "open", TOTP: "123456"})
			assert.ErrorIs(t, err, storage.ErrInsideTx)
			return nil
		})
		require.NoError(t, err)
		assert.Zero(t, compared)
		assert.Equal(t, before, db.Dump())

		// Devices are made and removed in it, and go with it.
		err = db.Backend.Tx(t.Context(), func(ctx context.Context) error {
			_, err := b.CreateDevice(ctx, CreateDeviceInput{UserID: "u", UserIdentifierInfo: "u", DeviceName: "new"})
			require.NoError(t, err)
			_, err = b.RemoveDevice(ctx, "u", "phone")
			require.NoError(t, err)
			return context.Canceled
		})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, []string{"open?", "phone"}, b.names("u"))
	})
}

// L-04: whoever hangs up after the code was looked at does not get the attempt back, and before that nothing is looked at.
func TestCallerThatHangsUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		ctx, hangUp := context.WithCancel(t.Context())
		generate := b.generate
		b.generate = func(secret string, counter uint64) (string, error) { hangUp(); return generate(secret, counter) }
		assert.Equal(t, invalid(1), b.VerifyTOTP(ctx, "", "u", b.wrong(secret)))
		assert.Contains(t, db.Dump("limits"), "failures=1")

		before := db.Dump()
		assert.ErrorIs(t, b.VerifyTOTP(ctx, "", "u", b.wrong(secret)), context.Canceled)
		assert.Equal(t, before, db.Dump())
	})
}
