// Package arch holds the tests of the repository as a whole: which package may import which, what a program links, what lies where, and what must
// not stand in any file.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/stepup-auth/stepup"

// levels of the public packages, lowest first. A package imports only packages of lower levels; a pattern ends in * where a family is meant.
var levels = [][]string{
	{"mfa/factor", "mfa/delivery", "mfa/storage"},
	{"session"},
	{"usermetadata", "accountlinking", "userroles"},
	{"accountlinking/emailverification", "mfa/tenant"},
	{"mfa"},
	{"totp", "passwordless", "mfa/firstfactor/*"},
	{"examples/*"},
}

// drivers and mailers stand apart: each imports its leaf, and nothing of the library imports them, so that only who wants one links it.
var apart = map[string]string{
	"mfa/storage/sqlite":   "mfa/storage",
	"mfa/storage/postgres": "mfa/storage",
	"mfa/delivery/smtp":    "mfa/delivery",
}

// forTests are imported by tests only, so that no program links them.
var forTests = map[string]bool{"internal/storetest": true, "internal/frontend": true}

// level is the index of a public package in levels, or -1.
func level(name string) int {
	return slices.IndexFunc(levels, func(names []string) bool {
		return slices.ContainsFunc(names, func(pattern string) bool {
			family, ok := strings.CutSuffix(pattern, "*")
			return name == pattern || ok && strings.HasPrefix(name, family)
		})
	})
}

func isInternal(name string) bool { return strings.HasPrefix(name, "internal/") }
func isExample(name string) bool  { return strings.HasPrefix(name, "examples/") }

// mayImport is the rule of the arrows, for packages of this module without its path.
func mayImport(from, to string) bool {
	mfa := level("mfa")
	switch {
	case forTests[to]:
		return forTests[from]
	case isExample(from):
		return !isInternal(to)
	case isExample(to):
		return false
	case to == "internal/flow":
		return level(from) >= mfa
	case from == "internal/flow":
		return isInternal(to) || level(to) >= 0 && level(to) < mfa
	case isInternal(from):
		return isInternal(to) || level(to) == 0 || forTests[from] && apart[to] != ""
	case isInternal(to):
		return true
	case apart[from] != "":
		return to == apart[from]
	}
	return level(to) >= 0 && level(to) < level(from)
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath, Dir, Name              string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func (p goPackage) name() string { return local(p.ImportPath) }

// local is an import path without that of the module; "" for packages of others.
func local(importPath string) string {
	name, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return name
}

// packages are all of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(output(t, "go", "list", "-json=ImportPath,Dir,Name,GoFiles,Imports,TestImports,XTestImports", module+"/...")))
	var all []goPackage
	for {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, all)
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs strings.Builder
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), &errs)
	return string(out)
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		name := p.name()
		assert.True(t, isInternal(name) || apart[name] != "" || level(name) >= 0, "%s has no level: say where it stands", name)
		for _, imported := range p.Imports {
			if to := local(imported); to != "" {
				assert.True(t, mayImport(name, to), "%s must not import %s", name, to)
			}
		}
		if isExample(name) { // their tests are read as programs too, but for what stands in for a browser
			for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
				if to := local(imported); to != "" && to != "internal/frontend" {
					assert.True(t, mayImport(name, to), "tests of %s must not import %s", name, to)
				}
			}
		}
	}
}

func TestTheRuleOfTheArrows(t *testing.T) {
	t.Parallel()
	for arrow, want := range map[string]bool{
		"session > mfa/factor": true, "session > mfa/storage": true, "session > internal/store": true, "mfa/factor > session": false,
		"userroles > session": true, "session > userroles": false, "userroles > usermetadata": false, "mfa/tenant > accountlinking": true,
		"accountlinking > accountlinking/emailverification": false, "mfa > mfa/tenant": true, "mfa/tenant > mfa": false,
		"totp > mfa": true, "mfa > totp": false, "totp > passwordless": false, "totp > session": true, "mfa/firstfactor/emailpassword > mfa": true,
		"mfa > internal/flow": true, "totp > internal/flow": true, "mfa/tenant > internal/flow": false, "internal/store > internal/flow": false,
		"internal/flow > mfa/tenant": true, "internal/flow > mfa": false, "internal/flow > totp": false, "internal/flow > internal/env": true,
		"internal/users > mfa/factor": true, "internal/users > session": false, "internal/users > mfa/storage/sqlite": false,
		"internal/storetest > mfa/storage/sqlite": true, "internal/storetest > session": false, "session > internal/storetest": false,
		"mfa/storage/sqlite > mfa/storage": true, "mfa/storage/sqlite > internal/store": true, "mfa/storage/sqlite > mfa/factor": false,
		"mfa > mfa/storage/sqlite": false, "session > mfa/storage/postgres": false, "mfa/delivery/smtp > mfa/delivery": true,
		"mfa > mfa/delivery/smtp": false, "examples/quickstart > totp": true, "examples/quickstart > mfa/storage/sqlite": true,
		"examples/quickstart > examples/internal/browser": true, "examples/quickstart > internal/storetest": false, "totp > examples/quickstart": false,
	} {
		from, to, _ := strings.Cut(arrow, " > ")
		assert.Equal(t, want, mayImport(from, to), arrow)
	}
}
