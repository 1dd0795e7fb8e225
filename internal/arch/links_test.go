package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// programs are sets of packages of this module with the modules of others that a program links which imports them and nothing else. What comes in
// with a driver, a mailer or a phone library is linked only by who imports the package that needs it.
var programs = []struct {
	imports []string
	links   []string
}{
	{[]string{"mfa/factor"}, nil},
	{[]string{"mfa/storage"}, nil},
	{[]string{"mfa/storage/sqlite"}, sqliteModules},
	{[]string{"mfa/storage/postgres"}, postgresModules},
	{[]string{"session"}, []string{"github.com/golang-jwt/jwt/v5", "golang.org/x/net"}},
	{[]string{"mfa", "totp"}, []string{"github.com/golang-jwt/jwt/v5", "golang.org/x/net", "github.com/pquerna/otp", "github.com/boombuler/barcode"}},
}

var sqliteModules = []string{"modernc.org/sqlite", "modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory", "golang.org/x/sys",
	"github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/remyoudompheng/bigfft"}

var postgresModules = []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile",
	"github.com/jackc/puddle/v2", "golang.org/x/text", "golang.org/x/sync"}

func TestAProgramLinksOnlyWhatItImports(t *testing.T) {
	t.Parallel()
	for _, p := range programs {
		t.Run(strings.Join(p.imports, " and "), func(t *testing.T) {
			t.Parallel()
			modules, packages := linked(t, p.imports)
			slices.Sort(p.links)
			assert.Equal(t, p.links, modules)
			for _, standard := range []string{"testing", "expvar", "net/http/pprof", "plugin"} {
				assert.NotContains(t, packages, standard)
			}
		})
	}
}

// linked builds nothing: it asks what a program with these imports is made of.
func linked(t *testing.T, imports []string) (modules, packages []string) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintln(&text, "package main")
	for _, name := range imports {
		fmt.Fprintf(&text, "import _ %q\n", module+"/"+name)
	}
	fmt.Fprintln(&text, "func main() {}")
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))
	// On one system, since others need other modules.
	lines := output(t, "env", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "go", "list", "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", file)
	for line := range strings.Lines(lines) {
		name, of, _ := strings.Cut(strings.TrimSpace(line), " ")
		packages = append(packages, name)
		if of != "" && of != module && !slices.Contains(modules, of) {
			modules = append(modules, of)
		}
	}
	slices.Sort(modules)
	return modules, packages
}
