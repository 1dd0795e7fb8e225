package totp_test

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/totp"
)

// forms are the ways in which a secret could be written.
func forms(t *testing.T, secret string) []string {
	raw, err := base32.StdEncoding.DecodeString(secret)
	require.NoError(t, err)
	return []string{
		secret, strings.ToLower(secret), string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), fmt.Sprint(raw),
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), url.QueryEscape(string(raw)),
	}
}

// F-06, G-02, E-01: a secret is in the answer to its creation, and in no other answer, header, event, log line or row, whatever happens to the device;
// nor is a code that somebody typed. The same of a secret that was imported.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		var answers strings.Builder
		note := func(r frontend.Response) frontend.Response {
			fmt.Fprintf(&answers, "%d %v %s\n", r.Status, r.Header, r.Body)
			return r
		}
		created := v.create(object{})
		require.Equal(t, 1, strings.Count(created.Body, `"secret"`))
		secret := created.JSON["secret"].(string)
		require.NotContains(t, fmt.Sprint(created.Header), secret)
		typed := []string{}
		try := func(code string, send func(code string) frontend.Response) {
			typed = append(typed, code)
			note(send(code))
		}
		device := func(name string) func(string) frontend.Response {
			return func(code string) frontend.Response { return v.verifyDevice(name, code) }
		}
		note(v.list())
		try("hunter2!", device("TOTP Device 1")) // a password in the wrong box
		try(s.wrong(secret), device("TOTP Device 1"))
		try("a long password of somebody", device("TOTP Device 1"))
		try(s.code(secret), device("no such device"))
		db.Probe.FailAt(7)
		try(s.code(secret), device("TOTP Device 1"))
		db.Probe.FailAt(0)
		try(s.code(secret), device("TOTP Device 1"))
		require.True(t, v.V())
		try(s.code(secret), v.verifyTOTP) // replayed
		try("correct horse battery", v.verifyTOTP)
		note(v.raw("POST", "/auth/totp/verify", `{"totp":["`+secret+`"]}`))
		note(v.raw("POST", "/auth/totp/verify", `{"totp":"`+secret+`"`))
		note(v.raw("POST", "/auth/totp/device", `{"deviceName":{"`+secret+`":1}}`))
		note(v.create(object{"deviceName": "TOTP Device 1"}))
		note(v.list())
		note(v.Call("PUT", "/auth/mfa/info", object{}))
		note(v.RefreshSession())
		s.turn(period)
		for range 6 {
			try(s.wrong(secret), v.verifyTOTP)
		}
		try(s.code(secret), v.verifyTOTP)
		s.turn(15 * time.Minute)
		try(s.code(secret), v.verifyTOTP)
		imported := base32.StdEncoding.EncodeToString([]byte("an imported secret!!"))
		_, err := s.totp.ImportDevice(t.Context(), totp.ImportDeviceInput{
			CreateDeviceInput: totp.CreateDeviceInput{UserID: v.UserID(), DeviceName: "imported"}, Secret: imported,
		})
		require.NoError(t, err)
		s.turn(period)
		try(s.code(imported), v.verifyTOTP)
		users, err := s.AccountLinking().GetUser(t.Context(), v.UserID())
		require.NoError(t, err)
		user, err := json.Marshal(users)
		require.NoError(t, err)
		list, err := s.totp.ListDevices(t.Context(), v.UserID())
		require.NoError(t, err)
		dump := db.Dump()
		note(v.remove("TOTP Device 1"))
		note(v.remove("imported"))

		s.mu.Lock()
		events := fmt.Sprintf("%+v", s.seen)
		s.mu.Unlock()
		everything := map[string]string{
			"answers": answers.String(), "events": events, "log": s.logged(), "database": dump + db.Dump(), "user": string(user), "list": fmt.Sprintf("%+v", list),
			"payload": fmt.Sprint(v.Payload), "recipe": fmt.Sprintf("%+v", s.totp),
		}
		require.Contains(t, everything["log"], "injected failure")
		require.Contains(t, everything["events"], "replayed")
		for where, text := range everything {
			for _, secret := range []string{secret, imported} {
				for _, form := range forms(t, secret) {
					require.NotContains(t, text, form, where)
				}
			}
			for _, code := range typed {
				if strings.Trim(code, "0123456789") != "" {
					require.NotContains(t, text, code, where)
				} else { // as a word: random texts hold any six digits by chance
					require.NotRegexp(t, `\b`+code+`\b`, text, where)
				}
			}
			require.NotContains(t, text, "otpauth:", where)
			require.NotContains(t, text, password, where)
		}
	})
}

