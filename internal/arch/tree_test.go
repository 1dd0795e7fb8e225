package arch

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// root is the top of the repository, seen from the directory of this package.
const root = "../.."

// tracked are the files of the repository. Outside of a checkout, in a module cache, there is no telling.
func tracked(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("this is no checkout of the repository")
	}
	names := strings.Split(strings.TrimSuffix(output(t, "git", "-C", root, "ls-files", "-z"), "\x00"), "\x00")
	return slices.DeleteFunc(names, func(name string) bool { // removed, and not yet committed
		_, err := os.Lstat(filepath.Join(root, name))
		return err != nil
	})
}

func TestTheTopLevelHoldsWhatWasAgreed(t *testing.T) {
	t.Parallel()
	agreed := []string{
		"mfa", "totp", "passwordless", "accountlinking", "session", "usermetadata", "userroles", "internal", "examples",
		"go.mod", "go.sum", "README.md", "LICENSE",
	}
	for _, file := range tracked(t) {
		top, _, _ := strings.Cut(file, "/")
		assert.True(t, strings.HasPrefix(top, ".") || slices.Contains(agreed, top), "%s: the top level holds nothing else than %v and dot-files", file, agreed)
	}
}

// forbidden is what no file may hold, each with the reason. The patterns are written so that they do not find themselves.
var forbidden = []struct {
	pattern *regexp.Regexp
	files   string // by suffix; "" for all
	why     string
}{
	{regexp.MustCompile(`(^|[^.\w])/(work|farm|root|tmp|home)/[a-z]`), "", "a path of one machine"},
	{regexp.MustCompile(`proxy\.golang\.org|registry\.npmjs\.org|deb\.debian\.org`), "", "the host of a registry: whoever builds chooses it"},
	{regexp.MustCompile(`\b(mfa|totp|session|accountlinking|passwordless|firstfactors|tenants-roles-metadata|frontends|security|storage|api|architecture|style)\.md\b`),
		"", "a page that users do not have: say it in words"},
	{regexp.MustCompile(`\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b`), ".go", "something left to do"},
	{regexp.MustCompile(`not [i]mplemented|panic\("[s]keleton"\)`), ".go", "something left to do"},
	{regexp.MustCompile(`time\.S[l]eep\(`), "_test.go", "a test that waits: turn its clock"},
}

func TestFilesHoldNothingOfTheirMakersMachine(t *testing.T) {
	t.Parallel()
	for _, file := range tracked(t) {
		base := path.Base(file)
		if base == "go.sum" || base == "package-lock.json" {
			continue // made by tools
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if !assert.NoError(t, err) || bytes.IndexByte(text, 0) >= 0 { // a picture, a font
			continue
		}
		for number, line := range strings.Split(string(text), "\n") {
			for _, f := range forbidden {
				if strings.HasSuffix(file, f.files) {
					assert.False(t, f.pattern.MatchString(line), "%s:%d: %s: %s", file, number+1, f.why, line)
				}
			}
		}
	}
}

// A file holds one idea: beyond some length it holds more.
func TestGoFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, file := range tracked(t) {
		if path.Ext(file) != ".go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if assert.NoError(t, err) {
			assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), 600, "%s: split it", file)
		}
	}
}
