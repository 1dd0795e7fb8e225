package emailpassword

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cheap is a hashing that tests can afford.
var cheap = Hashing{Argon2id: Argon2idCost{MemoryKiB: 64, Passes: 1}, BcryptCost: 4, InsecureLowCost: true}

func newTestHasher(t *testing.T, cfg Hashing) *hasher {
	t.Helper()
	h, errs := newHasher(cfg, rand.Reader)
	require.Empty(t, errs)
	return h
}

// The project key of the vectors of github.com/firebase/scrypt.
const firebaseKey = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="

const firebaseVector = "$f_scrypt$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==" +
	"$42xEC+ixf3L2lw==$m=14$r=8$s=Bw=="

// P-02: hashes of other programs work. The vectors of argon2 are those of the reference implementation's test.c and, for several lanes and
// UTF-8, of libargon2; those of bcrypt come from jBCrypt and crypt_blowfish.
func TestPublishedHashes(t *testing.T) {
	t.Parallel()
	cfg := cheap
	cfg.FirebaseSignerKey = firebaseKey
	h := newTestHasher(t, cfg)
	for _, v := range []struct{ name, password, hash string }{
		{"argon2id", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"argon2id, 2 lanes", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"argon2id, 4 lanes", "d3 🔑", "$argon2id$v=19$m=64,t=1,p=4$MDEyMzQ1Njc4OWFiY2RlZg$M8IJ7fZvfzuq+wNnruXJdMNLrAOrwCSkUOTluA9zJ9M"},
		{"argon2id, short key", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$2mzTAI85jwP6+k/mHDeH3OgNt7E86G5W"},
		{"argon2i", "password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"},
		{"argon2i, 2 lanes", "password", "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E"},
		{"bcrypt 2a", "abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
		{"bcrypt 2a, 1 byte", "a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"},
		{"bcrypt 2b", "U*U*U", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
		{"bcrypt 2x", "U*U*U", "$2x$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
		{"bcrypt 2y", "\xa3", "$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq"},
		{"bcrypt, beyond 72 bytes", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored",
			"$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"},
		{"firebase", "user1password", firebaseVector},
		{"firebase, alphabet of URLs", "user1password", strings.NewReplacer("/", "_", "+", "-", "==", "").Replace(firebaseVector[:110]) +
			firebaseVector[110:]},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			right, err := h.check(t.Context(), v.password, v.hash)
			require.NoError(t, err)
			assert.True(t, right)
			right, err = h.check(t.Context(), "!"+v.password, v.hash)
			require.NoError(t, err)
			assert.False(t, right)
		})
	}
}

// P-02: argon2id by default, at OWASP's first recommendation, with its parameters in the text and a new salt each time.
func TestNewHashes(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, Hashing{})
	text, err := h.hash(t.Context(), "  d3    ")
	require.NoError(t, err)
	assert.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, text)
	right, err := h.check(t.Context(), "  d3    ", text)
	require.NoError(t, err)
	assert.True(t, right)
	right, err = h.check(t.Context(), "d3", text)
	require.NoError(t, err)
	assert.False(t, right, "passwords are not trimmed")

	again, err := h.hash(t.Context(), "  d3    ")
	require.NoError(t, err)
	assert.NotEqual(t, text, again)

	cfg := cheap
	cfg.Algorithm = Bcrypt
	h = newTestHasher(t, cfg)
	text, err = h.hash(t.Context(), "right password 1")
	require.NoError(t, err)
	assert.Regexp(t, `^\$2a\$04\$.{53}$`, text)
	right, err = h.check(t.Context(), "right password 1", text)
	require.NoError(t, err)
	assert.True(t, right)
}

func TestLengthOfNewPasswords(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	assert.Empty(t, h.refuse(strings.Repeat("x", 1024)))
	assert.Equal(t, "Password must not be longer than 1024 bytes", h.refuse(strings.Repeat("x", 1025)))

	cfg := cheap
	cfg.Algorithm = Bcrypt
	h = newTestHasher(t, cfg)
	assert.Empty(t, h.refuse(strings.Repeat("x", 72)))
	assert.Equal(t, "Password must not be longer than 72 bytes", h.refuse(strings.Repeat("x", 73)))
}

