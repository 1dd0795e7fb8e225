package mfa_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/postgres"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// The test program runs itself as another process: with these variables set it is a server.
const (
	childDatabase = "STEPUP_TEST_CHILD_DATABASE" // sqlite or postgres
	childSource   = "STEPUP_TEST_CHILD_SOURCE"   // path or DSN
	childPrefix   = "STEPUP_TEST_CHILD_PREFIX"
	childKeys     = "STEPUP_TEST_CHILD_KEYS"   // path
	childCounts   = "STEPUP_TEST_CHILD_COUNTS" // instead of serving it counts its goroutines
)

func TestMain(m *testing.M) {
	if os.Getenv(childDatabase) == "" {
		os.Exit(m.Run())
	}
	run := child
	if os.Getenv(childCounts) != "" {
		run = countGoroutines
	}
	if err := run(context.Background()); err != nil {
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

// child serves an instance until the end of its input. It writes its address to its output.
func child(ctx context.Context) error {
	db, err := openSource(ctx, os.Getenv(childDatabase), os.Getenv(childSource), os.Getenv(childPrefix), os.Getenv(childKeys))
	if err != nil {
		return err
	}
	defer db.Close()
	var ahead atomic.Int64 // of the real time
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo: local, Storage: db,
		Factors:                   []mfa.Factor{emailpassword.New(emailpassword.Config{Hashing: cheap}), totp.New(totp.Config{})},
		GetMFARequirementsForAuth: admins,
		Now:                       func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getpid()) })
	mux.Handle("/me", auth.Sessions().Verify(ok))
	mux.Handle("/fresh", auth.Sessions().VerifySession(session.VerifyOptions{CheckDatabase: true})(ok))
	mux.Handle("/step-up", auth.Sessions().Verify(ok, mfa.Claim.HasCompletedRequirementListWithin(time.Minute, factor.Requirements{factor.TOTP})))
	mux.HandleFunc("/turn", func(_ http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("d"))
		if err != nil {
			panic(err)
		}
		ahead.Add(int64(d))
	})
	mux.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		_, roles := auth.UserRoles().CreateNewRoleOrAddPermissions(r.Context(), "admin")
		_, added := auth.UserRoles().AddRoleToUser(r.Context(), "", r.URL.Query().Get("user"), "admin")
		if err := errors.Join(roles, added); err != nil {
			auth.HandleError(w, r, err)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	go http.Serve(listener, auth.Middleware(mux))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// start starts n processes at once and returns their addresses.
func start(t *testing.T, n int, env ...string) []string {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	outputs := make([]*bufio.Reader, n)
	for i := range outputs {
		var problems bytes.Buffer
		cmd := exec.Command(program)
		cmd.Env, cmd.Stderr = append(os.Environ(), env...), &problems
		end, err := cmd.StdinPipe()
		require.NoError(t, err)
		output, err := cmd.StdoutPipe()
		require.NoError(t, err)
		outputs[i] = bufio.NewReader(output)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			end.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			if problems.Len() > 0 {
				t.Logf("process %d:\n%s", i, &problems)
			}
		})
	}
	addresses := make([]string, n)
	for i, output := range outputs {
		line, err := output.ReadString('\n')
		require.NoError(t, err)
		addresses[i] = strings.TrimSpace(line)
	}
	return addresses
}

