package token

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Front is the token that front ends read: base64 of {"uid", "ate", "up"}, in which up is the very text of the access token's payload, since some
// compare the two as texts.
func (a *Access) Front() string { return front64(a.UserID, a.Expiry, a.Payload) }

func front64(userID string, expiry time.Time, payload string) string {
	uid, _ := json.Marshal(userID) // a text is always JSON
	var text strings.Builder
	text.WriteString(`{"uid":`)
	text.Write(uid)
	text.WriteString(`,"ate":`)
	text.WriteString(strconv.FormatInt(expiry.Unix()*1000, 10))
	text.WriteString(`,"up":`)
	text.WriteString(payload)
	text.WriteString(`}`)
	return base64.StdEncoding.EncodeToString([]byte(text.String()))
}
