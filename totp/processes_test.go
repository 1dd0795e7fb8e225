package totp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/postgres"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/totp"
)

// job is what another process does: the test program runs itself, with the job in this variable.
type job struct {
	Database, Source, Prefix string
	Now                      time.Time
	Tokens                   []string // of the sessions that send
	Code                     string
	Requests                 int
}

const jobVariable = "STEPUP_TEST_TOTP_JOB"

func TestMain(m *testing.M) {
	text, isChild := os.LookupEnv(jobVariable)
	if !isChild {
		os.Exit(m.Run())
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run opens the database, says that it is ready, waits for the end of its input, sends all its requests at once, and writes the counted answers.
func (j job) run(ctx context.Context) error {
	opts := storage.Options{TablePrefix: j.Prefix, Keys: storage.NewKeys(processKey)}
	open := sqlite.Open
	if j.Database == "postgres" {
		open = postgres.Open
	}
	db, err := open(ctx, j.Source, opts)
	if err != nil {
		return err
	}
	defer db.Close()
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo: mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage: db,
		Factors: []mfa.Factor{emailpassword.New(emailpassword.Config{}), totp.New(totp.Config{})},
		Now:     func() time.Time { return j.Now },
		GetMFARequirementsForAuth: func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return factor.Requirements{factor.TOTP}, nil
		},
	})
	if err != nil {
		return err
	}
	handler := auth.Handler()
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	results := map[string]int{}
	var mu sync.Mutex
	together(j.Requests, func(i int) {
		req := httptest.NewRequest("POST", "/auth/totp/verify", strings.NewReader(`{"totp":"`+j.Code+`"}`))
		req.Header.Set("Authorization", "Bearer "+j.Tokens[i%len(j.Tokens)])
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		var answer struct{ Status string }
		json.Unmarshal(w.Body.Bytes(), &answer)
		if w.Code != http.StatusOK {
			answer.Status = fmt.Sprintf("%d %s", w.Code, w.Body)
		}
		mu.Lock()
		defer mu.Unlock()
		results[answer.Status]++
	})
	return json.NewEncoder(os.Stdout).Encode(results)
}

// processKey is the key of storetest.Keys, which the parent has.
var processKey = storage.Key{ID: "k1", Secret: [32]byte([]byte(strings.Repeat("k1", 16)))}

// spread runs the jobs, all at once, and adds up what they counted.
func spread(t *testing.T, jobs []job) map[string]int {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	begin, gun, err := os.Pipe()
	require.NoError(t, err)
	defer gun.Close()
	type process struct {
		cmd    *exec.Cmd
		out    *bufio.Reader
		errors *bytes.Buffer
	}
	var processes []process
	for _, j := range jobs {
		text, err := json.Marshal(j)
		require.NoError(t, err)
		p := process{exec.CommandContext(t.Context(), program), nil, &bytes.Buffer{}}
		p.cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
		p.cmd.Stdin, p.cmd.Stderr = begin, p.errors
		out, err := p.cmd.StdoutPipe()
		require.NoError(t, err)
		p.out = bufio.NewReader(out)
		require.NoError(t, p.cmd.Start())
		processes = append(processes, p)
	}
	begin.Close()
	for _, p := range processes {
		line, err := p.out.ReadString('\n')
		require.NoError(t, err, "%s", p.errors)
		require.Equal(t, "ready\n", line)
	}
	gun.Close()
	sum := map[string]int{}
	for _, p := range processes {
		var results map[string]int
		require.NoError(t, json.NewDecoder(p.out).Decode(&results), "%s", p.errors)
		require.NoError(t, p.cmd.Wait(), "%s", p.errors)
		for status, n := range results {
			sum[status] += n
		}
	}
	return sum
}

// T-05, L-03: processes that share one database share the memory of used codes and the budget.
func TestProcesses(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		v.SignOut()
		s.requires(factor.TOTP)
		source := db.DSN
		if db.Name == "sqlite" {
			rows, err := db.Handle.QueryContext(t.Context(), "PRAGMA database_list")
			require.NoError(t, err)
			require.True(t, rows.Next())
			var n, name any
			require.NoError(t, rows.Scan(&n, &name, &source))
			require.NoError(t, rows.Close())
		}
		jobs := func(code string) []job {
			var jobs []job
			for range 3 {
				j := job{Database: db.Name, Source: source, Prefix: db.Prefix, Now: s.now(), Code: code, Requests: 33}
				for range 3 {
					j.Tokens = append(j.Tokens, s.signedIn(ada).Access)
				}
				jobs = append(jobs, j)
			}
			return jobs
		}
		results := spread(t, jobs(s.code(secret)))
		require.Equal(t, map[string]int{"OK": 1, "INVALID_TOTP_ERROR": 5, "LIMIT_REACHED_ERROR": 93}, results)
		require.Equal(t, 1, s.withTOTP())

		// This process knows of it: the code is used, and the budget spent.
		is(t, s.signedIn(ada).verifyTOTP(s.code(secret)), 200, limitReached(15*time.Minute), none)
		s.turn(15 * time.Minute)
		require.True(t, s.signedIn(ada).verifyTOTP(s.code(secret)).Is("OK"))
		results = spread(t, jobs(s.wrong(secret)))
		require.Equal(t, map[string]int{"INVALID_TOTP_ERROR": 5, "LIMIT_REACHED_ERROR": 94}, results)
		is(t, s.signedIn(ada).verifyTOTP(frontend.Code(t, secret, s.now().Add(30*time.Second))), 200, limitReached(15*time.Minute), none)
	})
}
