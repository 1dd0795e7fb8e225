// Package email knows which text is an email address that a person may type. How addresses are compared and stored is not its business.
package email

import (
	"regexp"
	"strings"
	"unicode"
)

// MaxBytes is the longest address that SMTP can carry (RFC 5321, with the correction of its erratum 1690).
const MaxBytes = 254

// Valid reports whether a trimmed address has the form that the stock front ends accept: atoms with dots between them, "@", and labels of ASCII
// letters, digits and hyphens before a top level of two letters or more, or four numbers in brackets. Quoted local parts, control characters and
// addresses over MaxBytes, which those let pass, are refused.
func Valid(address string) bool {
	at := strings.LastIndexByte(address, '@')
	return at >= 0 && len(address) <= MaxBytes && validLocal(address[:at]) && domain.MatchString(address[at+1:])
}

var domain = regexp.MustCompile(`^(?:\[\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\]|(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,})$`)

func validLocal(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notInAtom) {
			return false
		}
	}
	return true
}

func notInAtom(r rune) bool {
	const byteOrderMark = '\uFEFF' // white space to the front ends
	return strings.ContainsRune(`<>()[]\.,;:@"`, r) || unicode.IsSpace(r) || unicode.IsControl(r) || r == byteOrderMark
}
