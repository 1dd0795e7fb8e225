package users_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/users"
)

// O-08
func TestNormalisedFormsAreFixedPoints(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" Test@Example.COM\t": "test@example.com", "a+b@x.org": "a+b@x.org", "Größe@x.org": "größe@x.org", "": "", " ": "",
	} {
		require.Equal(t, want, users.NormaliseEmail(in))
	}
	require.Equal(t, "+36 70", users.NormalisePhone("\n+36 70 "))
	for r := range rune(unicode.MaxRune) {
		once := users.NormaliseEmail("x" + string(r) + "X")
		if users.NormaliseEmail(once) != once {
			t.Errorf("%U changes twice", r)
		}
	}
}

func TestFakeEmails(t *testing.T) {
	t.Parallel()
	require.Equal(t, "abc@stfakeemail.supertokens.com", users.FakeEmail("ABC"))
	for _, fake := range []string{users.FakeEmail("u1"), " U1@STFAKEEMAIL.supertokens.com ", "g.google@google.fakeemail.com"} {
		require.True(t, users.IsFakeEmail(fake), fake)
	}
	for _, real := range []string{"", "a@example.com", "stfakeemail.supertokens.com", "a@stfakeemail.supertokens.com.evil.org", "a@fakeemail.com"} {
		require.False(t, users.IsFakeEmail(real), real)
	}
	require.False(t, strings.ContainsRune(users.FakeEmail("x"), ' '))
}
