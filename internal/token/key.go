// Package token knows the formats of tokens: what they hold, how they are signed, authenticated and read. It keeps nothing and knows no clock.
package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Key is a key that tokens are signed with. It keeps its algorithm for life.
type Key struct {
	ID        string
	Algorithm string
	Static    bool // never rotates
	Created   time.Time
	Public    crypto.PublicKey
	Private   crypto.Signer // nil where it only verifies
}

// algorithm is what differs between those that the allow-list holds. The key decides which is used, never a token's header.
type algorithm struct {
	method        jwt.SigningMethod
	signatureSize int // bytes
	generate      func() (crypto.Signer, error)
	fits          func(public crypto.PublicKey) bool
	jwk           func(public crypto.PublicKey) (map[string]any, error)
}

var algorithms = map[string]algorithm{
	"ES256": {
		method:        jwt.SigningMethodES256,
		signatureSize: 64,
		generate:      func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		fits: func(public crypto.PublicKey) bool {
			key, ok := public.(*ecdsa.PublicKey)
			return ok && key.Curve == elliptic.P256()
		},
		jwk: func(public crypto.PublicKey) (map[string]any, error) {
			point, err := public.(*ecdsa.PublicKey).Bytes() // 4, x, y
			if err != nil {
				return nil, err
			}
			return map[string]any{"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:])}, nil
		},
	},
}

// ES256 is ECDSA on P-256 with SHA-256.
const ES256 = "ES256"

// Supports reports whether an algorithm is on the allow-list.
func Supports(algorithm string) bool {
	_, ok := algorithms[algorithm]
	return ok
}

// Generate makes a key pair: the private key as PKCS #8, the public one as base64 of its SubjectPublicKeyInfo.
func Generate(algorithm string) (private []byte, public string, err error) {
	a, ok := algorithms[algorithm]
	if !ok {
		return nil, "", fmt.Errorf("token: no algorithm %q", algorithm)
	}
	key, err := a.generate()
	if err != nil {
		return nil, "", err
	}
	if private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	return private, base64.StdEncoding.EncodeToString(spki), err
}

// ParsePublic reads the public key that Generate made.
func ParsePublic(algorithm, public string) (crypto.PublicKey, error) {
	a, ok := algorithms[algorithm]
	if !ok {
		return nil, fmt.Errorf("token: no algorithm %q", algorithm)
	}
	spki, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	if !a.fits(key) {
		return nil, fmt.Errorf("token: the key is not one of %s", algorithm)
	}
	return key, nil
}

// ParsePrivate reads the private key that Generate made.
func ParsePrivate(private []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("token: the private key is damaged") // the cause could quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("token: the private key cannot sign")
	}
	return signer, nil
}

// JWK is the public key as RFC 7517 writes it.
func (k *Key) JWK() (map[string]any, error) {
	jwk, err := algorithms[k.Algorithm].jwk(k.Public)
	if err != nil {
		return nil, err
	}
	jwk["kid"], jwk["alg"], jwk["use"] = k.ID, k.Algorithm, "sig"
	return jwk, nil
}

// verify checks a signature over a text.
func (k *Key) verify(text string, signature []byte) error {
	return algorithms[k.Algorithm].method.Verify(text, signature, k.Public)
}

var b64 = base64.RawURLEncoding.Strict()

// decode reads base64url without padding, in its one spelling: encoding/base64 skips line breaks.
func decode(text string) ([]byte, bool) {
	for i := range len(text) {
		if text[i] == '\n' || text[i] == '\r' {
			return nil, false
		}
	}
	raw, err := b64.DecodeString(text)
	return raw, err == nil
}
