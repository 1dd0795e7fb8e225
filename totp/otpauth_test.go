package totp

import (
	"testing"

	"github.com/pquerna/otp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
)

func TestOtpauthText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ issuer, account, want string }{
		{"Acme", "u@example.com", "otpauth://totp/Acme:u%40example.com?secret=ABC&issuer=Acme&digits=6&period=30&algorithm=SHA1"},
		{"Acme", "", "otpauth://totp/Acme?secret=ABC&issuer=Acme&digits=6&period=30&algorithm=SHA1"},
		{"A & B #1", "u+t@x.com",
			"otpauth://totp/A%20%26%20B%20%231:u%2Bt%40x.com?secret=ABC&issuer=A%20%26%20B%20%231&digits=6&period=30&algorithm=SHA1"},
	} {
		assert.Equal(t, test.want, otpauthURL(test.issuer, test.account, "ABC", 30))
	}
}

// T-10: another reader gets back every name, whatever is in it.
func TestOtpauthRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Acme", "A & B #1", "50% / 50%", "a/b", "//", "?x=1&y=2", "ünïcödé", "東京", "a b", "a+b", "%41", "~-._", `"quoted"`, "a;b,c=d", "🔑", "tab\there",
	} {
		for _, account := range []string{"", "u@example.com", "a:b:c", "+36 70 123", name} {
			key, err := otp.NewKeyFromURL(otpauthURL(name, account, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 45))
			require.NoError(t, err)
			assert.Equal(t, "totp", key.Type())
			assert.Equal(t, name, key.Issuer())
			if account != "" {
				assert.Equal(t, account, key.AccountName())
			}
			assert.Equal(t, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", key.Secret())
			assert.EqualValues(t, 45, key.Period())
			assert.Equal(t, otp.DigitsSix, key.Digits())
			assert.Equal(t, otp.AlgorithmSHA1, key.Algorithm())
		}
	}
	assert.Equal(t, "Acme Inc", issuerName("Acme: Inc"))
}

func TestAccountName(t *testing.T) {
	t.Parallel()
	type methods = []accountlinking.LoginMethod
	for name, test := range map[string]struct {
		methods methods
		want    string
	}{
		"nobody's":                           {nil, ""},
		"own email":                          {methods{method("other", "o@x.com", ""), method("me", "m@x.com", "+1")}, "m@x.com"},
		"own phone before another email":     {methods{method("other", "o@x.com", ""), method("me", "", "+1")}, "+1"},
		"first email when the own has none":  {methods{method("a", "", "+2"), method("b", "b@x.com", ""), method("c", "c@x.com", ""), method("me", "", "")}, "b@x.com"},
		"first phone when nobody has emails": {methods{method("a", "", "+2"), method("b", "", "+3")}, "+2"},
		"fake emails are no names":           {methods{method("me", "me@stfakeemail.supertokens.com", ""), method("b", "x@Y.FakeEmail.com ", ""), method("c", "c@x.com", "")}, "c@x.com"},
		"only a fake one":                    {methods{method("me", "me@STFAKEEMAIL.supertokens.com", "")}, ""},
	} {
		assert.Equal(t, test.want, accountName("me", test.methods), name)
	}
}
