package email_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stepup-auth/stepup/internal/email"
)

func TestValid(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("d", 63)
	longest := strings.Repeat("l", 254-len("@"+label+"."+label+".com")) + "@" + label + "." + label + ".com"
	for address, valid := range map[string]bool{
		"a@b.co":                 true,
		"a.b+tag@mail.b-c.co.uk": true,
		"Ä.é@example.com":        true, // local parts beyond ASCII pass
		"a'b%c/d=e@example.com":  true,
		"a@[127.0.0.1]":          true,
		"a@[999.999.999.999]":    true, // the range is not looked at
		"a@-.co":                 true,
		longest:                  true,

		longest[:1] + longest:     false,
		"":                        false,
		"a":                       false,
		"@b.co":                   false,
		"a@":                      false,
		"a@b.c":                   false,
		"d@c":                     false,
		"a@localhost":             false,
		"a@b..co":                 false,
		"a@.co":                   false,
		"a@b.co.":                 false,
		"a@b.c0m":                 false,
		"a@xn--bcher-kva.xn--p1a": false,
		"a@bücher.de":             false,
		"a@b@c.co":                false,
		".a@b.co":                 false,
		"a.@b.co":                 false,
		"a..b@b.co":               false,
		"a b@b.co":                false,
		"a\u00a0b@b.co":           false,
		"a\ufeffb@b.co":           false,
		" a@b.co":                 false,
		"a@b.co\n":                false,
		"a\x01b@b.co":             false,
		"a\u0085b@b.co":           false,
		`"a"@b.co`:                false,
		`"a b"@b.co`:              false,
		`a\b@b.co`:                false,
		"a,b@b.co":                false,
		"a@[127.0.0]":             false,
		"a@[1277.0.0.1]":          false,
		"a@127.0.0.1":             false,
	} {
		assert.Equal(t, valid, email.Valid(address), "%q", address)
	}
}
