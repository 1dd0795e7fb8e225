// Package factorid judges factor ids that come from outside: they end up in access tokens.
package factorid

import (
	"fmt"
	"strings"

	"github.com/stepup-auth/stepup/mfa/factor"
)

const maxLength = 128

// Problem says what is wrong with the form of an id, as the end of a sentence that names it; "" if nothing is. Whether anybody knows the factor
// is another matter.
func Problem(id factor.ID) string {
	switch {
	case id == "passwordless":
		return fmt.Sprintf("should not contain passwordless, which is no factor: use %s, %s, %s or %s",
			factor.OTPEmail, factor.OTPPhone, factor.LinkEmail, factor.LinkPhone)
	case id == "" || strings.ContainsFunc(string(id), outside):
		return "should contain only 0-9,a-z,A-Z,_,.,- characters"
	case len(id) > maxLength:
		return fmt.Sprintf("should contain no factor id of more than %d characters", maxLength)
	}
	return ""
}

func outside(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
}

// BuiltIn reports whether the id is one of the eight that have a meaning of their own; any other is a factor of the application's.
func BuiltIn(id factor.ID) bool {
	switch id {
	case factor.EmailPassword, factor.ThirdParty, factor.OTPEmail, factor.OTPPhone, factor.LinkEmail, factor.LinkPhone, factor.TOTP, factor.WebAuthn:
		return true
	}
	return false
}
