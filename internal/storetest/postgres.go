package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

var cluster struct {
	once sync.Once
	dsn  string
	err  error
	held *os.File // open for as long as this process lives
}

// PostgresDSN starts a throw-away PostgreSQL, once per test program, and skips the test where its programs are not installed. The server ends
// with the test program, however that ends.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	bin, ok := postgresPrograms()
	if !ok {
		Require(t, "postgres", "initdb and postgres are not installed")
	}
	cluster.once.Do(func() { cluster.dsn, cluster.err = startPostgres(bin) })
	if cluster.err != nil {
		t.Fatalf("starting PostgreSQL: %v", cluster.err)
	}
	return cluster.dsn
}

// postgresPrograms finds the directory of initdb: that of PATH, or the newest where Debian and others keep them.
func postgresPrograms() (string, bool) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), true
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", false
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), true
}

// The server runs below a shell that waits for the end of its standard input, which is a pipe of the test program: when that is gone, however it
// went, the shell stops the server and removes its files. The interrupt key, which reaches the whole group, must not end the shell first.
const supervise = `
trap "" INT HUP
"$1/initdb" -D "$2/data" -U test -A trust -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=1000 -c fsync=off -c full_page_writes=off \
	-c synchronous_commit=off -c shared_buffers=64MB -c deadlock_timeout=1s >>"$2/log" 2>&1 &
read _
kill -INT $!
wait
rm -rf "$2"
`

func startPostgres(bin string) (string, error) {
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-c", supervise, "sh", bin, dir)
	cmd.Dir = dir
	if err := unprivileged(cmd, dir); err != nil {
		return "", err
	}
	// A pipe of our own, not StdinPipe: nothing may close it before this process ends.
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	cluster.held = write
	cmd.Stdin = read
	if err := cmd.Start(); err != nil {
		return "", err
	}
	read.Close()

	dsn := fmt.Sprintf("host=%s user=test dbname=postgres", dir)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-exited:
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return "", fmt.Errorf("%w\n%s", err, log)
		case <-deadline:
			return "", errors.New("it did not answer within a minute")
		case <-tick.C:
			if db.PingContext(context.Background()) == nil {
				return dsn, nil
			}
		}
	}
}
