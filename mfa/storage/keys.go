package storage

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stepup-auth/stepup/internal/secretfile"
	"github.com/stepup-auth/stepup/internal/store"
)

// Keys is a key ring: the first key encrypts, all decrypt. It is printed and marshalled without its secrets. The zero value holds none and is
// refused where data outlives the process.
type Keys struct{ load func() (*store.Ring, error) }

// Key is one key of 32 bytes. It is printed and marshalled without its secret.
type Key struct {
	ID     string // 1 to 32 of A-Z a-z 0-9 _ -
	Secret [32]byte
}

// NewKeys makes a ring: current encrypts, older ones only decrypt.
func NewKeys(current Key, older ...Key) Keys {
	keys := append([]Key{current}, older...)
	return Keys{func() (*store.Ring, error) { return ring(keys) }}
}

// KeyFile reads keys from a file with a line "id base64" for each, the current one first, and creates it with one random key and mode 0600 if it
// does not exist. Empty lines and lines that begin with # are skipped. What goes wrong is reported by Open or New.
//
// Without its keys what they encrypted is lost: back the file up, apart from the database.
func KeyFile(path string) Keys {
	return Keys{func() (*store.Ring, error) {
		text, err := readKeyFile(path)
		if err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		keys, err := parseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		r, err := ring(keys)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		return r, nil
	}}
}

// InsecureNoKeys stores secrets in clear.
func InsecureNoKeys() Keys {
	return Keys{func() (*store.Ring, error) { return nil, nil }}
}

func (k Keys) open(required bool) (*store.Ring, error) {
	if k.load == nil {
		if required {
			return nil, errors.New("storage: Options.Keys is not set: use KeyFile or NewKeys, or InsecureNoKeys to store secrets in clear")
		}
		return nil, nil
	}
	r, err := k.load()
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return r, nil
}

func ring(keys []Key) (*store.Ring, error) {
	ids, secrets := make([]string, len(keys)), make([][32]byte, len(keys))
	for i, k := range keys {
		ids[i], secrets[i] = k.ID, k.Secret
		if k.Secret == ([32]byte{}) {
			return nil, fmt.Errorf("the secret of key %q is all zero", k.ID)
		}
	}
	return store.NewRing(ids, secrets)
}

// readKeyFile makes the file with one random key if it is missing. Of several processes that start at once all read the same key.
func readKeyFile(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("its path is empty")
	}
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	id, secret := make([]byte, 4), make([]byte, 32)
	rand.Read(id)
	rand.Read(secret)
	line := fmt.Sprintf("%s %s\n", hex.EncodeToString(id), base64.StdEncoding.EncodeToString(secret))
	if err := secretfile.Create(path, []byte(line)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

func parseKeys(text []byte) ([]Key, error) {
	var keys []Key
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: want an id and 32 bytes in base64", n)
		}
		secret, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil || len(secret) != 32 {
			return nil, fmt.Errorf("line %d: want an id and 32 bytes in base64", n)
		}
		keys = append(keys, Key{ID: fields[0], Secret: [32]byte(secret)})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}

const redacted = "[redacted]"

// String prints no secret.
func (k Key) String() string { return "key " + k.ID + " " + redacted }

// GoString prints no secret.
func (k Key) GoString() string { return k.String() }

// Format prints no secret, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalJSON writes the id only.
func (k Key) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"id": k.ID, "secret": redacted})
}

// String prints no secret.
func (k Keys) String() string { return "keys " + redacted }

// GoString prints no secret.
func (k Keys) GoString() string { return k.String() }

// Format prints no secret, whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalJSON writes no secret.
func (k Keys) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
