package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
)

// MaxLength of a token that is looked at, in bytes.
const MaxLength = 16 << 10

const version = "5" // of the payload of access tokens, the only one that is accepted

// Names of the claims that belong to the token.
const (
	Subject            = "sub"  // the person
	RecipeUserID       = "rsub" // the login method
	TenantID           = "tId"
	IssuedAt           = "iat"
	Expiry             = "exp"
	Issuer             = "iss"
	SessionHandle      = "sessionHandle"
	RefreshHash1       = "refreshTokenHash1"
	ParentRefreshHash1 = "parentRefreshTokenHash1" // always null
	AntiCSRFToken      = "antiCsrfToken"           // null in all modes that exist
	kind               = "stt"                     // absent in access tokens; other tokens may carry a number
	notBefore          = "nbf"
)

// Protected are the names that no payload of an application may hold.
var Protected = []string{
	Subject, Expiry, IssuedAt, SessionHandle, ParentRefreshHash1, RefreshHash1, AntiCSRFToken, RecipeUserID, TenantID, kind, Issuer,
}

// IsProtected reports whether a claim belongs to the token.
func IsProtected(name string) bool {
	for _, p := range Protected {
		if p == name {
			return true
		}
	}
	return false
}

// Access is an access token. It is shared: nobody changes it.
type Access struct {
	Text    string
	Payload string // the JSON text that was signed
	Claims  map[string]any

	KeyID        string
	UserID       string
	RecipeUserID string
	TenantID     string
	Handle       string
	RefreshHash1 string
	IssuedAt     time.Time
	Expiry       time.Time

	algorithm, issuer string
	signed            string // header and payload, as they came
	signature         []byte
}

// ParseAccess looks at the structure only: does the text look like an access token of this module? It says nothing about who made it.
func ParseAccess(text string) (*Access, bool) {
	if len(text) > MaxLength {
		return nil, false
	}
	last := strings.LastIndexByte(text, '.')
	first := strings.IndexByte(text, '.')
	if first < 0 || first == last || strings.IndexByte(text[first+1:last], '.') >= 0 {
		return nil, false
	}
	a := &Access{Text: text, signed: text[:last]}
	header, ok := decode(text[:first])
	if !ok || !a.readHeader(header) {
		return nil, false
	}
	if a.signature, ok = decode(text[last+1:]); !ok {
		return nil, false
	}
	payload, ok := decode(text[first+1 : last])
	if !ok {
		return nil, false
	}
	a.Payload = string(payload)
	return a, a.readPayload(payload)
}

func (a *Access) readHeader(raw []byte) bool {
	var header map[string]any // not a struct: its names would match in any case
	if json.Unmarshal(raw, &header) != nil {
		return false
	}
	if header["typ"] != "JWT" || header["version"] != version {
		return false
	}
	a.algorithm, _ = header["alg"].(string)
	if !Supports(a.algorithm) {
		return false
	}
	a.KeyID, _ = header["kid"].(string)
	return a.KeyID != ""
}

