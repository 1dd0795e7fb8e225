package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/postgres"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// The test program runs itself as another process: with these variables set it is one.
const (
	childDatabase = "STEPUP_TEST_CHILD_DATABASE" // sqlite or postgres
	childSource   = "STEPUP_TEST_CHILD_SOURCE"   // path or DSN
	childPrefix   = "STEPUP_TEST_CHILD_PREFIX"
	childKeys     = "STEPUP_TEST_CHILD_KEYS" // path
)

func TestMain(m *testing.M) {
	if os.Getenv(childDatabase) == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func openSource(ctx context.Context, database, source, prefix, keys string) (*storage.DB, error) {
	opts := storage.Options{TablePrefix: prefix, Keys: storage.KeyFile(keys)}
	if database == "postgres" {
		return postgres.Open(ctx, source, opts)
	}
	return sqlite.Open(ctx, source, opts)
}

var (
	putKey  = store.SQL("test.key.put", `INSERT INTO {p}refresh_keys (key_id, follows, created_at, key_box) VALUES ($1, $1, 0, $2)`)
	allKeys = store.SQL("test.key.all", `SELECT key_id, key_box FROM {p}refresh_keys`)
	count   = store.SQL("test.count", `INSERT INTO {p}limits AS l (scope, key, times, failures, blocked_until, expires_day)
		VALUES ('test', '', '', 1, 0, 0) ON CONFLICT (scope, key) DO UPDATE SET failures = l.failures + 1 RETURNING failures`)
)

const countsPerChild = 20

// child waits for the end of its input, so that all begin at once, opens the database for the first time, and uses it.
func child(ctx context.Context) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	db, err := openSource(ctx, os.Getenv(childDatabase), os.Getenv(childSource), os.Getenv(childPrefix), os.Getenv(childKeys))
	if err != nil {
		return err
	}
	defer db.Close()
	b, id := db.Backend(store.Key{}), fmt.Sprint("process ", os.Getpid())
	box, err := b.Seal([]byte(id), "refresh_keys", id)
	if err != nil {
		return err
	}
	if _, err := b.Exec(ctx, putKey, id, box); err != nil {
		return err
	}
	for range countsPerChild {
		err := b.Tx(ctx, func(ctx context.Context) error {
			_, err := b.Row(ctx, count, nil)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Ten processes that start at once on an empty database make one schema and one key, and then work side by side.
func TestProcessesStartAtOnce(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source, prefix, keys := filepath.Join(dir, "acme.db"), "", filepath.Join(dir, "acme.key")
			if database == "postgres" {
				source, prefix = storetest.PostgresDSN(t), storetest.NewPrefix()
			}
			const n = 10
			run(t, n, childDatabase+"="+database, childSource+"="+source, childPrefix+"="+prefix, childKeys+"="+keys)

			db, err := openSource(t.Context(), database, source, prefix, keys)
			require.NoError(t, err)
			t.Cleanup(func() { db.Close() })
			b := db.Backend(store.Key{})
			for table, want := range map[string]int{"tenants": 1, "migrations": 1, "refresh_keys": n} {
				rows, err := b.Query(t.Context(), "SELECT * FROM {p}"+table)
				require.NoError(t, err)
				assert.Len(t, rows, want, table)
			}
			_, err = store.Rows(t.Context(), b, allKeys, nil, func(scan func(...any) error) (id string, err error) {
				var box string
				require.NoError(t, scan(&id, &box))
				secret, err := b.Unseal(box, "refresh_keys", id)
				assert.Equal(t, id, string(secret))
				return id, err
			})
			require.NoError(t, err)
			var counted int
			_, err = b.Row(t.Context(), count, nil, &counted)
			require.NoError(t, err)
			assert.Equal(t, n*countsPerChild+1, counted)
		})
	}
}

// run starts n processes, lets them begin together, and waits for all to succeed.
func run(t *testing.T, n int, env ...string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	begin, gun, err := os.Pipe()
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range n {
		var output bytes.Buffer
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = begin, &output, &output
		require.NoError(t, cmd.Start())
		wg.Go(func() { assert.NoError(t, cmd.Wait(), "%s", &output) })
	}
	begin.Close()
	gun.Close()
	wg.Wait()
}
