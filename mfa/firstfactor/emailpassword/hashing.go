package emailpassword

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Hashing of passwords. The zero value is argon2id (RFC 9106) at OWASP's first recommendation: 19 MiB, 2 passes and 1 lane. Stored hashes of
// other kinds and costs go on working (argon2id, argon2i, bcrypt, and Firebase's scrypt); a right password whose hash is of another kind, or
// cheaper than configured, is hashed anew. No password over 1,024 bytes is hashed, and none over 72 by bcrypt.
type Hashing struct {
	Algorithm  Algorithm
	Argon2id   Argon2idCost
	BcryptCost int // the logarithm of the number of rounds; default 11, 10 to 31
	// MaxConcurrent hashes are computed at a time; others wait as long as their ctx allows. Each argon2id hash takes its memory. Default: the
	// number of CPUs that Go may use.
	MaxConcurrent int
	// FirebaseSignerKey is the base64 text of Firebase's console (Password hash parameters); without it imported $f_scrypt$ hashes match
	// nothing.
	FirebaseSignerKey string
	// InsecureLowCost allows costs below the bounds of this type: for tests only.
	InsecureLowCost bool
}

// Algorithm of new hashes.
type Algorithm string

// What new passwords may be hashed with.
const (
	Argon2id Algorithm = "argon2id" // the default
	Bcrypt   Algorithm = "bcrypt"
)

// Argon2idCost is what a hash costs; a field that is 0 has its default. Less than all of OWASP's choices (46 MiB and 1 pass, 19 and 2, 12 and 3,
// 9 and 4, 7 and 5) needs InsecureLowCost. Of two costs the cheaper one is that with less memory times passes.
type Argon2idCost struct {
	MemoryKiB int // default 19456, at most 1 GiB
	Passes    int // default 2, at most 1000
	Lanes     int // default 1, at most 255; those of one hash are computed in parallel
}

// owaspMinimum are the choices of OWASP's Password Storage Cheat Sheet.
var owaspMinimum = []Argon2idCost{{47104, 1, 1}, {19456, 2, 1}, {12288, 3, 1}, {9216, 4, 1}, {7168, 5, 1}}

// Bounds of what is computed, for passwords and for hashes out of storage.
const (
	maxPasswordBytes = 1024
	maxBcryptBytes   = 72
	maxMemoryKiB     = 1 << 20
	maxPasses        = 1000
	maxLanes         = 255
)

// Sizes of new argon2id hashes, as RFC 9106 recommends them.
const (
	argon2SaltBytes = 16
	argon2KeyBytes  = 32
)

// hasher computes and compares hashes, a bounded number at a time.
type hasher struct {
	cfg       Hashing // with its defaults
	signerKey []byte
	dummy     passwordHash
	random    io.Reader
	slots     chan struct{}
	compute   func(hash func()) // every hash is computed through this; tests count and hold it
}

// newHasher checks the configuration and reports all of its mistakes.
func newHasher(cfg Hashing, random io.Reader) (*hasher, []error) {
	setDefault(&cfg.Algorithm, Argon2id)
	setDefault(&cfg.Argon2id.MemoryKiB, 19456)
	setDefault(&cfg.Argon2id.Passes, 2)
	setDefault(&cfg.Argon2id.Lanes, 1)
	setDefault(&cfg.BcryptCost, 11)
	setDefault(&cfg.MaxConcurrent, runtime.GOMAXPROCS(0))
	h := &hasher{cfg: cfg, random: random, compute: func(hash func()) { hash() }}

	var errs []error
	report := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("emailpassword: Config.Hashing."+field+" "+format, args...))
	}
	if cfg.Algorithm != Argon2id && cfg.Algorithm != Bcrypt {
		report("Algorithm", "is %q; it may be Argon2id or Bcrypt", cfg.Algorithm)
	}
	if !cfg.Argon2id.computable() {
		report("Argon2id", "must have a MemoryKiB of at most %d and at least 8 for each lane, 1 to %d Passes, 1 to %d Lanes",
			maxMemoryKiB, maxPasses, maxLanes)
	} else if !cfg.Argon2id.strong() && !cfg.InsecureLowCost {
		report("Argon2id", "is less than all of OWASP's choices (such as 19456 KiB and 2 passes)")
	}
	switch {
	case cfg.BcryptCost < bcrypt.MinCost || cfg.BcryptCost > bcrypt.MaxCost:
		report("BcryptCost", "must be 10 to %d, or from %d on with InsecureLowCost", bcrypt.MaxCost, bcrypt.MinCost)
	case cfg.BcryptCost < 10 && !cfg.InsecureLowCost:
		report("BcryptCost", "must be at least 10")
	}
	if cfg.MaxConcurrent < 1 {
		report("MaxConcurrent", "must be at least 1")
	} else {
		h.slots = make(chan struct{}, cfg.MaxConcurrent)
	}
	var err error
	if h.signerKey, err = base64.StdEncoding.DecodeString(cfg.FirebaseSignerKey); err != nil {
		report("FirebaseSignerKey", "is not base64") // the error would quote a part of it
	}
	if len(errs) > 0 {
		return nil, errs
	}
	h.dummy = h.dummyHash()
	return h, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// computable reports whether the cost is within the bounds of the algorithm and of this program's patience.