func (a *Access) readPayload(raw []byte) bool {
	if json.Unmarshal(raw, &a.Claims) != nil || a.Claims == nil {
		return false
	}
	for _, text := range [...]struct {
		name  string
		field *string
	}{
		{Subject, &a.UserID}, {RecipeUserID, &a.RecipeUserID}, {TenantID, &a.TenantID}, {SessionHandle, &a.Handle},
		{RefreshHash1, &a.RefreshHash1}, {Issuer, &a.issuer},
	} {
		var ok bool
		if *text.field, ok = a.Claims[text.name].(string); !ok {
			return false
		}
	}
	for _, date := range [...]struct {
		name  string
		field *time.Time
	}{{IssuedAt, &a.IssuedAt}, {Expiry, &a.Expiry}} {
		seconds, ok := a.Claims[date.name].(float64)
		if !ok || seconds < 0 || seconds > maxSeconds {
			return false
		}
		*date.field = time.UnixMilli(int64(seconds * 1000)).UTC()
	}
	switch k := a.Claims[kind].(type) {
	case float64:
		return k == 0
	case nil:
		_, present := a.Claims[kind]
		return !present
	}
	return false
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// Verification failures.
var (
	ErrAlgorithm = errors.New("the algorithm is not that of the key")
	ErrSignature = errors.New("the signature is wrong")
	ErrIssuer    = errors.New("the issuer is another")
	ErrExpired   = errors.New("it has expired")
	ErrNotYet    = errors.New("it is not valid yet")
)

// Verify checks all but the expiry, with the key that the token names.
func (a *Access) Verify(key *Key, issuer string, now time.Time) error {
	if a.algorithm != key.Algorithm {
		return ErrAlgorithm
	}
	if err := key.verify(a.signed, a.signature); err != nil {
		return ErrSignature
	}
	if a.issuer != issuer {
		return ErrIssuer
	}
	if raw, present := a.Claims[notBefore]; present {
		seconds, ok := raw.(float64)
		if !ok || seconds*1000 > float64(now.UnixMilli()) {
			return ErrNotYet
		}
	}
	return nil
}

// Custom are the members that belong to the application, with the texts they were signed with.
func (a *Access) Custom() (canonical.Object, error) {
	custom, err := canonical.Parse(a.Payload)
	if err != nil {
		return nil, fmt.Errorf("token: payload: %w", err)
	}
	for _, name := range Protected {
		delete(custom, name)
	}
	return custom, nil
}

// With is the same token as if it had another payload of the application's: for one that has expired and cannot be replaced.
func (a *Access) With(custom canonical.Object) (*Access, error) {
	payload, err := canonical.Parse(a.Payload)
	if err != nil {
		return nil, err
	}
	for name := range payload {
		if !IsProtected(name) {
			delete(payload, name)
		}
	}
	maps.Copy(payload, custom)
	changed := *a
	changed.Payload = payload.Text()
	changed.Claims, err = payload.Map()
	return &changed, err
}

// Session is what an access token says about its session.
type Session struct {
	UserID, RecipeUserID, TenantID, Handle string
	RefreshHash1                           string
	Issuer                                 string
	IssuedAt, Expiry                       time.Time // cut to seconds
	Custom                                 canonical.Object
}

// payload is the canonical JSON text of the token: less the protected names it is that of Custom, byte for byte.
func (s Session) payload() (string, error) {
	claims, err := canonical.Of(map[string]any{
		Subject: s.UserID, RecipeUserID: s.RecipeUserID, TenantID: s.TenantID, SessionHandle: s.Handle, RefreshHash1: s.RefreshHash1,
		ParentRefreshHash1: nil, AntiCSRFToken: nil, Issuer: s.Issuer, IssuedAt: s.IssuedAt.Unix(), Expiry: s.Expiry.Unix(),
	})
	if err != nil {
		return "", err
	}
	for name, raw := range s.Custom {
		if IsProtected(name) {
			return "", fmt.Errorf("token: %s is not the application's", name)
		}
		claims[name] = raw
	}
	return claims.Text(), nil
}

// SignAccess makes an access token.
func SignAccess(key *Key, s Session) (*Access, error) {
	payload, err := s.payload()
	if err != nil {
		return nil, err
	}
	text, err := sign(key, map[string]string{"alg": key.Algorithm, "kid": key.ID, "typ": "JWT", "version": version}, payload)
	if err != nil {
		return nil, err
	}
	a, ok := ParseAccess(text)
	if !ok {
		return nil, fmt.Errorf("token: an access token of %d bytes does not have the form that it must have", len(text))
	}
	return a, nil
}

// AccessSizes are the lengths of the access token and of the front token that SignAccess and Front would make.
func AccessSizes(algorithm, keyID string, s Session) (access, front int, err error) {
	payload, err := s.payload()
	if err != nil {
		return 0, 0, err
	}
	header, err := json.Marshal(map[string]string{"alg": algorithm, "kid": keyID, "typ": "JWT", "version": version})
	if err != nil {
		return 0, 0, err
	}
	access = b64.EncodedLen(len(header)) + 1 + b64.EncodedLen(len(payload)) + 1 + b64.EncodedLen(algorithms[algorithm].signatureSize)
	return access, len(front64(s.UserID, s.Expiry, payload)), nil
}

// Sign makes a signed JWT that is no access token: it has no version.
func Sign(key *Key, payload string) (string, error) {
	return sign(key, map[string]string{"alg": key.Algorithm, "kid": key.ID, "typ": "JWT"}, payload)
}

func sign(key *Key, header map[string]string, payload string) (string, error) {
	if key.Private == nil {
		return "", fmt.Errorf("token: the key %s cannot sign", key.ID)
	}
	raw, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	text := b64.EncodeToString(raw) + "." + b64.EncodeToString([]byte(payload))
	signature, err := algorithms[key.Algorithm].method.Sign(text, key.Private)
	if err != nil {
		return "", fmt.Errorf("token: signing: %w", err)
	}
	return text + "." + b64.EncodeToString(signature), nil
}
