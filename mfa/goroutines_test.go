package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/totp"
)

// stacks are those of all goroutines.
func stacks() []string {
	buffer := make([]byte, 1<<20)
	return strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n")
}

// ours are the stacks of the goroutines that database/sql has not started: it has one for each handle, which opens connections, and one that closes idle
// ones where the host's driver package asks for that. Both end with the handle.
func ours() []string {
	return slices.DeleteFunc(stacks(), func(stack string) bool { return strings.Contains(stack, "created by database/sql.") })
}

// settled waits for what the driver does for the length of a statement, and then wants n goroutines of those.
func settled(when string, n int, all func() []string) error {
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		present := all()
		if len(present) == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s there are %d goroutines, not %d:\n%s", when, len(present), n, strings.Join(present, "\n\n"))
		}
	}
}

// countGoroutines compares how many there are before the database is opened, before an instance is made of it, after that, after requests of all kinds
// and after the end.
func countGoroutines(ctx context.Context) error {
	before := len(stacks())
	db, err := openSource(ctx, os.Getenv(childDatabase), os.Getenv(childSource), os.Getenv(childPrefix), os.Getenv(childKeys))
	if err != nil {
		return err
	}
	if err := settled("after the database was opened", before, ours); err != nil {
		return err
	}
	var during error
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo: local, Storage: db,
		Factors: []mfa.Factor{emailpassword.New(emailpassword.Config{Hashing: cheap}), totp.New(totp.Config{})},
		GetMFARequirementsForAuth: func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			for _, stack := range stacks() {
				if strings.Contains(stack, "created by github.com/stepup-auth/stepup") {
					during = errors.Join(during, errors.New("in a request: "+stack))
				}
			}
			return nil, nil
		},
	})
	if err != nil {
		return err
	}
	if err := settled("after New", before, ours); err != nil {
		return err
	}
	handler := auth.CORS(auth.Middleware(auth.Sessions().Verify(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))))
	token := ""
	for range 3 {
		for _, route := range []string{
			"POST /signup", "POST /signin", "PUT /mfa/info", "POST /totp/device", "POST /totp/verify", "GET /totp/device/list", "GET /jwt/jwks.json", "GET /../me",
			"POST /nosuch", "POST /session/refresh",
		} {
			method, path, _ := strings.Cut(route, " ")
			req := httptest.NewRequest(method, "http://localhost:3001/auth"+path, strings.NewReader(doors[route].body))
			req.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			if w.Code >= 500 {
				return fmt.Errorf("%s: %d %s", route, w.Code, w.Body)
			}
			if fresh := w.Header().Get("st-access-token"); fresh != "" {
				token = fresh
			}
		}
	}
	if token == "" {
		return errors.New("nobody signed in")
	}
	if err := auth.DeleteExpired(ctx); err != nil {
		return err
	}
	if err := errors.Join(during, settled("after requests", before, ours)); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return settled("after Close", before, stacks)
}

// No goroutine is started: not by New, not for a request, and none is left. Those of database/sql and of the driver come with the database that the host
// opens, and go with it.
func TestNoGoroutineIsStarted(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source, prefix := filepath.Join(dir, "acme.db"), ""
			if database == "postgres" {
				source, prefix = storetest.PostgresDSN(t), storetest.NewPrefix()
			}
			program, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), program)
			var output bytes.Buffer
			cmd.Stdout, cmd.Stderr = &output, &output
			cmd.Env = append(os.Environ(), childCounts+"=1", childDatabase+"="+database, childSource+"="+source, childPrefix+"="+prefix,
				childKeys+"="+filepath.Join(dir, "acme.key"))
			require.NoError(t, cmd.Run(), "%s", &output)
		})
	}
}
