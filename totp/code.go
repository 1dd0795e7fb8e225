package totp

import (
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pquerna/otp/hotp"
)

// Longer inputs than these are nobody's slip of the finger: they are refused without being counted.
const (
	maxCodeRunes = 8
	maxCodeBytes = 64
)

// tidy removes the spaces with which people copy a code: the only form that is changed, at the only place.
func tidy(code string) string { return strings.ReplaceAll(code, " ", "") }

func tooLong(code string) bool {
	return len(code) > maxCodeBytes || utf8.RuneCountInString(code) > maxCodeRunes
}

// wellFormed wants exactly six ASCII digits.
func wellFormed(code string) bool {
	return len(code) == 6 && strings.Trim(code, "0123456789") == ""
}

// counterAt is the number of periods that have passed since the epoch: 64 bits and never negative (RFC 6238, 4.2).
func counterAt(t time.Time, period int64) int64 { return max(t.Unix(), 0) / period }

// codeFunc gives the code of a counter (RFC 4226, 5.3): six digits, HMAC-SHA1. The secret is in base32.
type codeFunc func(secret string, counter uint64) (string, error)

var _ codeFunc = hotp.GenerateCode

// candidate is a device as far as its codes go.
type candidate struct {
	secret      []byte
	period      int64 // seconds
	skew        int64 // periods before and after the present one
	lastCounter int64 // the last one accepted, -1 before the first
}

// match is what became of a code.
type match struct {
	device   int   // the index of the first candidate that it is right for; -1: of none
	counter  int64 // the largest one of that candidate
	replayed bool  // of none, but it belongs to a counter that was passed already
}

// findMatch compares a well-formed code with those of every counter of every candidate that count at the time now. All of them are computed and
// compared, in constant time, wherever the first hit is.
func findMatch(code string, now time.Time, candidates []candidate, generate codeFunc) (match, error) {
	hits := make([]int64, len(candidates))
	replays := 0
	for i, c := range candidates {
		hits[i] = -1
		secret := encodeSecret(c.secret)
		present := counterAt(now, c.period)
		for counter := max(present-c.skew, 0); counter <= present+c.skew; counter++ {
			want, err := generate(secret, uint64(counter))
			if err != nil {
				return match{}, err
			}
			equal := subtle.ConstantTimeCompare([]byte(code), []byte(want))
			if counter > c.lastCounter {
				hits[i] = max(hits[i], int64(equal)*(counter+1)-1)
			} else {
				replays |= equal
			}
		}
	}
	for i, counter := range hits {
		if counter >= 0 {
			return match{device: i, counter: counter}, nil
		}
	}
	return match{device: -1, replayed: replays != 0}, nil
}

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}
