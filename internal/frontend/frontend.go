// Package frontend is for tests: a client that sends what SuperTokens' front ends send and keeps what they keep.
package frontend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"
)

// Client is one browser or app of one person. It is not safe for concurrent use; Clone gives another with the same session.
type Client struct {
	t    testing.TB
	base string
	mode string // cookie or header
	http *http.Client

	Access, Refresh string         // header mode
	Payload         map[string]any // of the access token, from front-token; nil: no session
	NoRefresh       bool           // a 401 is returned as it is
}

// Serve starts a server of the handler that ends with the test, and returns its address. The handler is made from that address.
func Serve(t testing.TB, handler func(url string) http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = handler("http://" + server.Listener.Addr().String())
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// New makes a client without a session. The mode is cookie or header.
func New(t testing.TB, base, mode string) *Client {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &Client{t: t, base: base, mode: mode, http: &http.Client{Jar: jar}}
}

// Clone is another client with the same session, for parallel calls in header mode.
func (c *Client) Clone() *Client {
	clone := *c
	return &clone
}

// At is another client with the same session, in header mode, that calls another server.
func (c *Client) At(base string) *Client {
	clone := *c
	clone.base = base
	return &clone
}

// Cookies that the client would send to the refresh route, which are all that it has.
func (c *Client) Cookies() []*http.Cookie {
	c.t.Helper()
	url, err := url.Parse(c.base + "/auth/session/refresh")
	require.NoError(c.t, err)
	return c.http.Jar.Cookies(url)
}

// Response is an answer.
type Response struct {
	Status int
	Header http.Header
	Body   string
	JSON   map[string]any // nil when the body is none
}

// Is reports whether the answer is a 200 with this status field.
func (r Response) Is(status string) bool {
	return r.Status == http.StatusOK && r.JSON["status"] == status
}

// Call sends a request, with a JSON body unless body is nil, and takes the tokens of the answer. After a 401 it refreshes once and sends it again.
func (c *Client) Call(method, path string, body any) Response {
	c.t.Helper()
	r := c.send(method, path, body, c.Access)
	if r.Status == http.StatusUnauthorized && !c.NoRefresh {
		if c.RefreshSession().Status == http.StatusOK {
			r = c.send(method, path, body, c.Access)
		}
	}
	return r
}

// RefreshSession is POST /auth/session/refresh.
func (c *Client) RefreshSession() Response {
	c.t.Helper()
	return c.send("POST", "/auth/session/refresh", nil, c.Refresh)
}

func (c *Client) send(method, path string, body any, bearer string) Response {
	c.t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		require.NoError(c.t, err)
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, content)
	require.NoError(c.t, err)
	req.Header.Set("rid", "anti-csrf")
	req.Header.Set("fdi-version", "3.1,4.0,4.1,4.2")
	req.Header.Set("st-auth-mode", c.mode)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.mode == "header" && bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	c.take(res.Header)
	r := Response{Status: res.StatusCode, Header: res.Header, Body: string(text)}
	json.Unmarshal(text, &r.JSON)
	return r
}

// take keeps tokens in the order in which the session layer of the front ends reads them.
func (c *Client) take(h http.Header) {
	for name, token := range map[string]*string{"st-refresh-token": &c.Refresh, "st-access-token": &c.Access} {
		if values, ok := h[http.CanonicalHeaderKey(name)]; ok {
			*token = values[0]
		}
	}
	front := h.Get("front-token")
	switch front {
	case "":
		return
	case "remove":
		c.Payload, c.Access, c.Refresh = nil, "", ""
		return
	}
	text, err := base64.StdEncoding.DecodeString(front)
	require.NoError(c.t, err)
	var token struct {
		UID string         `json:"uid"`
		ATE int64          `json:"ate"`
		Up  map[string]any `json:"up"`
	}
	require.NoError(c.t, json.Unmarshal(text, &token))
	require.NotEmpty(c.t, token.UID)
	require.NotZero(c.t, token.ATE)
	c.Payload = token.Up
}

// UserID of the session.
func (c *Client) UserID() string {
	id, _ := c.Payload["sub"].(string)
	return id
}

// V is v of the claim st-mfa.
func (c *Client) V() bool {
	claim, _ := c.Payload["st-mfa"].(map[string]any)
	v, _ := claim["v"].(bool)
	return v
}

// Completed are the factor ids in c of the claim, sorted.
func (c *Client) Completed() []string {
	claim, _ := c.Payload["st-mfa"].(map[string]any)
	times, _ := claim["c"].(map[string]any)
	ids := []string{}
	for id := range times {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func credentials(email, password string) map[string]any {
	return map[string]any{
		"formFields":                      []map[string]string{{"id": "email", "value": email}, {"id": "password", "value": password}},
		"shouldTryLinkingWithSessionUser": false,
	}
}

// SignUp makes an account and expects it to be made.
func (c *Client) SignUp(email, password string) {
	c.t.Helper()
	r := c.Call("POST", "/auth/signup", credentials(email, password))
	require.True(c.t, r.Is("OK"), "sign-up: %d %s", r.Status, r.Body)
}

// SignIn returns the answer of a sign-in.
func (c *Client) SignIn(email, password string) Response {
	c.t.Helper()
	return c.Call("POST", "/auth/signin", credentials(email, password))
}

// SignOut ends the session and expects that.
func (c *Client) SignOut() {
	c.t.Helper()
	r := c.Call("POST", "/auth/signout", nil)
	require.True(c.t, r.Is("OK"), "sign-out: %d %s", r.Status, r.Body)
}

// Info is PUT /auth/mfa/info; what is next, set up and allowed.
func (c *Client) Info() (next, alreadySetup, allowedToSetup []string) {
	c.t.Helper()
	r := c.Call("PUT", "/auth/mfa/info", map[string]any{})
	require.True(c.t, r.Is("OK"), "mfa info: %d %s", r.Status, r.Body)
	factors := r.JSON["factors"].(map[string]any)
	list := func(key string) []string {
		out := []string{}
		for _, id := range factors[key].([]any) {
			out = append(out, id.(string))
		}
		return out
	}
	return list("next"), list("alreadySetup"), list("allowedToSetup")
}

// CreateDevice makes an unverified TOTP device and returns its name and secret.
func (c *Client) CreateDevice() (name, secret string) {
	c.t.Helper()
	r := c.Call("POST", "/auth/totp/device", map[string]any{})
	require.True(c.t, r.Is("OK"), "create device: %d %s", r.Status, r.Body)
	return r.JSON["deviceName"].(string), r.JSON["secret"].(string)
}

// EnrolTOTP makes a device and verifies it with the code of that time.
func (c *Client) EnrolTOTP(now time.Time) (secret string) {
	c.t.Helper()
	name, secret := c.CreateDevice()
	r := c.Call("POST", "/auth/totp/device/verify", map[string]any{"deviceName": name, "totp": Code(c.t, secret, now)})
	require.True(c.t, r.Is("OK"), "verify device: %d %s", r.Status, r.Body)
	return secret
}

// VerifyTOTP gives the code of that time.
func (c *Client) VerifyTOTP(secret string, now time.Time) Response {
	c.t.Helper()
	return c.Call("POST", "/auth/totp/verify", map[string]any{"totp": Code(c.t, secret, now)})
}

// Code is what an authenticator app with this secret shows at that time, with the usual period of 30 s.
func Code(t testing.TB, secret string, now time.Time) string {
	t.Helper()
	code, err := hotp.GenerateCodeCustom(secret, uint64(now.Unix()/30), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	require.NoError(t, err)
	return code
}