// P-02: what is hashed anew after a right password.
func TestOutdatedHashes(t *testing.T) {
	t.Parallel()
	const salt, key = "MDEyMzQ1Njc4OWFiY2RlZg", "M8IJ7fZvfzuq+wNnruXJdMNLrAOrwCSkUOTluA9zJ9M"
	argon2 := Hashing{}
	bcrypt := Hashing{Algorithm: Bcrypt}
	for _, c := range []struct {
		name     string
		cfg      Hashing
		password string
		stored   string
		outdated bool
	}{
		{"same", argon2, "p", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key, false},
		{"fewer passes", argon2, "p", "$argon2id$v=19$m=19456,t=1,p=1$" + salt + "$" + key, true},
		{"less memory", argon2, "p", "$argon2id$v=19$m=12288,t=3,p=1$" + salt + "$" + key, true},
		{"more memory, fewer passes, dearer", argon2, "p", "$argon2id$v=19$m=87795,t=1,p=2$" + salt + "$" + key, false},
		{"short salt", argon2, "p", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$" + key, true},
		{"short key", argon2, "p", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$2mzTAI85jwP6+k/mHDeH3OgNt7E86G5W", true},
		{"argon2i", argon2, "p", "$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + key, true},
		{"bcrypt under argon2id", argon2, "p", "$2a$12$" + bcryptZeros, true},
		{"bcrypt saw only a part", argon2, strings.Repeat("p", 73), "$2a$12$" + bcryptZeros, false},
		{"firebase", Hashing{FirebaseSignerKey: firebaseKey}, "p", firebaseVector, true},
		{"bcrypt, same", bcrypt, "p", "$2b$11$" + bcryptZeros, false},
		{"bcrypt, dearer", bcrypt, "p", "$2y$12$" + bcryptZeros, false},
		{"bcrypt, cheaper", bcrypt, "p", "$2a$10$" + bcryptZeros, true},
		{"bcrypt of the faulty kind", bcrypt, "p", "$2x$11$" + bcryptZeros, true},
		{"argon2id under bcrypt", bcrypt, "p", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key, true},
		{"too long for bcrypt", bcrypt, strings.Repeat("p", 73), "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key, false},
		{"unusable", argon2, "p", "junk", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.outdated, newTestHasher(t, c.cfg).outdated(c.password, c.stored))
		})
	}
}

// An unusable hash is an error of its own, not a wrong password, and takes as many operations as any other.
func TestUnusableHashes(t *testing.T) {
	t.Parallel()
	const zeroes = "MDEyMzQ1Njc4OWFiY2RlZg$M8IJ7fZvfzuq+wNnruXJdMNLrAOrwCSkUOTluA9zJ9M"
	for _, stored := range []string{
		"",
		"plain text",
		"$argon2d$v=19$m=64,t=1,p=1$" + zeroes,
		"$argon2id$m=64,t=1,p=1$" + zeroes,
		"$argon2id$v=16$m=64,t=1,p=1$" + zeroes,
		"$argon2id$v=19$m=0,t=1,p=1$" + zeroes,
		"$argon2id$v=19$m=64,t=0,p=1$" + zeroes,
		"$argon2id$v=19$m=64,t=1,p=0$" + zeroes,
		"$argon2id$v=19$m=64,t=1,p=9$" + zeroes,
		"$argon2id$v=19$m=1048577,t=1,p=1$" + zeroes,
		"$argon2id$v=19$m=99999999999,t=1,p=1$" + zeroes,
		"$argon2id$v=19$m=64,t=1001,p=1$" + zeroes,
		"$argon2id$v=19$m=4096,t=1,p=256$" + zeroes,
		"$argon2id$v=19$m=64,t=1,p=1$" + zeroes + "=",
		"$argon2id$v=19$m=64,t=1,p=1$" + zeroes + "$",
		"$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA",
		"$argon2id$v=19$m=64,t=1,p=1$$",
		"$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZh$M8IJ7fZvfzuq+wNnruXJdMNLrAOrwCSkUOTluA9zJ9M", // bits that mean nothing
		"$2a$04$" + bcryptZeros[1:],
		"$2a$04$" + bcryptZeros + ".",
		"$2a$03$" + bcryptZeros,
		"$2a$32$" + bcryptZeros,
		"$2c$04$" + bcryptZeros,
		"$2$04$" + bcryptZeros,
		"$3a$04$" + bcryptZeros,
		"$2a$04$" + strings.Replace(bcryptZeros, ".", "!", 1),
		"$f_scrypt$AAAA$AAAA$m=0$r=8$s=AA",
		"$f_scrypt$AAAA$AAAA$m=21$r=8$s=AA",
		"$f_scrypt$AAAA$AAAA$m=20$r=99$s=AA",
		"$f_scrypt$AAAA$AAAA$m=14$r=0$s=AA",
		"$f_scrypt$AAAAA$AAAA$m=14$r=8$s=AA",
		"$f_scrypt$$AAAA$m=14$r=8$s=AA",
		"$f_scrypt$AAAA$AAAA$m=14$r=8",
	} {
		t.Run(stored, func(t *testing.T) {
			t.Parallel()
			cfg := cheap
			cfg.FirebaseSignerKey = firebaseKey
			h := newTestHasher(t, cfg)
			operations := countOperations(h)
			right, err := h.check(t.Context(), "password", stored)
			var unusable *unusableHashError
			require.ErrorAs(t, err, &unusable)
			assert.False(t, right)
			assert.EqualValues(t, 1, operations.Load())
			if len(stored) > 20 {
				assert.NotContains(t, err.Error(), stored[len(stored)-20:])
			}
		})
	}

	_, err := newTestHasher(t, cheap).check(t.Context(), "user1password", firebaseVector)
	assert.EqualError(t, err, "unusable password hash: Config.Hashing.FirebaseSignerKey is not set")
}

func countOperations(h *hasher) *atomic.Int64 {
	var n atomic.Int64
	h.compute = func(hash func()) {
		n.Add(1)
		hash()
	}
	return &n
}

// watch counts all operations, and the most that run at a time.
func watch(h *hasher) (all, most *atomic.Int64) {
	all, most = new(atomic.Int64), new(atomic.Int64)
	var running atomic.Int64
	h.compute = func(hash func()) {
		all.Add(1)
		n := running.Add(1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		hash()
		running.Add(-1)
	}
	return all, most
}

// The dummy has the present algorithm and cost, and no password.
func TestDummyHash(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Hashing{
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": {},
		"$argon2id$v=19$m=32768,t=3,p=2$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": {
			Argon2id: Argon2idCost{MemoryKiB: 32768, Passes: 3, Lanes: 2}},
		"$2a$10$" + bcryptZeros: {Algorithm: Bcrypt, BcryptCost: 10},
	} {
		h := newTestHasher(t, cfg)
		expected, err := h.parse(name)
		require.NoError(t, err)
		assert.Equal(t, expected, h.dummy)
		assert.False(t, h.outdated("password", name))
		assert.False(t, h.dummy.matches(""))
		operations := countOperations(h)
		require.NoError(t, h.checkDummy(t.Context(), "password"))
		assert.EqualValues(t, 1, operations.Load())
	}
}

// L-09: no more hashes at a time than configured; who waits does so as long as its ctx allows, and leaves the queue then.
func TestHashesAtATime(t *testing.T) {
	t.Parallel()
	cfg := cheap
	cfg.MaxConcurrent = 3
	h := newTestHasher(t, cfg)
	hashed, most := watch(h)
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			_, err := h.hash(context.Background(), "password")
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	assert.EqualValues(t, 100, hashed.Load())
	assert.LessOrEqual(t, most.Load(), int64(3))

	entered, leave := make(chan struct{}), make(chan struct{})
	h.compute = func(hash func()) {
		entered <- struct{}{}
		<-leave
		hash()
	}
	for range 3 {
		wait.Go(func() { assert.NoError(t, h.checkDummy(context.Background(), "password")) })
	}
	for range 3 {
		<-entered
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := h.check(ctx, "password", "$2a$04$"+bcryptZeros)
		gaveUp <- err
	}()
	cancel()
	require.ErrorIs(t, <-gaveUp, context.Canceled)
	_, err := h.hash(ctx, "password")
	require.ErrorIs(t, err, context.Canceled)
	close(leave)
	wait.Wait()
}

// A panic or an error while hashing gives its slot back.
func TestFailingHash(t *testing.T) {
	t.Parallel()
	cfg := cheap
	cfg.MaxConcurrent = 1
	h, errs := newHasher(cfg, iotest.ErrReader(errors.New("no randomness")))
	require.Empty(t, errs)
	_, err := h.hash(t.Context(), "password")
	require.EqualError(t, err, "emailpassword: hashing a password: no randomness")

	h.random = bytes.NewReader(make([]byte, 15))
	_, err = h.hash(t.Context(), "password")
	require.Error(t, err, "15 bytes of salt are not enough")

	compute := h.compute
	h.compute = func(func()) { panic("out of memory") }
	assert.Panics(t, func() { h.checkDummy(t.Context(), "password") })
	h.compute = compute
	require.NoError(t, h.checkDummy(t.Context(), "password"))
}

func TestHashingConfiguration(t *testing.T) {
	t.Parallel()
	for _, minimum := range owaspMinimum {
		_, errs := newHasher(Hashing{Argon2id: minimum}, rand.Reader)
		assert.Empty(t, errs, "%v", minimum)
		minimum.MemoryKiB--
		_, errs = newHasher(Hashing{Argon2id: minimum}, rand.Reader)
		assert.Len(t, errs, 1, "%v", minimum)
	}
	for _, cfg := range []Hashing{cheap, {Algorithm: Bcrypt, BcryptCost: 31}, {Argon2id: Argon2idCost{Lanes: 255}}, {FirebaseSignerKey: firebaseKey}} {
		_, errs := newHasher(cfg, rand.Reader)
		assert.Empty(t, errs, "%v", cfg)
	}

	_, errs := newHasher(Hashing{
		Algorithm: "md5", Argon2id: Argon2idCost{MemoryKiB: 1 << 21}, BcryptCost: 9, MaxConcurrent: -1, FirebaseSignerKey: "secret!",
	}, rand.Reader)
	assert.EqualError(t, errors.Join(errs...), strings.Join([]string{
		`emailpassword: Config.Hashing.Algorithm is "md5"; it may be Argon2id or Bcrypt`,
		`emailpassword: Config.Hashing.Argon2id must have a MemoryKiB of at most 1048576 and at least 8 for each lane, 1 to 1000 Passes, ` +
			`1 to 255 Lanes`,
		`emailpassword: Config.Hashing.BcryptCost must be at least 10`,
		`emailpassword: Config.Hashing.MaxConcurrent must be at least 1`,
		`emailpassword: Config.Hashing.FirebaseSignerKey is not base64`,
	}, "\n"))

	for _, cfg := range []Hashing{
		{BcryptCost: 3, InsecureLowCost: true}, {BcryptCost: 32}, {Argon2id: Argon2idCost{MemoryKiB: 7}, InsecureLowCost: true},
		{Argon2id: Argon2idCost{Passes: -1}}, {Argon2id: Argon2idCost{Lanes: 256}}, {Argon2id: Argon2idCost{Passes: 1001}},
	} {
		_, errs := newHasher(cfg, rand.Reader)
		assert.Len(t, errs, 1, "%v", cfg)
	}
}
