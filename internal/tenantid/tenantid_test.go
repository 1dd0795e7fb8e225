package tenantid_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/tenantid"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const empty, form = "tenantId should not be an empty String", "tenantId can only contain letters, numbers and hyphens"
	for id, want := range map[string]struct{ normal, problem string }{
		"customer-1":            {normal: "customer-1"},
		" Customer1\n":          {normal: "customer1"},
		"PUBLIC":                {normal: "public"},
		"-":                     {normal: "-"},
		strings.Repeat("a", 64): {normal: strings.Repeat("a", 64)},
		strings.Repeat("a", 65): {problem: "tenantId must not be longer than 64 characters"},
		"":                      {problem: empty},
		" \t":                   {problem: empty},
		"recipe":                {problem: "Cannot use 'recipe' as a tenantId"},
		" Hello":                {problem: "Cannot use 'hello' as a tenantId"},
		"config":                {problem: "Cannot use 'config' as a tenantId"},
		"users":                 {problem: "Cannot use 'users' as a tenantId"},
		"signin":                {problem: "Cannot use 'signin' as a tenantId"},
		"totp":                  {problem: "Cannot use 'totp' as a tenantId"},
		"AppId-x":               {problem: "tenantId must not start with 'appid-'"},
		"a b":                   {problem: form},
		"a_b":                   {problem: form},
		"café":                  {problem: form},
		"a/b":                   {problem: form},
		"a\x00":                 {problem: form},
		"\xff":                  {problem: form},
		"' OR 1=1; --":          {problem: form},
	} {
		normal, problem := tenantid.Check(id)
		require.Equal(t, want.normal, normal, "%q", id)
		require.Equal(t, want.problem, problem, "%q", id)
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{"": "public", " T1 ": "t1", "public": "public"} {
		normal, ok := tenantid.Normalise(id)
		require.True(t, ok)
		require.Equal(t, want, normal)
	}
	for _, id := range []string{" ", "users", "a b"} {
		_, ok := tenantid.Normalise(id)
		require.False(t, ok, "%q", id)
	}
}
