package factorid_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/factorid"
	"github.com/stepup-auth/stepup/mfa/factor"
)

func TestProblem(t *testing.T) {
	t.Parallel()
	const form = "should contain only 0-9,a-z,A-Z,_,.,- characters"
	for id, problem := range map[factor.ID]string{
		factor.TOTP:                         "",
		"My_own.factor-2":                   "",
		factor.ID(strings.Repeat("a", 128)): "",
		factor.ID(strings.Repeat("a", 129)): "should contain no factor id of more than 128 characters",
		"":                                  form,
		"a b":                               form,
		"a(b)":                              form,
		"é":                                 form,
		"a\x00":                             form,
		"\xff":                              form,
		"passwordless":                      "should not contain passwordless, which is no factor: use otp-email, otp-phone, link-email or link-phone",
	} {
		require.Equal(t, problem, factorid.Problem(id), "%q", id)
	}
}

func TestBuiltIn(t *testing.T) {
	t.Parallel()
	for _, id := range []factor.ID{"emailpassword", "thirdparty", "otp-email", "otp-phone", "link-email", "link-phone", "totp", "webauthn"} {
		require.True(t, factorid.BuiltIn(id), id)
	}
	require.False(t, factorid.BuiltIn("my-sso"))
	require.False(t, factorid.BuiltIn("passwordless"))
}