func (c Argon2idCost) computable() bool {
	return c.Lanes >= 1 && c.Lanes <= maxLanes && c.Passes >= 1 && c.Passes <= maxPasses &&
		c.MemoryKiB >= 8*c.Lanes && c.MemoryKiB <= maxMemoryKiB
}

func (c Argon2idCost) strong() bool {
	for _, minimum := range owaspMinimum {
		if c.MemoryKiB >= minimum.MemoryKiB && c.Passes >= minimum.Passes {
			return true
		}
	}
	return false
}

func (c Argon2idCost) cheaperThan(other Argon2idCost) bool {
	return c.MemoryKiB*c.Passes < other.MemoryKiB*other.Passes
}

// dummyHash is a hash of the present algorithm and cost that no password has. It is compared where there is no hash to compare, so that an
// unknown account takes as many hash operations as a known one.
func (h *hasher) dummyHash() passwordHash {
	if h.cfg.Algorithm == Bcrypt {
		return bcryptHash{minor: 'a', cost: h.cfg.BcryptCost, text: []byte(fmt.Sprintf("$2a$%02d$%s", h.cfg.BcryptCost, bcryptZeros))}
	}
	return argon2Hash{cost: h.cfg.Argon2id, salt: make([]byte, argon2SaltBytes), key: make([]byte, argon2KeyBytes)}
}

// refuse says, for whoever chose the password, why it cannot be hashed; "" when it can.
func (h *hasher) refuse(password string) (problem string) {
	if len(password) > h.maxBytes() {
		return fmt.Sprintf("Password must not be longer than %d bytes", h.maxBytes())
	}
	return ""
}

func (h *hasher) maxBytes() int {
	if h.cfg.Algorithm == Bcrypt {
		return maxBcryptBytes
	}
	return maxPasswordBytes
}

// hash returns the text to store for a new password that refuse lets pass.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	var text string
	var err error
	if waitErr := h.run(ctx, func() { text, err = h.newHash(password) }); waitErr != nil {
		return "", waitErr
	}
	if err != nil {
		return "", fmt.Errorf("emailpassword: hashing a password: %w", err)
	}
	return text, nil
}

func (h *hasher) newHash(password string) (string, error) {
	if h.cfg.Algorithm == Bcrypt {
		text, err := bcrypt.GenerateFromPassword([]byte(password), h.cfg.BcryptCost)
		return string(text), err
	}
	cost := h.cfg.Argon2id
	salt := make([]byte, argon2SaltBytes)
	if _, err := io.ReadFull(h.random, salt); err != nil {
		return "", err
	}
	key := argon2.IDKey([]byte(password), salt, uint32(cost.Passes), uint32(cost.MemoryKiB), uint8(cost.Lanes), argon2KeyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, cost.MemoryKiB, cost.Passes, cost.Lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// check compares a password with a stored hash. An *unusableHashError says that the hash can match nothing; then the dummy was compared. Other
// errors are those of ctx.
func (h *hasher) check(ctx context.Context, password, stored string) (right bool, err error) {
	hash, unusable := h.parse(stored)
	if unusable != nil {
		if err := h.checkDummy(ctx, password); err != nil {
			return false, err
		}
		return false, unusable
	}
	err = h.run(ctx, func() { right = hash.matches(password) })
	return right, err
}

// checkDummy takes the time of a check that fails.
func (h *hasher) checkDummy(ctx context.Context, password string) error {
	return h.run(ctx, func() { h.dummy.matches(password) })
}

// outdated reports whether a password that matched the stored hash should be hashed anew: the hash is of another kind than new ones, or cheaper.
func (h *hasher) outdated(password, stored string) bool {
	hash, err := h.parse(stored)
	if err != nil || len(password) > h.maxBytes() {
		return false
	}
	switch hash := hash.(type) {
	case argon2Hash:
		return h.cfg.Algorithm != Argon2id || hash.i || hash.cost.cheaperThan(h.cfg.Argon2id) ||
			len(hash.salt) < argon2SaltBytes || len(hash.key) < argon2KeyBytes
	case bcryptHash:
		// Bcrypt did not look beyond 72 bytes: nothing proves that the rest is what the user chose.
		provesAll := len(password) <= maxBcryptBytes
		return provesAll && (h.cfg.Algorithm != Bcrypt || hash.cost < h.cfg.BcryptCost || hash.minor == 'x')
	default:
		return true
	}
}

// run computes one hash when a slot is free. Who stops waiting leaves the queue.
func (h *hasher) run(ctx context.Context, hash func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.slots }()
	h.compute(hash)
	return nil
}