// G-01, G-03, F-07: everything that happens to the factor of a user is told, in order, with the session that did it.
func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v := s.signedUp(ada)
		handle := v.session().Handle()
		told := func(want ...string) {
			t.Helper()
			s.mu.Lock()
			for _, e := range s.seen {
				require.Equal(t, s.now(), e.Time)
				require.Equal(t, time.UTC, e.Time.Location())
				require.Equal(t, v.UserID(), e.UserID)
				require.Equal(t, "public", e.TenantID)
				require.Equal(t, handle, e.SessionHandle)
			}
			s.mu.Unlock()
			require.Equal(t, want, s.events())
		}
		s.events()
		v.verifyTOTP("123456")
		told("factor.checked totp unknown")
		name, secret := v.CreateDevice()
		told([]string{}...)
		v.verifyDevice("x", s.code(secret))
		told("factor.checked totp unknown")
		v.verifyDevice(name, s.wrong(secret))
		told("factor.checked totp wrong")
		v.verifyDevice(name, s.code(secret))
		told("factor.checked totp +", "factor.set_up totp +", "factor.completed totp +")
		v.verifyDevice(name, s.code(secret))
		told([]string{}...)
		v.verifyTOTP(s.code(secret))
		told("factor.checked totp replayed")
		s.turn(period)
		v.verifyTOTP(s.code(secret))
		told("factor.checked totp +", "factor.completed totp +")
		for range 4 {
			v.verifyTOTP("x")
		}
		told("factor.checked totp wrong", "factor.checked totp wrong", "factor.checked totp wrong", "factor.checked totp wrong")
		v.verifyTOTP("x")
		told("factor.checked totp wrong", "password.known emailpassword limited")
		v.verifyTOTP("x")
		told("factor.checked totp limited")
		open, _ := v.CreateDevice()
		v.remove(open)
		v.remove("none")
		told([]string{}...)
		v.remove(name)
		told("factor.removed totp +")
		v.remove(name)
		told([]string{}...)
	})
}

// G-03: a sink that panics changes no answer, and lets nobody in.
func TestASinkThatPanicsOverHTTP(t *testing.T) {
	t.Parallel()
	quiet, loud := newSite(t, storetest.Open(t, "memory")), newSite(t, storetest.Open(t, "memory"), func(cfg *mfa.Config, _ *totp.Config) {
		cfg.OnEvent = nil
	})
	panicking := newSite(t, storetest.Open(t, "memory"), func(cfg *mfa.Config, _ *totp.Config) { cfg.OnEvent = brokenSink })
	var bodies []string
	for _, s := range []*site{quiet, loud, panicking} {
		s.requires(factor.TOTP)
		v, secret := s.enrolled(ada)
		half := s.signedIn(ada)
		bodies = append(bodies, half.verifyTOTP("x").Body+half.create(object{}).Body+half.remove("TOTP Device 1").Body+
			fmt.Sprint(half.V())+half.verifyTOTP(s.code(secret)).Body+fmt.Sprint(half.V())+v.remove("TOTP Device 1").Body)
	}
	require.Equal(t, bodies[0], bodies[1])
	require.Equal(t, bodies[0], bodies[2])
	require.Contains(t, panicking.logged(), "the sink is broken")
}

func brokenSink(context.Context, mfa.Event) { panic("the sink is broken") }