// Processes that start at once on one empty database make their keys once, and serve each user together.
func TestProcessesServeOneUser(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source, prefix, keys := filepath.Join(dir, "acme.db"), "", filepath.Join(dir, "acme.key")
			if database == "postgres" {
				source, prefix = storetest.PostgresDSN(t), storetest.NewPrefix()
			}
			processes := start(t, 3,
				childDatabase+"="+database, childSource+"="+source, childPrefix+"="+prefix, childKeys+"="+keys)
			var ahead time.Duration
			now := func() time.Time { return time.Now().Add(ahead) }
			turn := func(d time.Duration) {
				t.Helper()
				ahead += d
				for _, process := range processes {
					require.Equal(t, 200, send(t, process, "GET", "/turn?d="+d.String(), "", nil).Status)
				}
			}
			get := func(process, path string, c *frontend.Client) int {
				t.Helper()
				return send(t, process, "GET", path, "", map[string]string{"Authorization": "Bearer " + c.Access}).Status
			}

			// Signed up at one, seen at all; a step-up at one is seen by the others in its token, in storage and at the refresh.
			c := frontend.New(t, processes[0], "header")
			c.SignUp(ada, password)
			old := c.Clone()
			var pids []string
			for _, process := range processes {
				r := send(t, process, "GET", "/me", "", map[string]string{"Authorization": "Bearer " + c.Access})
				require.Equal(t, 200, r.Status)
				pids = append(pids, r.Body)
				require.Equal(t, 403, get(process, "/step-up", c))
			}
			require.Len(t, map[string]bool{pids[0]: true, pids[1]: true, pids[2]: true}, 3, "they are three")
			secret := c.At(processes[1]).EnrolTOTP(now())
			require.Equal(t, 200, get(processes[2], "/me", old))
			require.Equal(t, 200, get(processes[2], "/fresh", old))
			require.Equal(t, 403, get(processes[2], "/step-up", old), "the old token")
			c = old.At(processes[2])
			require.Equal(t, 200, c.RefreshSession().Status)
			for _, process := range processes {
				require.Equal(t, 200, get(process, "/step-up", c))
			}
			turn(2 * time.Minute)
			for _, process := range processes {
				require.Equal(t, 403, get(process, "/step-up", c), "the completion has become old everywhere")
			}

			// A role that one gives binds at the others.
			require.Equal(t, 200, send(t, processes[0], "GET", "/admin?user="+c.UserID(), "", nil).Status)
			require.True(t, c.At(processes[1]).Call("PUT", "/auth/mfa/info", nil).Is("OK"))
			visitors := make([]*frontend.Client, 12)
			for i := range visitors {
				visitors[i] = frontend.New(t, processes[i%3], "header")
				require.True(t, visitors[i].SignIn(ada, password).Is("OK"))
				require.False(t, visitors[i].V())
			}

			// One right code in all sessions at once completes one; of the wrong ones no more are judged than the one budget has.
			statuses := make([]string, len(visitors))
			together := func(f func(i int)) {
				var all sync.WaitGroup
				for i := range visitors {
					all.Go(func() { f(i) })
				}
				all.Wait()
			}
			code := frontend.Code(t, secret, now())
			together(func(i int) {
				statuses[i], _ = visitors[i].Call("POST", "/auth/totp/verify", map[string]string{"totp": code}).JSON["status"].(string)
			})
			require.Equal(t, 1, count(statuses, "OK"), statuses)
			require.Equal(t, 5, count(statuses, "INVALID_TOTP_ERROR"), statuses)
			require.Equal(t, 6, count(statuses, "LIMIT_REACHED_ERROR"), statuses)

			// One refresh token, shown to all at once, has one successor.
			tokens := make([]string, len(visitors))
			together(func(i int) {
				visitor := c.At(processes[i%3])
				visitor.RefreshSession()
				tokens[i] = visitor.Refresh
			})
			require.NotEmpty(t, tokens[0])
			require.Equal(t, len(tokens), count(tokens, tokens[0]))

			// A sign-out at one ends the session at all.
			c = visitors[0]
			c.At(processes[1]).SignOut()
			for _, process := range processes {
				require.Equal(t, 401, get(process, "/fresh", c))
				require.Equal(t, 401, c.At(process).RefreshSession().Status)
			}

			db, err := openSource(t.Context(), database, source, prefix, keys)
			require.NoError(t, err)
			t.Cleanup(func() { db.Close() })
			for table, want := range map[string]int{"signing_keys": 1, "refresh_keys": 1, "tenants": 1, "recipe_users": 1} {
				rows, err := db.Backend(store.Key{}).Query(t.Context(), "SELECT * FROM {p}"+table)
				require.NoError(t, err)
				require.Len(t, rows, want, table)
			}
		})
	}
}

func count(all []string, one string) (n int) {
	for _, text := range all {
		if text == one {
			n++
		}
	}
	return n
}
