package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

const (
	refreshVersion  = 1
	refreshRandom   = 32
	refreshContext  = "stepup refresh token v1"
	successorInfo   = "stepup successor v1"
	successorTable  = "sessions"
	maxRefreshToken = 1 << 10
)

// RefreshKey authenticates refresh tokens.
type RefreshKey struct {
	ID     string
	Secret []byte // 32 bytes
}

func (k RefreshKey) tag(body []byte) []byte {
	mac := hmac.New(sha256.New, k.Secret)
	io.WriteString(mac, refreshContext+"\x00"+k.ID+"\x00")
	mac.Write(body)
	return mac.Sum(nil)
}

// Refresh is a refresh token as it was read. Only after Authentic anything in it may be believed.
type Refresh struct {
	Text       string
	KeyID      string
	Handle     string
	Generation uint64
	body, tag  []byte
}

// NewRefresh makes a token of 256 random bits for a session. The tag lets a forged one be told from an old one, which ends the session.
func NewRefresh(key RefreshKey, random io.Reader, handle string, generation uint64) (string, error) {
	body := make([]byte, 1+refreshRandom, 160)
	body[0] = refreshVersion
	if _, err := io.ReadFull(random, body[1:]); err != nil {
		return "", err
	}
	if len(handle) > 255 {
		return "", errors.New("token: the handle is too long")
	}
	body = binary.BigEndian.AppendUint64(body, generation)
	body = append(body, byte(len(handle)))
	body = append(body, handle...)
	body = append(body, 0) // no anti-CSRF value
	return key.ID + "." + b64.EncodeToString(append(body, key.tag(body)...)), nil
}

// ParseRefresh reads a refresh token.
func ParseRefresh(text string) (*Refresh, bool) {
	if len(text) > maxRefreshToken {
		return nil, false
	}
	keyID, rest, found := strings.Cut(text, ".")
	if !found || keyID == "" {
		return nil, false
	}
	raw, ok := decode(rest)
	const fixed = 1 + refreshRandom + 8
	if !ok || len(raw) < fixed+2+sha256.Size || raw[0] != refreshVersion {
		return nil, false
	}
	body, tag := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	handle, rest2, ok := shortText(body[fixed:])
	if !ok {
		return nil, false
	}
	if _, end, ok := shortText(rest2); !ok || len(end) > 0 {
		return nil, false
	}
	return &Refresh{
		Text: text, KeyID: keyID, Handle: handle, Generation: binary.BigEndian.Uint64(body[1+refreshRandom:]), body: body, tag: tag,
	}, true
}

// shortText reads a length of one byte and a text of that length.
func shortText(raw []byte) (text string, rest []byte, ok bool) {
	if len(raw) == 0 || len(raw) < 1+int(raw[0]) {
		return "", nil, false
	}
	end := 1 + int(raw[0])
	return string(raw[1:end]), raw[end:], true
}

// Authentic reports whether the token was made with the key.
func (r *Refresh) Authentic(key RefreshKey) bool {
	return r.KeyID == key.ID && hmac.Equal(r.tag, key.tag(r.body))
}

// Hash1 of a refresh token stands in the access token that was issued with it: hexadecimal SHA-256.
func Hash1(refresh string) string {
	sum := sha256.Sum256([]byte(refresh))
	return hex.EncodeToString(sum[:])
}

// Hash2 is what storage keeps: SHA-256 of the text of Hash1.
func Hash2(hash1 string) []byte {
	sum := sha256.Sum256([]byte(hash1))
	return sum[:]
}

// SealSuccessor encrypts the token that follows a presented one, so that only who has that one can read it: a copy of the database cannot.
func SealSuccessor(random io.Reader, presented, handle, successor string) ([]byte, error) {
	aead, err := successorCipher(presented)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(successor)+aead.Overhead())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, []byte(successor), successorRow(handle)), nil
}

// OpenSuccessor is the reverse.
func OpenSuccessor(sealed []byte, presented, handle string) (string, error) {
	aead, err := successorCipher(presented)
	if err != nil {
		return "", err
	}
	if len(sealed) < aead.NonceSize() {
		return "", errors.New("token: the successor of a refresh token is damaged")
	}
	successor, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], successorRow(handle))
	if err != nil {
		return "", errors.New("token: the successor of a refresh token is damaged")
	}
	return string(successor), nil
}

func successorRow(handle string) []byte { return []byte(successorTable + "\x00" + handle) }

func successorCipher(presented string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(presented), nil, successorInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
