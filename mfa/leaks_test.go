package mfa_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// planted are texts that must turn up nowhere, each with what it is.
type planted map[string]string

func (p planted) add(what, text string) string {
	if text != "" {
		p[text] = what
	}
	return text
}

// tokens plants those that a client holds.
func (p planted) tokens(c *frontend.Client) {
	p.add("access token", c.Access)
	p.add("refresh token", c.Refresh)
	for _, cookie := range c.Cookies() {
		p.add("cookie "+cookie.Name, cookie.Value)
	}
}

// search looks for all of them, and for the parts of tokens that are secret by themselves.
func (p planted) search(t *testing.T, where, text string) {
	t.Helper()
	for secret, what := range p {
		if len(secret) == 6 && strings.Trim(secret, "0123456789") == "" {
			assert.NotRegexp(t, `\b`+regexp.QuoteMeta(secret)+`\b`, text, "%s holds a %s", where, what)
			continue
		}
		if !assert.NotContains(t, text, secret, "%s holds a %s", where, what) {
			t.FailNow() // the text is long
		}
		if parts := strings.Split(secret, "."); len(parts) > 1 {
			assert.NotContains(t, text, parts[len(parts)-1], "%s holds the end of a %s", where, what)
		}
	}
}

// G-02: whatever goes right or wrong, no log line at any level, no event and no text of an error holds a password, a code, a secret, a token, a link or
// an address; what a user typed takes no line of the log for itself.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		p := planted{}
		var passwords *emailpassword.Recipe
		policy := admins
		b := newBundle(t, db, withPolicy(func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			return policy(ctx, in)
		}), func(cfg *mfa.Config) {
			passwords = emailpassword.New(emailpassword.Config{Hashing: cheap})
			cfg.Factors[0] = passwords
		})
		email, right := p.add("email", "q1w2e3@planted.example"), p.add("password", "planted-right-1")
		wrong, nobody := p.add("password", "planted-wrong-1"), p.add("email", "nobody@planted.example")
		code := p.add("code", "pl4ntd")
		hostile := "x\nlevel=ERROR msg=forged\r\n\u2028"

		// Each flow as it is, and with each of its statements failing.
		var secret, name string
		c := b.client()
		c.SignUp(email, right)
		p.tokens(c)
		cookies := frontend.New(t, b.url, "cookie")
		flows := map[string]func(){
			"sign-in":          func() { cookies.SignIn(email, right) },
			"wrong password":   func() { b.client().SignIn(email, wrong) },
			"nobody":           func() { b.client().SignIn(nobody, wrong) },
			"taken":            func() { trySignUp(b.client(), email) },
			"bad form":         func() { trySignUp(b.client(), email+"@@") },
			"info":             func() { c.Call("PUT", "/auth/mfa/info", nil) },
			"list":             func() { c.Call("GET", "/auth/totp/device/list", nil) },
			"refresh":          func() { c.RefreshSession() },
			"me":               func() { me(c) },
			"exists":           func() { c.Call("GET", "/auth/emailpassword/email/exists?email="+email, nil) },
			"wrong code":       func() { c.Call("POST", "/auth/totp/verify", map[string]string{"totp": code}) },
			"right code":       func() { c.VerifyTOTP(secret, b.now()) },
			"hostile path":     func() { c.Call("PUT", "/auth/t%0A1/mfa/info", nil) },
			"hostile name":     func() { c.Call("POST", "/auth/totp/device/remove", map[string]string{"deviceName": hostile}) },
			"hostile email":    func() { trySignUp(b.client(), hostile) },
			"not JSON":         func() { send(t, b.url, "POST", "/auth/signin", `{"password":"`+right, nil) },
			"twice":            func() { send(t, b.url, "POST", "/auth/signin", `{"`+right+`":1,"`+right+`":2}`, nil) },
			"unknown tenant":   func() { c.Call("GET", "/auth/nosuch/emailpassword/email/exists?email="+email, nil) },
			"half a token":     func() { bearer(t, b, c.Access[:len(c.Access)-5]+"AAAAA") },
			"a refresh token":  func() { bearer(t, b, c.Refresh) },
			"a forged refresh": func() { forgedRefresh(t, b, c.Refresh[:len(c.Refresh)-5]+"AAAAA") },
			"token in a query": func() { send(t, b.url, "GET", "/me?token="+p.add("token", "planted-token-1"), "", nil) },
		}
		name, secret = c.CreateDevice()
		p.add("secret", secret)
		device := map[string]string{"deviceName": name, "totp": p.add("code", frontend.Code(t, secret, b.now()))}
		require.True(t, c.Call("POST", "/auth/totp/device/verify", device).Is("OK"))
		b.turn(30 * time.Second)
		for _, flow := range flows {
			for n := 0; ; n++ {
				require.NoError(t, b.ResetAttempts(t.Context(), c.UserID()))
				p.add("code", frontend.Code(t, secret, b.now()))
				b.db.Probe.FailAt(n)
				flow()
				done := n > 0 && !b.db.Probe.Failed()
				b.db.Probe.FailAt(0)
				p.tokens(c)
				p.tokens(cookies)
				b.turn(time.Minute)
				if done {
					break
				}
			}
		}

		// A policy that fails, one that panics, and one that asks for what nobody can do.
		for _, bad := range []mfa.GetMFARequirementsForAuthFunc{
			func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				return nil, http.ErrServerClosed
			},
			func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				panic("policy")
			},
			func(context.Context, mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
				return factor.Requirements{factor.OTPEmail}, nil
			},
		} {
			policy = bad
			c.SignIn(email, right)
			c.RefreshSession()
			c.Call("PUT", "/auth/mfa/info", nil)
			p.tokens(c)
		}
		policy = admins

		// Theft, a session that is over, a caller who hangs up, a database that is away.
		thief := b.client()
		require.True(t, thief.SignIn(email, right).Is("OK"))
		owner := thief.Clone()
		require.Equal(t, 200, owner.RefreshSession().Status)
		p.tokens(thief)
		p.tokens(owner)
		b.turn(time.Minute)
		thief.NoRefresh = true
		require.Equal(t, 401, thief.RefreshSession().Status)
		require.Equal(t, 401, owner.RefreshSession().Status)

		// The functions, with what they are given.
		errs := map[string]error{}
		ctx := t.Context()
		userID := c.UserID()
		require.NotEmpty(t, userID)
		_, errs["sign-in"] = passwords.SignIn(ctx, emailpassword.SignInInput{Email: email, Password: wrong})
		_, errs["sign-in, bad text"] = passwords.SignIn(ctx, emailpassword.SignInInput{Email: email, Password: right + "\x00"})
		_, errs["sign-up"] = passwords.SignUp(ctx, emailpassword.SignUpInput{Email: email, Password: right})
		_, errs["hash"] = passwords.CreateNewRecipeUser(ctx, emailpassword.CreateNewRecipeUserInput{
			Email: "other@planted.example", PasswordHash: p.add("hash", "$planted$hash"),
		})
		errs["credentials"] = passwords.VerifyCredentials(ctx, "public", email, wrong)
		errs["code"] = b.totp.VerifyTOTP(ctx, "public", userID, code)
		errs["code, bad text"] = b.totp.VerifyTOTP(ctx, "public", userID, code+"\xff")
		_, errs["import"] = b.totp.ImportDevice(ctx, totp.ImportDeviceInput{
			CreateDeviceInput: totp.CreateDeviceInput{UserID: userID}, Secret: p.add("secret", "PLANTED1SECRET"),
		})
		_, errs["access token"] = b.Sessions().GetSessionWithoutRequestResponse(ctx, session.GetSessionInput{AccessToken: c.Access + "x"})
		_, errs["refresh token"] = b.Sessions().RefreshSessionWithoutRequestResponse(ctx, session.RefreshSessionInput{RefreshToken: c.Refresh + "x"})
		for n := 1; n <= 3; n++ {
			db.Probe.FailAt(n)
			_, errs[fmt.Sprint("sign-in, statement ", n)] = passwords.SignIn(ctx, emailpassword.SignInInput{Email: email, Password: right})
			db.Probe.FailAt(n)
			errs[fmt.Sprint("code, statement ", n)] = b.totp.VerifyTOTP(ctx, "public", userID, frontend.Code(t, secret, b.now()))
		}
		db.Probe.FailAt(0)
		require.NoError(t, db.Close())
		gone := []frontend.Response{b.client().SignIn(email, right), c.VerifyTOTP(secret, b.now()), c.RefreshSession()}
		for _, r := range gone {
			require.Equal(t, 500, r.Status, r.Body)
			require.JSONEq(t, `{"message":"internal error"}`, r.Body)
		}

		for what, err := range errs {
			require.Error(t, err, what)
			p.search(t, "the error of "+what, fmt.Sprintf("%v %+v %#v", err, err, err))
		}
		b.mu.Lock()
		events, err := json.Marshal(b.seen)
		b.mu.Unlock()
		require.NoError(t, err)
		require.Greater(t, strings.Count(string(events), "factor.checked"), 20)
		p.search(t, "an event", string(events))
		log := b.logged()
		require.Contains(t, log, "injected failure")
		require.Contains(t, log, "level=DEBUG")
		p.search(t, "the log", log)
		for line := range strings.Lines(log) {
			require.Regexp(t, `^time=\S+ level=(DEBUG|INFO|WARN|ERROR) msg=`, line)
			require.NotContains(t, line, "msg=forged")
		}
	})
}

func bearer(t *testing.T, b *bundle, token string) {
	send(t, b.url, "GET", "/me", "", map[string]string{"Authorization": "Bearer " + token})
}

func forgedRefresh(t *testing.T, b *bundle, token string) {
	send(t, b.url, "POST", "/auth/session/refresh", "", map[string]string{"Authorization": "Bearer " + token})
}
