package storage_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage"
)

// seals reports the key that opens and seals with the options, by its id.
func seals(t *testing.T, keys storage.Keys) (string, error) {
	t.Helper()
	cfg, err := storage.Options{Keys: keys}.Config(store.Key{}, true)
	if err != nil {
		return "", err
	}
	box, err := newBackend(t, cfg).Seal([]byte("secret"), "signing_keys", "kid")
	require.NoError(t, err)
	id, _, _ := strings.Cut(box, ".")
	return id, nil
}

func TestAKeyFileIsCreatedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "acme.key")
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := seals(t, storage.KeyFile(path))
			assert.NoError(t, err)
			ids[i] = id
		})
	}
	wg.Wait()
	require.NotEmpty(t, ids[0])
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
	}

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	id, secret, ok := strings.Cut(strings.TrimSuffix(string(text), "\n"), " ")
	require.True(t, ok)
	assert.Equal(t, ids[0], id)
	key, err := base64.StdEncoding.DecodeString(secret)
	require.NoError(t, err)
	assert.Len(t, key, 32)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

var (
	key1 = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("1", 32)))
	key2 = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("2", 32)))
)

func TestAKeyFileIsRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"one key":             "first " + key1,
		"the current first":   "first " + key1 + "\nolder " + key2 + "\n",
		"comments and spaces": "# keys of acme\n\n  first \t " + key1 + "  \r\n\n# older " + key1,
	} {
		path := filepath.Join(t.TempDir(), "acme.key")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		id, err := seals(t, storage.KeyFile(path))
		require.NoError(t, err, name)
		assert.Equal(t, "first", id, name)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, text, string(after), "it is not touched")
	}
}

// E-03: what is wrong with keys is said when the database is opened, with the line but never with a secret.
func TestAMalformedKeyFileIsAnError(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "it holds no key",
		"# nothing\n\n":                      "it holds no key",
		"first":                              "line 1: want an id and 32 bytes in base64",
		key1:                                 "line 1: want an id and 32 bytes in base64",
		"# x\nfirst " + key1 + " more":       "line 2: want an id and 32 bytes in base64",
		"first " + key1[:40]:                 "line 1: want an id and 32 bytes in base64",
		"first " + key1[1:]:                  "line 1: want an id and 32 bytes in base64",
		"first " + key1 + "\nolder !":        "line 2: want an id and 32 bytes in base64",
		"a.b " + key1:                        `key id "a.b": want 1 to 32 of A-Z a-z 0-9 _ -`,
		"k " + key1 + "\nk " + key2:          `two keys have the id "k"`,
		"k " + strings.Repeat("A", 43) + "=": `the secret of key "k" is all zero`,
		strings.Repeat("x", 100_000):         "token too long",
	} {
		path := filepath.Join(t.TempDir(), "acme.key")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := seals(t, storage.KeyFile(path))
		require.ErrorContains(t, err, want, text)
		assert.ErrorContains(t, err, "storage: key file "+path+": ")
		assert.NotContains(t, err.Error(), key1[:20])
	}

	missing := filepath.Join(t.TempDir(), "missing", "acme.key")
	_, err := seals(t, storage.KeyFile(missing))
	require.EqualError(t, err, "storage: key file: create "+missing+": no such file or directory")
	_, err = seals(t, storage.KeyFile(t.TempDir()))
	require.ErrorContains(t, err, "is a directory")
	_, err = seals(t, storage.KeyFile(""))
	require.EqualError(t, err, "storage: key file: its path is empty")
}

// E-03: keys in code are checked when the database is opened.
func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	good := storage.Key{ID: "k", Secret: [32]byte{1}}
	id, err := seals(t, storage.NewKeys(good, storage.Key{ID: "older", Secret: [32]byte{2}}))
	require.NoError(t, err)
	assert.Equal(t, "k", id)
	id, err = seals(t, storage.InsecureNoKeys())
	require.NoError(t, err)
	assert.Empty(t, id)

	_, err = seals(t, storage.Keys{})
	require.EqualError(t, err, "storage: Options.Keys is not set: use KeyFile or NewKeys, or InsecureNoKeys to store secrets in clear")
	for _, c := range []struct {
		key  storage.Key
		want string
	}{
		{storage.Key{ID: "x"}, `storage: the secret of key "x" is all zero`},
		{storage.Key{Secret: [32]byte{1}}, `storage: key id "": want 1 to 32 of A-Z a-z 0-9 _ -`},
		{good, `storage: two keys have the id "k"`},
	} {
		_, err = seals(t, storage.NewKeys(good, c.key))
		require.EqualError(t, err, c.want)
	}
}

// E-03, G-02: keys are printed and marshalled without their secrets, wherever they stand.
func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	key := storage.Key{ID: "k1", Secret: [32]byte([]byte("the secret of this key, 32 bytes"))}
	path := filepath.Join(t.TempDir(), "acme.key")
	require.NoError(t, os.WriteFile(path, []byte("k1 "+base64.StdEncoding.EncodeToString(key.Secret[:])), 0o600))
	options := storage.Options{Keys: storage.NewKeys(key, key), TablePrefix: "st_"}
	cfg, err := storage.Options{Keys: storage.KeyFile(path)}.Config(store.Key{}, true)
	require.NoError(t, err)
	backend := newBackend(t, cfg)

	for name, value := range map[string]any{
		"Key": key, "*Key": &key, "[]Key": []storage.Key{key}, "Keys": options.Keys, "*Keys": &options.Keys, "KeyFile": storage.KeyFile(path),
		"Options": options, "*Options": &options, "in a struct": struct{ O *storage.Options }{&options}, "in a map": map[string]any{"o": options},
		"DB": storage.FromBackend(backend), "Ring": cfg.Keys, "Backend": backend,
	} {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, value))
		}
		if text, err := json.Marshal(value); err == nil {
			texts = append(texts, string(text))
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
		texts = append(texts, log.String())
		for _, text := range texts {
			for _, form := range []string{"the secret", fmt.Sprintf("%x", "the secret"), fmt.Sprintf("%X", "the secret"), "116 104 101 32 115",
				"116,104,101,32,115", "0x74, 0x68, 0x65", base64.StdEncoding.EncodeToString(key.Secret[:])[:20]} {
				assert.NotContains(t, text, form, name)
			}
		}
	}
	assert.Equal(t, "key k1 [redacted]", fmt.Sprintf("%+v", key))
	assert.Equal(t, "{Keys:keys [redacted] TablePrefix:st_ SkipMigrations:false}", fmt.Sprintf("%+v", options))
	text, err := json.Marshal(options)
	require.NoError(t, err)
	assert.Equal(t, `{"Keys":"[redacted]","TablePrefix":"st_","SkipMigrations":false}`, string(text))
}
