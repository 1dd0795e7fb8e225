package input_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/input"
)

func TestUserID(t *testing.T) {
	t.Parallel()
	const length, form = "userId must have 1 to 128 characters", "userId must be valid UTF-8 without U+0000"
	for id, problem := range map[string]string{
		"u1":                     "",
		"' OR 1=1; --":           "",
		strings.Repeat("ü", 128): "",
		strings.Repeat("ü", 129): length,
		"":                       length,
		"a\x00b":                 form,
		"\xff":                   form,
	} {
		require.Equal(t, problem, input.UserID("userId", id), "%q", id)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	require.Empty(t, input.Text("email", ""))
	require.Empty(t, input.Text("email", "Größe\n"))
	require.Equal(t, "email must be valid UTF-8 without U+0000", input.Text("email", "\xc3\x28"))
	require.Equal(t, "email must be valid UTF-8 without U+0000", input.Text("email", "\x00"))
}
