package secretfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// linkers are the two ways that a file gets its name.
var linkers = map[string]func(from, to string) error{
	"with links":    os.Link,
	"without links": func(string, string) error { return errors.ErrUnsupported },
}

func TestAFileIsItsOwnersOnly(t *testing.T) {
	t.Parallel()
	for name, link := range linkers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "secret")
			require.NoError(t, create(path, []byte("content"), link))

			text, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, "content", string(text))
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, fs.FileMode(0o600), info.Mode())
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 1, "temporary files are gone")
		})
	}
}

func TestOneOfManyCreatesTheFile(t *testing.T) {
	t.Parallel()
	for name, link := range linkers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			var wg sync.WaitGroup
			errs := make([]error, 100)
			for i := range errs {
				wg.Go(func() { errs[i] = create(path, []byte{byte(i)}, link) })
			}
			wg.Wait()

			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Len(t, text, 1)
			for i, err := range errs {
				if i == int(text[0]) {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, fs.ErrExist)
				}
			}
		})
	}
}

func TestAFileThatIsThereIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.ErrorIs(t, Create(path, []byte("new")), fs.ErrExist)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))
}

func TestAMissingDirectoryIsNamedByThePathThatWasAskedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "secret")
	err := Create(path, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Equal(t, "create "+path+": no such file or directory", err.Error())
}
