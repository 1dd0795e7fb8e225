// Package browser runs the browser scripts of the examples' tests: Node with playwright-core, driving an installed Chromium.
package browser

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Run runs a script of the test's own directory against the server at url; what the script throws fails the test. It skips where Node, the packages of
// package-lock.json (npm ci), Chromium or one of the other programs is missing, and fails instead if MFA_TEST_REQUIRE names browser.
//
// Screenshots go to the directory that MFA_TEST_SHOTS names, or to one that ends with the test.
func Run(t *testing.T, script, url string, programs ...string) {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	here := filepath.Dir(self)
	node := find(t, "node")
	chromium := find(t, "chromium", "chromium-browser", "google-chrome")
	for _, program := range programs {
		find(t, program)
	}
	if _, err := os.Stat(filepath.Join(here, "node_modules", "playwright-core")); err != nil {
		Missing(t, "playwright-core is not installed: run npm ci in examples/internal/browser")
	}
	script, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	depend(t, here, filepath.Dir(script))
	shots := os.Getenv("MFA_TEST_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	cmd := exec.CommandContext(t.Context(), node, filepath.Join(here, "run.mjs"), script)
	cmd.Env = append(os.Environ(), "BASE_URL="+url, "CHROMIUM="+chromium, "SHOTS="+shots)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(script), err, out.String())
	}
	t.Log(out.String())
}

func find(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, names[0]+" is not installed")
	return ""
}

// depend looks at the scripts of the directories, so that go test does not take its last result where one of them changed.
func depend(t *testing.T, directories ...string) {
	t.Helper()
	for _, directory := range directories {
		scripts, err := filepath.Glob(filepath.Join(directory, "*.mjs"))
		if err != nil {
			t.Fatal(err)
		}
		for _, script := range scripts {
			if _, err := os.Stat(script); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Missing skips the test, for want of something, or fails it if MFA_TEST_REQUIRE names browser.
func Missing(t *testing.T, what string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("MFA_TEST_REQUIRE"), ","), "browser") {
		t.Fatal("a browser is required by MFA_TEST_REQUIRE: " + what)
	}
	t.Skip("without a browser: " + what)
}
