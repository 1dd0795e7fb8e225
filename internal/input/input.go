// Package input judges texts that the host or a request hands in. A problem is a text for a *session.BadInputError, "" where there is none.
package input

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxUserID is the number of characters that a user id may have.
const MaxUserID = 128

// Text wants valid UTF-8 without U+0000, which PostgreSQL cannot keep.
func Text(field, text string) (problem string) {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return field + " must be valid UTF-8 without U+0000"
	}
	return ""
}

// UserID wants a text of 1 to 128 characters. Whether somebody has the id is another matter.
func UserID(field, id string) (problem string) {
	if n := utf8.RuneCountInString(id); n == 0 || n > MaxUserID {
		return fmt.Sprintf("%s must have 1 to %d characters", field, MaxUserID)
	}
	return Text(field, id)
}
