package token_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/token"
)

var refreshKey = token.RefreshKey{ID: "00112233aabbccdd", Secret: bytes.Repeat([]byte{7}, 32)}

// S-02: 256 random bits, the generation and the handle, under an authentication tag.
func TestRefreshToken(t *testing.T) {
	t.Parallel()
	random := bytes.Repeat([]byte{9}, 32)
	text, err := token.NewRefresh(refreshKey, bytes.NewReader(random), "handle_t1", 258)
	require.NoError(t, err)

	body := append([]byte{1}, random...)
	body = append(body, 0, 0, 0, 0, 0, 0, 1, 2, 9)
	body = append(body, "handle_t1\x00"...)
	mac := hmac.New(sha256.New, refreshKey.Secret)
	mac.Write([]byte("stepup refresh token v1\x0000112233aabbccdd\x00"))
	mac.Write(body)
	require.Equal(t, "00112233aabbccdd."+base64.RawURLEncoding.EncodeToString(mac.Sum(body)), text, "the format is written down")
	assert.Regexp(t, `^[A-Za-z0-9._-]+$`, text, "no cookie needs to escape it")
	assert.Less(t, len(text), 1<<10)

	read, ok := token.ParseRefresh(text)
	require.True(t, ok)
	assert.True(t, read.Authentic(refreshKey))
	assert.Equal(t, []any{"00112233aabbccdd", "handle_t1", uint64(258), text}, []any{read.KeyID, read.Handle, read.Generation, read.Text})
	assert.False(t, read.Authentic(token.RefreshKey{ID: refreshKey.ID, Secret: make([]byte, 32)}))
	assert.False(t, read.Authentic(token.RefreshKey{ID: "another", Secret: refreshKey.Secret}))

	_, err = token.NewRefresh(refreshKey, iotest.ErrReader(errors.New("no randomness")), "h", 0)
	require.ErrorContains(t, err, "no randomness")
	_, err = token.NewRefresh(refreshKey, rand.Reader, strings.Repeat("h", 256), 0)
	require.Error(t, err)
}

// J-05: no changed refresh token is authentic, so that none can be taken for an old one.
func TestEachByteOfARefreshTokenCounts(t *testing.T) {
	t.Parallel()
	text, err := token.NewRefresh(refreshKey, rand.Reader, "handle", 1)
	require.NoError(t, err)
	authentic := func(text string) bool {
		r, ok := token.ParseRefresh(text)
		return ok && r.Authentic(refreshKey)
	}
	require.True(t, authentic(text))
	for i := range text {
		for _, c := range []byte{'A', 'z', '.', '-', '=', '\n', 0, text[i] ^ 1, text[i] ^ 2} {
			if c != text[i] {
				require.False(t, authentic(text[:i]+string([]byte{c})+text[i+1:]), "byte %d", i)
			}
			require.False(t, authentic(text[:i]+string([]byte{c})+text[i:]), "before byte %d", i)
		}
		require.False(t, authentic(text[:i]))
	}
	for _, other := range []string{"", ".", "k.", ".AAAA", text + "A", text + "=", "k." + strings.Repeat("A", 200)} {
		require.False(t, authentic(other), other)
	}
}

func FuzzParseRefresh(f *testing.F) {
	text, err := token.NewRefresh(refreshKey, bytes.NewReader(make([]byte, 32)), "handle", 1) // the same in each process
	require.NoError(f, err)
	f.Add(text)
	f.Add("k.AQ")
	f.Fuzz(func(t *testing.T, other string) {
		r, ok := token.ParseRefresh(other)
		require.False(t, ok && other != text && r.Authentic(refreshKey))
	})
}

func TestHashes(t *testing.T) {
	t.Parallel()
	one := sha256.Sum256([]byte("token"))
	two := sha256.Sum256([]byte(hex.EncodeToString(one[:])))
	assert.Equal(t, hex.EncodeToString(one[:]), token.Hash1("token"))
	assert.Equal(t, two[:], token.Hash2(token.Hash1("token")))
}

func TestSuccessor(t *testing.T) {
	t.Parallel()
	sealed, err := token.SealSuccessor(rand.Reader, "presented", "handle", "next")
	require.NoError(t, err)
	opened, err := token.OpenSuccessor(sealed, "presented", "handle")
	require.NoError(t, err)
	assert.Equal(t, "next", opened)
	again, err := token.SealSuccessor(rand.Reader, "presented", "handle", "next")
	require.NoError(t, err)
	assert.NotEqual(t, sealed, again)

	for _, wrong := range []struct {
		sealed            []byte
		presented, handle string
	}{
		{sealed, "another", "handle"}, {sealed, "presented", "another"}, {sealed[:len(sealed)-1], "presented", "handle"},
		{sealed[:5], "presented", "handle"}, {nil, "presented", "handle"},
	} {
		_, err := token.OpenSuccessor(wrong.sealed, wrong.presented, wrong.handle)
		require.Error(t, err)
	}
	_, err = token.SealSuccessor(iotest.ErrReader(errors.New("no randomness")), "presented", "handle", "next")
	require.Error(t, err)
}
