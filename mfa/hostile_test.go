package mfa_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
)

// I-02: hostile text in every text that a request has is text: it makes no error of the database, reaches no other row, breaks no header, and what is
// kept of it comes back as it was.
func TestHostileTextInEveryField(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		c := b.signedUp(ada)
		victim := b.signedUp("victim@example.com")
		victim.EnrolTOTP(b.now())
		require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), victim.UserID(), "totp"))
		others := func() string { // all but what the requests of this test may write
			var kept []string
			for line := range strings.SplitSeq(db.Dump("tenants", "recipe_users", "user_tenants", "emailpassword_credentials", "user_metadata", "user_roles", "totp_devices", "sessions"), "\n") {
				if strings.Contains(line, victim.UserID()) {
					kept = append(kept, line)
				}
			}
			return strings.Join(kept, "\n")
		}
		before := others()
		require.NotEmpty(t, before)
		form := func(fields ...string) string {
			text, err := json.Marshal(map[string]any{"formFields": []map[string]string{{"id": "email", "value": fields[0]}, {"id": "password", "value": fields[1]}}})
			require.NoError(t, err)
			return string(text)
		}
		text := func(object map[string]string) string {
			raw, err := json.Marshal(object)
			require.NoError(t, err)
			return string(raw)
		}
		for i, hostile := range storetest.Hostile {
			email := fmt.Sprintf("u%d@example.com", i)
			for _, r := range []struct{ method, path, body string }{
				{"POST", "/auth/signup", form(hostile, password)},
				{"POST", "/auth/signup", form(hostile+"@example.com", password)},
				{"POST", "/auth/signup", form(email, hostile+"aA1aA1aA1")},
				{"POST", "/auth/signin", form(email, hostile+"aA1aA1aA1")},
				{"POST", "/auth/signin", form(hostile, hostile)},
				{"POST", "/auth/signin", form(hostile+"victim@example.com", password)},
				{"GET", "/auth/emailpassword/email/exists?email=" + url.QueryEscape(hostile), ""},
				{"GET", "/auth/" + url.PathEscape(hostile) + "/emailpassword/email/exists?email=x@example.com", ""},
				{"POST", "/auth/" + url.PathEscape(hostile) + "/signin", form(email, password)},
				{"POST", "/auth/totp/device", text(map[string]string{"deviceName": hostile})},
				{"POST", "/auth/totp/device/verify", text(map[string]string{"deviceName": hostile, "totp": hostile})},
				{"POST", "/auth/totp/verify", text(map[string]string{"totp": hostile})},
				{"PUT", "/auth/" + url.PathEscape(hostile) + "/mfa/info", ""},
			} {
				res := send(t, b.url, r.method, r.path, r.body, map[string]string{"Authorization": "Bearer " + c.Access, "st-auth-mode": "header"})
				require.Less(t, res.Status, 500, "%s %s with %q: %s", r.method, r.path, hostile, res.Body)
				require.NotContains(t, res.Header, "Injected")
			}
			for _, header := range []string{"rid", "fdi-version", "st-auth-mode", "anti-csrf", "Origin", "Authorization", "Cookie", "X-Forwarded-For"} {
				value := strings.Map(func(r rune) rune { // what net/http lets through
					if r < ' ' || r == 0x7f {
						return ' '
					}
					return r
				}, hostile)
				for _, prefix := range []string{"", "Bearer ", "sAccessToken="} {
					res := send(t, b.url, "POST", "/auth/signin", form("nobody@example.com", password), map[string]string{header: prefix + value})
					require.Less(t, res.Status, 500, "%s: %s%q: %s", header, prefix, value, res.Body)
				}
			}
			require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
			require.Equal(t, before, others(), "%q", hostile)

			// A name that a device may have comes back as it was.
			devices := c.Call("GET", "/auth/totp/device/list", nil)
			for _, d := range devices.JSON["devices"].([]any) {
				name := d.(map[string]any)["name"].(string)
				require.Equal(t, hostile, name)
				require.True(t, c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": name}).Is("OK"))
			}
		}
		require.True(t, victim.Call("GET", "/auth/totp/device/list", nil).Is("OK"))
		require.True(t, b.client().SignIn("victim@example.com", password).Is("OK"))
	})
}

// I-02: nothing that a user typed gets into the header of an answer.
func TestNoHeaderIsMadeOfText(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), func(cfg *mfa.Config) { cfg.AppInfo.AppName = "Acme\r\nInjected: yes" })
	c := frontend.New(t, b.url, "cookie")
	c.SignUp(ada, password)
	for _, r := range []frontend.Response{
		c.SignIn(ada, password),
		c.Call("POST", "/auth/totp/device", map[string]string{"deviceName": "a\r\nInjected: yes"}),
		c.Call("GET", "/auth/emailpassword/email/exists?email=a%0d%0aInjected:%20yes", nil),
		c.Call("GET", "/auth/a%0d%0aInjected:%20yes/emailpassword/email/exists?email=x", nil),
	} {
		require.NotContains(t, r.Header, "Injected")
		require.Less(t, r.Status, http.StatusInternalServerError, r.Body)
	}
}
