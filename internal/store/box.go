package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Ring is a list of keys: the first seals, all open. An empty ring keeps secrets in clear.
type Ring struct{ keys []ringKey }

type ringKey struct {
	id   string
	aead cipher.AEAD
}

// NewRing makes a ring. Ids match [A-Za-z0-9_-]{1,32} and differ.
func NewRing(ids []string, secrets [][32]byte) (*Ring, error) {
	r := &Ring{}
	for i, id := range ids {
		if !validKeyID(id) {
			return nil, fmt.Errorf("key id %q: want 1 to 32 of A-Z a-z 0-9 _ -", id)
		}
		if r.find(id) != nil {
			return nil, fmt.Errorf("two keys have the id %q", id)
		}
		block, err := aes.NewCipher(secrets[i][:])
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		r.keys = append(r.keys, ringKey{id, aead})
	}
	return r, nil
}

func validKeyID(id string) bool {
	if id == "" || len(id) > 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func (r *Ring) find(id string) *ringKey {
	if r == nil {
		return nil
	}
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

func (r *Ring) empty() bool { return r == nil || len(r.keys) == 0 }

// currentID is the key id that new boxes begin with.
func (r *Ring) currentID() string {
	if r.empty() {
		return ""
	}
	return r.keys[0].id
}

var b64 = base64.RawURLEncoding.Strict()

// Seal encrypts a secret for the row that it stands in, named by its table (without prefix) and identifying columns: "<key id>." and the base64
// text of a nonce and the AES-256-GCM ciphertext. In another row it cannot be opened.
func (b *Backend) Seal(secret []byte, table string, row ...string) (string, error) {
	if b.keys.empty() {
		return "." + b64.EncodeToString(secret), nil
	}
	key := b.keys.keys[0]
	nonce := make([]byte, key.aead.NonceSize(), key.aead.NonceSize()+len(secret)+key.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	return key.id + "." + b64.EncodeToString(key.aead.Seal(nonce, nonce, secret, rowIdentity(table, row))), nil
}

// Unseal opens a box of that row. A key that the ring does not hold, a box of another row, and a box in clear where keys are configured are
// errors.
func (b *Backend) Unseal(box, table string, row ...string) ([]byte, error) {
	secret, err := b.unseal(box, false, table, row)
	if err != nil {
		return nil, fmt.Errorf("storage: a secret in %s: %w", table, err)
	}
	return secret, nil
}

func (b *Backend) unseal(box string, clearAllowed bool, table string, row []string) ([]byte, error) {
	id, text, ok := strings.Cut(box, ".")
	if !ok || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, errors.New("unknown format")
	}
	data, err := b64.DecodeString(text)
	if err != nil {
		return nil, errors.New("unknown format")
	}
	if id == "" {
		if !b.keys.empty() && !clearAllowed {
			return nil, errors.New("it is not encrypted, but keys are configured: ReencryptSecrets encrypts it")
		}
		return data, nil
	}
	key := b.keys.find(id)
	if key == nil {
		return nil, fmt.Errorf("no key %q in Options.Keys", id)
	}
	if len(data) < key.aead.NonceSize() {
		return nil, errors.New("unknown format")
	}
	secret, err := key.aead.Open(nil, data[:key.aead.NonceSize()], data[key.aead.NonceSize():], rowIdentity(table, row))
	if err != nil {
		return nil, fmt.Errorf("key %q does not open it", id)
	}
	return secret, nil
}

// Stale reports whether a box is not under the key that seals now.
func (b *Backend) Stale(box string) bool {
	id, _, _ := strings.Cut(box, ".")
	return id != b.keys.currentID()
}

func rowIdentity(table string, row []string) []byte {
	return []byte(table + "\x00" + strings.Join(row, "\x00"))
}
