package totp

import (
	"fmt"
	"strings"
)

// otpauthURL is what authenticator apps read from the QR code. Every byte outside of the unreserved ones (RFC 3986, 2.3) is escaped, a space as %20,
// since apps cut the text at & and #, and some show a + as it is.
func otpauthURL(issuer, account, secret string, period int64) string {
	label := escape(issuer)
	if account != "" {
		label += ":" + escape(account)
	}
	return fmt.Sprintf("otpauth://totp/%s?secret=%s&issuer=%s&digits=6&period=%d&algorithm=SHA1", label, secret, escape(issuer), period)
}

// issuerName drops the colon, which separates the issuer from the account even where it is escaped.
func issuerName(name string) string { return strings.ReplaceAll(name, ":", "") }

func escape(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~", b) >= 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}
