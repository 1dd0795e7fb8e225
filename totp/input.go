package totp

import (
	"encoding/base32"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/session"
)

const (
	maxDeviceName = 256 // bytes

	secretBytes      = 20 // of our own secrets (RFC 4226, R6)
	minImportedBytes = 16
	maxImportedBytes = 128
)

func badInput(format string, args ...any) error {
	return &session.BadInputError{Message: fmt.Sprintf(format, args...)}
}

func problem(text string) error {
	if text == "" {
		return nil
	}
	return &session.BadInputError{Message: text}
}

func checkText(field, text string) error { return problem(input.Text(field, text)) }

func checkUserID(id string) error { return problem(input.UserID("userId", id)) }

// checkNewName judges a name that a device is about to get.
func checkNewName(name string) error {
	if name == "" || len(name) > maxDeviceName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return badInput("deviceName must have 1 to %d bytes of valid UTF-8 without control characters", maxDeviceName)
	}
	return nil
}

// decodeSecret reads a secret as other systems write it.
func decodeSecret(text string) ([]byte, error) {
	text = strings.TrimRight(strings.ToUpper(strings.ReplaceAll(text, " ", "")), "=")
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(secret) < minImportedBytes || len(secret) > maxImportedBytes {
		return nil, badInput("secret must be the base32 text of %d to %d bytes", minImportedBytes, maxImportedBytes)
	}
	return secret, nil
}
