package emailpassword

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// passwordHash is a stored hash that was understood.
type passwordHash interface {
	// matches computes the hash of the password, which is slow, and compares in constant time.
	matches(password string) bool
}

// unusableHashError says why no password can match a stored hash. It holds nothing of the hash.
type unusableHashError struct{ why string }

func (e *unusableHashError) Error() string { return "unusable password hash: " + e.why }

func unusable(format string, args ...any) error {
	return &unusableHashError{fmt.Sprintf(format, args...)}
}

// parse understands a stored hash by its beginning.
func (h *hasher) parse(text string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"), strings.HasPrefix(text, "$argon2i$"):
		return parseArgon2(text)
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$f_scrypt$"):
		return parseFirebase(text, h.signerKey)
	}
	return nil, unusable("it is of no known kind")
}

// argon2Hash is the PHC text $argon2id$v=19$m=19456,t=2,p=1$salt$key.
type argon2Hash struct {
	i         bool // argon2i, not argon2id
	cost      Argon2idCost
	salt, key []byte
}

var argon2Form = regexp.MustCompile(`^\$argon2(id?)\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

func parseArgon2(text string) (passwordHash, error) {
	m := argon2Form.FindStringSubmatch(text)
	if m == nil {
		return nil, unusable("it is not the form of an argon2 hash of version 19")
	}
	h := argon2Hash{i: m[1] == "i", cost: Argon2idCost{MemoryKiB: number(m[2]), Passes: number(m[3]), Lanes: number(m[4])}}
	if !h.cost.computable() {
		return nil, unusable("its argon2 cost is out of bounds")
	}
	var saltErr, keyErr error
	h.salt, saltErr = base64.RawStdEncoding.Strict().DecodeString(m[5])
	h.key, keyErr = base64.RawStdEncoding.Strict().DecodeString(m[6])
	if saltErr != nil || keyErr != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 12 || len(h.key) > 128 {
		return nil, unusable("its argon2 salt or key is no base64 text of the right length")
	}
	return h, nil
}

// number reads what a regular expression has bounded.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

func (h argon2Hash) matches(password string) bool {
	derive := argon2.IDKey
	if h.i {
		derive = argon2.Key
	}
	key := derive([]byte(password), h.salt, uint32(h.cost.Passes), uint32(h.cost.MemoryKiB), uint8(h.cost.Lanes), uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// bcryptHash is $2a$11$ and 53 characters of salt and key. The minor versions a, b, x and y differ in faults of old programs that no password
// of ASCII characters can show; all are computed as a.
type bcryptHash struct {
	minor byte
	cost  int
	text  []byte
}

var bcryptForm = regexp.MustCompile(`^\$2([abxy])\$(\d\d)\$[./A-Za-z0-9]{53}$`)

// bcryptZeros is the salt and key that are all zero bits.
const bcryptZeros = "....................................................."

func parseBcrypt(text string) (passwordHash, error) {
	m := bcryptForm.FindStringSubmatch(text)
	if m == nil {
		return nil, unusable("it is not the form of a bcrypt hash")
	}
	cost := number(m[2])
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return nil, unusable("its bcrypt cost is out of bounds")
	}
	return bcryptHash{minor: m[1][0], cost: cost, text: []byte(text)}, nil
}

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h.text, []byte(password)) == nil
}

// firebaseHash is $f_scrypt$<hash>$<salt>$m=<memory cost>$r=<rounds>$s=<salt separator>, all in base64: the project's signer key, encrypted
// under a key that scrypt derives from the password.
type firebaseHash struct {
	signerKey, salt, hash []byte
	memoryCost, rounds    int
}

var firebaseForm = regexp.MustCompile(`^\$f_scrypt\$([\w+/-]+=*)\$([\w+/-]*=*)\$m=(\d{1,2})\$r=(\d{1,3})\$s=([\w+/-]*=*)$`)

func parseFirebase(text string, signerKey []byte) (passwordHash, error) {
	m := firebaseForm.FindStringSubmatch(text)
	if m == nil {
		return nil, unusable("it is not the form of a Firebase hash")
	}
	if len(signerKey) == 0 {
		return nil, unusable("Config.Hashing.FirebaseSignerKey is not set")
	}
	hash, hashErr := decodeFirebase(m[1])
	salt, saltErr := decodeFirebase(m[2])
	separator, separatorErr := decodeFirebase(m[5])
	if hashErr != nil || saltErr != nil || separatorErr != nil {
		return nil, unusable("a part of the Firebase hash is not base64")
	}
	h := firebaseHash{signerKey: signerKey, salt: append(salt, separator...), hash: hash, memoryCost: number(m[3]), rounds: number(m[4])}
	// scrypt takes 128 bytes times rounds times 2^memoryCost.
	if h.memoryCost < 1 || h.memoryCost > 20 || h.rounds < 1 || (h.rounds<<h.memoryCost)>>3 > maxMemoryKiB {
		return nil, unusable("the cost of the Firebase hash is out of bounds")
	}
	return h, nil
}

// decodeFirebase reads both alphabets of base64, with padding or without: Firebase's tools export either.
func decodeFirebase(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "=")))
}

func (h firebaseHash) matches(password string) bool {
	derived, err := scrypt.Key([]byte(password), h.salt, 1<<h.memoryCost, h.rounds, 1, 32)
	if err != nil {
		return false // parseFirebase has checked the cost
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return false // the key has 32 bytes
	}
	encrypted := make([]byte, len(h.signerKey))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(encrypted, h.signerKey)
	return subtle.ConstantTimeCompare(encrypted, h.hash) == 1
}
