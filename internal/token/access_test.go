package token_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/token"
)

const issuer = "https://api.acme.example/auth"

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newKey(t testing.TB, id string) *token.Key {
	t.Helper()
	private, public, err := token.Generate(token.ES256)
	require.NoError(t, err)
	k := &token.Key{ID: id, Algorithm: token.ES256, Created: now}
	k.Private, err = token.ParsePrivate(private)
	require.NoError(t, err)
	k.Public, err = token.ParsePublic(token.ES256, public)
	require.NoError(t, err)
	return k
}

func object(t testing.TB, m map[string]any) canonical.Object {
	t.Helper()
	o, err := canonical.Of(m)
	require.NoError(t, err)
	return o
}

func sessionOf(t testing.TB, custom map[string]any) token.Session {
	return token.Session{
		UserID: "primary", RecipeUserID: "recipe", TenantID: "public", Handle: "handle", RefreshHash1: token.Hash1("refresh"), Issuer: issuer,
		IssuedAt: now.Add(999 * time.Millisecond), Expiry: now.Add(time.Hour + 999*time.Millisecond), Custom: object(t, custom),
	}
}

func TestAccessToken(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1772366400000")
	custom := map[string]any{"plan": json.Number("1.50"), "<b>": "\u2028&", "n": map[string]any{"z": 1, "a": nil}}
	made, err := token.SignAccess(key, sessionOf(t, custom))
	require.NoError(t, err)

	read, ok := token.ParseAccess(made.Text)
	require.True(t, ok)
	require.NoError(t, read.Verify(key, issuer, now))
	assert.Equal(t, []string{"d-1772366400000", "primary", "recipe", "public", "handle", token.Hash1("refresh")},
		[]string{read.KeyID, read.UserID, read.RecipeUserID, read.TenantID, read.Handle, read.RefreshHash1})
	assert.Equal(t, now, read.IssuedAt, "floored")
	assert.Equal(t, now.Add(time.Hour), read.Expiry)
	assert.Contains(t, read.Payload, `"antiCsrfToken":null`)
	assert.Contains(t, read.Payload, `"parentRefreshTokenHash1":null`)
	assert.NotContains(t, read.Payload, `"stt"`)

	back, err := read.Custom()
	require.NoError(t, err)
	assert.Equal(t, `{"<b>":"\u2028&","n":{"a":null,"z":1},"plan":1.50}`, back.Text(), "the very texts")
	assert.Equal(t, object(t, custom).Text(), back.Text())

	header, _, _ := strings.Cut(made.Text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(header)
	require.NoError(t, err)
	assert.JSONEq(t, `{"alg":"ES256","typ":"JWT","version":"5","kid":"d-1772366400000"}`, string(raw))

	access, front, err := token.AccessSizes(token.ES256, key.ID, sessionOf(t, custom))
	require.NoError(t, err)
	assert.Equal(t, len(made.Text), access)
	assert.Equal(t, len(made.Front()), front)

	front64, err := base64.StdEncoding.DecodeString(made.Front())
	require.NoError(t, err)
	assert.Equal(t, `{"uid":"primary","ate":1772370000000,"up":`+read.Payload+`}`, string(front64), "up is the very text of the payload")

	_, err = token.SignAccess(key, sessionOf(t, map[string]any{"stt": 1}))
	require.ErrorContains(t, err, "stt")
	key.Private = nil
	_, err = token.SignAccess(key, sessionOf(t, nil))
	require.ErrorContains(t, err, "cannot sign")
}

func TestWithAnotherPayload(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1")
	made, err := token.SignAccess(key, sessionOf(t, map[string]any{"a": 1, "b": 2}))
	require.NoError(t, err)
	changed, err := made.With(object(t, map[string]any{"b": 3}))
	require.NoError(t, err)
	custom, err := changed.Custom()
	require.NoError(t, err)
	assert.Equal(t, `{"b":3}`, custom.Text())
	assert.Equal(t, "primary", changed.Claims["sub"])
	assert.Equal(t, made.Text, changed.Text)
	assert.Equal(t, 1.0, made.Claims["a"], "the original stays as it is")
}

// forge signs any header and payload with a key.
func forge(t testing.TB, key *token.Key, header, payload string) string {
	t.Helper()
	text := b64(header) + "." + b64(payload)
	signature, err := jwt.SigningMethodES256.Sign(text, key.Private)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

const goodHeader = `{"alg":"ES256","typ":"JWT","version":"5","kid":"d-1"}`

const goodPayload = `{"sub":"u","rsub":"u","tId":"public","sessionHandle":"h","refreshTokenHash1":"x","iss":"` + issuer + `","iat":1,"exp":2}`

// J-01, J-04: the algorithm is one of the allow-list and that of the key; what is no access token of the present version is none.
func TestHeaders(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1")
	a, ok := token.ParseAccess(forge(t, key, goodHeader, goodPayload))
	require.True(t, ok)
	require.NoError(t, a.Verify(key, issuer, now))
	for name, header := range map[string]string{
		"alg none":            `{"alg":"none","typ":"JWT","version":"5","kid":"d-1"}`,
		"alg HMAC":            `{"alg":"HS256","typ":"JWT","version":"5","kid":"d-1"}`,
		"alg ES384":           `{"alg":"ES384","typ":"JWT","version":"5","kid":"d-1"}`,
		"alg in another case": `{"alg":"es256","typ":"JWT","version":"5","kid":"d-1"}`,
		"no alg":              `{"typ":"JWT","version":"5","kid":"d-1"}`,
		"no version":          `{"alg":"ES256","typ":"JWT","kid":"d-1"}`,
		"version 4":           `{"alg":"ES256","typ":"JWT","version":"4","kid":"d-1"}`,
		"version as a number": `{"alg":"ES256","typ":"JWT","version":5,"kid":"d-1"}`,
		"version in capitals": `{"alg":"ES256","typ":"JWT","VERSION":"5","kid":"d-1"}`,
		"no typ":              `{"alg":"ES256","version":"5","kid":"d-1"}`,
		"another typ":         `{"alg":"ES256","typ":"at+jwt","version":"5","kid":"d-1"}`,
		"no kid":              `{"alg":"ES256","typ":"JWT","version":"5"}`,
		"empty kid":           `{"alg":"ES256","typ":"JWT","version":"5","kid":""}`,
		"kid as a list":       `{"alg":"ES256","typ":"JWT","version":"5","kid":["d-1"]}`,
		"no object":           `"ES256"`,
		"null":                `null`,
		"no JSON":             `{`,
	} {
		_, ok := token.ParseAccess(forge(t, key, header, goodPayload))
		assert.False(t, ok, name)
	}

	// The public key as the secret of an HMAC.
	spki, err := x509.MarshalPKIXPublicKey(key.Public)
	require.NoError(t, err)
	text := b64(`{"alg":"HS256","typ":"JWT","version":"5","kid":"d-1"}`) + "." + b64(goodPayload)
	mac := hmac.New(sha256.New, spki)
	mac.Write([]byte(text))
	_, ok = token.ParseAccess(text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	assert.False(t, ok)

	a.Claims = nil
	other := newKey(t, "d-1")
	require.ErrorIs(t, a.Verify(other, issuer, now), token.ErrSignature, "a key of the same id")
	require.ErrorIs(t, a.Verify(&token.Key{ID: "d-1", Algorithm: "EdDSA", Public: key.Public}, issuer, now), token.ErrAlgorithm)
}

// J-02: headers that point to keys are ignored; only kid chooses.
func TestKeysInTheHeaderAreIgnored(t *testing.T) {
	t.Parallel()
	ours, theirs := newKey(t, "d-1"), newKey(t, "d-1")
	jwk, err := theirs.JWK()
	require.NoError(t, err)
	embedded, err := json.Marshal(jwk)
	require.NoError(t, err)
	for _, extra := range []string{
		`"jku":"http://127.0.0.1:1/keys"`, `"x5u":"http://127.0.0.1:1/cert"`, `"x5c":["MIIB"]`, `"jwk":` + string(embedded),
	} {
		header := strings.Replace(goodHeader, "{", "{"+extra+",", 1)
		a, ok := token.ParseAccess(forge(t, theirs, header, goodPayload))
		require.True(t, ok)
		assert.ErrorIs(t, a.Verify(ours, issuer, now), token.ErrSignature, extra)
		a, ok = token.ParseAccess(forge(t, ours, header, goodPayload))
		require.True(t, ok)
		assert.NoError(t, a.Verify(ours, issuer, now), extra)
	}
}

// J-03: each claim is there and has its type.
func TestClaims(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1")
	for _, name := range []string{"sub", "rsub", "tId", "sessionHandle", "refreshTokenHash1", "iss", "iat", "exp"} {
		for _, value := range []any{nil, true, []any{"u"}, map[string]any{}, 1, "1"} {
			claims := map[string]any{}
			require.NoError(t, json.Unmarshal([]byte(goodPayload), &claims))
			_, isNumber := claims[name].(float64)
			if _, text := value.(string); text != isNumber {
				continue // of the right type
			}
			if _, number := value.(int); number == isNumber {
				continue
			}
			claims[name] = value
			raw, err := json.Marshal(claims)
			require.NoError(t, err)
			_, ok := token.ParseAccess(forge(t, key, goodHeader, string(raw)))
			assert.False(t, ok, "%s %v", name, value)
		}
		claims := map[string]any{}
		require.NoError(t, json.Unmarshal([]byte(goodPayload), &claims))
		delete(claims, name)
		raw, err := json.Marshal(claims)
		require.NoError(t, err)
		_, ok := token.ParseAccess(forge(t, key, goodHeader, string(raw)))
		assert.False(t, ok, "no %s", name)
	}
	for claims, fine := range map[string]bool{
		`"stt":0`: true, `"stt":1`: false, `"stt":null`: false, `"stt":"0"`: false, `"stt":[]`: false, `"exp":-1`: false, `"exp":1e300`: false,
		`"EXP":1`: true, // another name
	} {
		payload := strings.TrimSuffix(goodPayload, "}") + "," + claims + "}"
		_, ok := token.ParseAccess(forge(t, key, goodHeader, payload))
		assert.Equal(t, fine, ok, claims)
	}
	for nbf, want := range map[string]error{
		"1772366400": nil, "1772366401": token.ErrNotYet, `"1"`: token.ErrNotYet, "null": token.ErrNotYet,
	} {
		a, ok := token.ParseAccess(forge(t, key, goodHeader, strings.TrimSuffix(goodPayload, "}")+`,"nbf":`+nbf+"}"))
		require.True(t, ok)
		assert.ErrorIs(t, a.Verify(key, issuer, now), want, nbf)
	}
	a, ok := token.ParseAccess(forge(t, key, goodHeader, goodPayload))
	require.True(t, ok)
	assert.ErrorIs(t, a.Verify(key, issuer+"/", now), token.ErrIssuer)
}

// J-05: each byte counts, and each has one spelling.
func TestEachByteCounts(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1")
	made, err := token.SignAccess(key, sessionOf(t, map[string]any{"a": "b"}))
	require.NoError(t, err)
	accepted := func(text string) bool {
		a, ok := token.ParseAccess(text)
		return ok && a.Verify(key, issuer, now) == nil
	}
	require.True(t, accepted(made.Text))
	for i := range made.Text {
		for _, c := range []byte{'A', 'B', '-', '_', '.', '=', '\n', '\r', ' ', 0, 0x80, made.Text[i] ^ 1, made.Text[i] ^ 0x20} {
			if c != made.Text[i] {
				require.False(t, accepted(made.Text[:i]+string([]byte{c})+made.Text[i+1:]), "byte %d as %q", i, c)
			}
			require.False(t, accepted(made.Text[:i]+string([]byte{c})+made.Text[i:]), "%q before byte %d", c, i)
		}
		require.False(t, accepted(made.Text[:i]+made.Text[i+1:]), "without byte %d", i)
		require.False(t, accepted(made.Text[:i]), "cut at byte %d", i)
	}
	for _, suffix := range []string{".", "=", "==", "\n", ".e30", "A"} {
		require.False(t, accepted(made.Text+suffix), "%q", suffix)
	}
	require.False(t, accepted(" "+made.Text))
}

// J-06: a long text is not looked into.
func TestLongTokens(t *testing.T) {
	t.Parallel()
	_, ok := token.ParseAccess(strings.Repeat(".", 1<<20))
	assert.False(t, ok)
	_, ok = token.ParseAccess(b64(goodHeader) + "." + b64(goodPayload) + "." + strings.Repeat("A", token.MaxLength))
	assert.False(t, ok)
	_, ok = token.ParseRefresh("k." + strings.Repeat("A", 1<<20))
	assert.False(t, ok)
}

// J-05: no text but ours is ever accepted, and none makes the verifier panic.
func FuzzParseAccess(f *testing.F) {
	key := newKey(f, "d-1")
	made, err := token.SignAccess(key, sessionOf(f, map[string]any{"a": "b"}))
	require.NoError(f, err)
	for _, seed := range []string{made.Text, forge(f, key, goodHeader, goodPayload), "..", ".", "", "a.b.c", strings.Replace(made.Text, ".", "..", 1)} {
		f.Add(seed)
	}
	signed := map[string]bool{made.Text: true, forge(f, key, goodHeader, goodPayload): true}
	f.Fuzz(func(t *testing.T, text string) {
		a, ok := token.ParseAccess(text)
		if !ok || signed[text] {
			return
		}
		if a.Verify(key, issuer, now) == nil {
			// An ECDSA signature has a twin, and signing again makes another: what must not differ is what was signed.
			head := text[:strings.LastIndexByte(text, '.')]
			for s := range signed {
				if strings.HasPrefix(s, head+".") {
					return
				}
			}
			t.Fatalf("accepted %q", text)
		}
	})
}

func TestJWK(t *testing.T) {
	t.Parallel()
	key := newKey(t, "d-1")
	jwk, err := key.JWK()
	require.NoError(t, err)
	point := key.Public.(*ecdsa.PublicKey)
	raw, err := point.Bytes()
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "d-1",
		"x": base64.RawURLEncoding.EncodeToString(raw[1:33]), "y": base64.RawURLEncoding.EncodeToString(raw[33:]),
	}, jwk)
}

func TestDamagedKeys(t *testing.T) {
	t.Parallel()
	_, _, err := token.Generate("HS256")
	require.Error(t, err)
	_, err = token.ParsePrivate([]byte("secret that must not be told"))
	require.EqualError(t, err, "token: the private key is damaged")
	for _, public := range []string{"", "%", "AAAA"} {
		_, err = token.ParsePublic(token.ES256, public)
		require.Error(t, err)
	}
	_, err = token.ParsePublic("none", "")
	require.Error(t, err)
}
