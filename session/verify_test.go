package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/keys"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

const (
	unauthorised    = `{"message":"unauthorised"}`
	tryRefreshToken = `{"message":"try refresh token"}`
)

// tokensOf signs a user in and keeps the tokens.
func tokensOf(t *testing.T, b *bundle, id session.RecipeUserID) session.Tokens {
	t.Helper()
	return b.sign(id).AllSessionTokensDangerously()
}

func request(method, path, cookie, bearer string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func serve(handler http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

// Whose token counts: that of the header before that of the cookie, as far as the mode allows.
func TestWhichTokenIsRead(t *testing.T) {
	t.Parallel()
	for _, allowed := range []session.TransferMethod{"", "header", "cookie"} {
		b := inMemory(t, session.Config{GetTokenTransferMethod: func(*http.Request, bool) session.TransferMethod { return allowed }})
		inHeader, inCookie := tokensOf(t, b, "in-header"), tokensOf(t, b, "in-cookie")
		handler := app(b, session.NewSession{})
		for _, c := range []struct {
			header, cookie bool
			want           map[session.TransferMethod]string // by the allowed mode; "" is none
		}{
			{false, false, nil},
			{false, true, map[session.TransferMethod]string{"": "in-cookie", "cookie": "in-cookie"}},
			{true, false, map[session.TransferMethod]string{"": "in-header", "header": "in-header"}},
			{true, true, map[session.TransferMethod]string{"": "in-header", "header": "in-header", "cookie": "in-cookie"}},
		} {
			name := fmt.Sprintf("allowed %q, header %v, cookie %v", allowed, c.header, c.cookie)
			cookie, bearer := "", ""
			if c.cookie {
				cookie = "a=b; sAccessToken=" + inCookie.AccessToken + "; c=d"
			}
			if c.header {
				bearer = inHeader.AccessToken
			}
			res := serve(handler, request("GET", "/me", cookie, bearer))
			maybe := serve(handler, request("GET", "/maybe", cookie, bearer))
			require.Equal(t, http.StatusOK, maybe.StatusCode, name)
			require.Equal(t, c.want[allowed], text(t, maybe), name)
			if c.want[allowed] != "" {
				require.Equal(t, c.want[allowed], text(t, res), name)
				continue
			}
			require.Equal(t, http.StatusUnauthorized, res.StatusCode, name)
			require.Equal(t, unauthorised, text(t, res), name)
			require.Empty(t, res.Header["Front-Token"], "a request that raced with a sign-in must not wipe its tokens")
			require.Empty(t, res.Header["Set-Cookie"])
		}
	}
}

func TestTokensThatAreNoGood(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	tokens := tokensOf(t, b, "user-1")
	handler := app(b, session.NewSession{})
	good := tokens.AccessToken
	another, err := b.CreateJWT(t.Context(), session.CreateJWTInput{
		Payload: map[string]any{"sub": "user-1", "rsub": "user-1", "tId": "public", "sessionHandle": "h", "refreshTokenHash1": "x"}, UseDynamicSigningKey: true,
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		cookie, bearer string
		body, maybe    string // of a required session; of an optional one, "" is none
	}{
		"a foreign bearer token beside a cookie": {"sAccessToken=" + good, "eyJhbGciOiJFUzI1NiJ9.e30.AA", "user-1", "user-1"},
		"foreign":                                {"", "eyJhbGciOiJFUzI1NiJ9.e30.AA", unauthorised, ""},
		"J-04: a token of CreateJWT":             {"", another, unauthorised, ""},
		"J-04: a refresh token":                  {"", tokens.RefreshToken, unauthorised, ""},
		"J-04: a front token":                    {"", tokens.FrontToken, unauthorised, ""},
		"J-05: another signature":                {"", good[:len(good)-4] + "AAAA", tryRefreshToken, tryRefreshToken},
		"J-06: long":                             {"", strings.Repeat("a", 20<<10), unauthorised, ""},
		"the cookie twice":                       {"sAccessToken=" + good + "; sAccessToken=" + good, "", tryRefreshToken, tryRefreshToken},
		"the cookie twice, escaped":              {"sAccessToken=" + good + "; %73AccessToken=x", "", tryRefreshToken, tryRefreshToken},
		"quoted":                                 {`sAccessToken="` + good + `"`, "", "user-1", "user-1"},
		"escaped":                                {"sAccessToken=" + strings.ReplaceAll(good, ".", "%2E"), "", "user-1", "user-1"},
		"not escaped well":                       {"sAccessToken=%zz" + good, "", unauthorised, ""},
		"another cookie":                         {"saccesstoken=" + good, "", unauthorised, ""},
	} {
		res := serve(handler, request("GET", "/me", c.cookie, c.bearer))
		require.Equal(t, c.body, text(t, res), name)
		require.Equal(t, c.body != "user-1", res.StatusCode == http.StatusUnauthorized, name)
		require.Equal(t, c.body != unauthorised, b.CarriesAccessToken(env.Key{}, request("GET", "/me", c.cookie, c.bearer)), name)
		require.Equal(t, c.maybe, text(t, serve(handler, request("GET", "/maybe", c.cookie, c.bearer))), name)
	}
	for _, scheme := range []string{"bearer ", "Bearer", "Basic ", "Token "} {
		r := request("GET", "/me", "", "")
		r.Header.Set("Authorization", scheme+good)
		require.Equal(t, http.StatusUnauthorized, serve(handler, r).StatusCode, scheme)
	}
	r := request("GET", "/me", "", "  "+good+"  ")
	require.Equal(t, "user-1", text(t, serve(handler, r)))
	for _, path := range []string{"/me?access_token=" + good, "/me?sAccessToken=" + good} {
		require.Equal(t, http.StatusUnauthorized, serve(handler, request("GET", path, "", "")).StatusCode, "S-09: no token in a URL")
	}
}

// J-03: exp has no leeway, in a token that was seen before too.
func TestExpiry(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{AccessTokenValidity: time.Minute})
	token := b.sign("user-1").AccessToken()
	expiry := b.clock.Now().Add(time.Minute).Truncate(time.Second)
	b.clock.Add(expiry.Sub(b.clock.Now()) - time.Millisecond)
	_, err := b.verified(token)
	require.NoError(t, err)
	b.clock.Add(time.Millisecond)
	var refresh *session.TryRefreshTokenError
	for range 2 {
		_, err = b.verified(token)
		require.ErrorAs(t, err, &refresh)
	}
	b.clock.Add(-time.Second)
	_, err = b.verified(token)
	require.NoError(t, err, "a clock that jumps back shows it again, verified anew")
	require.Equal(t, http.StatusUnauthorized, func() int {
		b.clock.Add(time.Second)
		return serve(app(b, session.NewSession{}), request("GET", "/maybe", "", token)).StatusCode
	}(), "an expired session is refused where it is optional, too")
}

// J-01, J-03: a token of another instance is no token of this one.
func TestOtherIssuersAndKeys(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite")
	b := newBundle(t, db, setup{})
	elsewhere := newBundle(t, db.Again(storetest.Keys(t, "k1")), setup{
		info: session.AppInfo{AppName: "Acme", APIDomain: "https://api.other.example", WebsiteDomain: "https://other.example"},
	})
	stranger := inMemory(t, session.Config{})
	var refresh *session.TryRefreshTokenError
	for name, token := range map[string]string{
		"the same keys, another issuer": elsewhere.sign("user-1").AccessToken(),
		"other keys":                    stranger.sign("user-1").AccessToken(),
	} {
		_, err := b.verified(token)
		require.ErrorAs(t, err, &refresh, name)
	}
	own := b.sign("user-1").AccessToken()
	_, err := newBundle(t, db.Again(storetest.Keys(t, "k1")), setup{}).verified(own)
	require.NoError(t, err, "another process of the same instance")

	forged, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	_, payload, _ := strings.Cut(own, ".")
	_, err = b.verified(strings.Split(forged, ".")[0] + "." + payload)
	var none *session.UnauthorisedError
	require.ErrorAs(t, err, &none)
}

func TestTheKindOfKeyFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite")
	dynamic := newBundle(t, db, setup{})
	static := newBundle(t, db.Again(storetest.Keys(t, "k1")), setup{cfg: session.Config{StaticSigningKeys: true}})
	kid := func(token string) string {
		t.Helper()
		parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
		require.NoError(t, err)
		return parsed.Header["kid"].(string)
	}
	tokens := tokensOf(t, dynamic, "user-1")
	require.True(t, strings.HasPrefix(kid(tokens.AccessToken), "d-"))
	_, err := static.verified(tokens.AccessToken)
	var refresh *session.TryRefreshTokenError
	require.ErrorAs(t, err, &refresh)
	s, err := static.refreshed(tokens.RefreshToken)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(kid(s.AccessToken()), "s-"))
	require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"a": 1}))
	require.True(t, strings.HasPrefix(kid(s.AccessToken()), "s-"))
	_, err = static.verified(s.AccessToken())
	require.NoError(t, err)
}

// J-07: whoever keeps the published keys for ten minutes meets no token that it cannot verify, over two rotations.
func TestAReaderOfTheKeySetThatCaches(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{RefreshTokenValidity: 365 * 24 * time.Hour})
	s := b.sign("user-1")
	known, read := map[string]bool{}, time.Time{}
	rotations := map[string]bool{}
	for end := b.clock.Now().Add(15 * 24 * time.Hour); b.clock.Now().Before(end); b.clock.Add(7 * time.Minute) {
		if b.clock.Now().Sub(read) > 10*time.Minute {
			set, err := b.GetJWKS(t.Context())
			require.NoError(t, err)
			known, read = map[string]bool{}, b.clock.Now()
			for _, key := range set.Keys {
				known[key["kid"].(string)] = true
				require.NotContains(t, key, "d", "no private part")
			}
			require.GreaterOrEqual(t, set.Validity, time.Second)
			require.LessOrEqual(t, set.Validity, 168*time.Hour-keys.Overlap)
		}
		if s.AccessTokenPayload()["exp"].(float64) < float64(b.clock.Now().Add(8*time.Minute).Unix()) {
			var err error
			s, err = b.refreshed(s.AllSessionTokensDangerously().RefreshToken)
			require.NoError(t, err)
		}
		parsed, _, err := jwt.NewParser().ParseUnverified(s.AccessToken(), jwt.MapClaims{})
		require.NoError(t, err)
		kid := parsed.Header["kid"].(string)
		rotations[kid] = true
		require.True(t, known[kid], "the key %s at %s", kid, b.clock.Now())
		_, err = b.verified(s.AccessToken())
		require.NoError(t, err)
	}
	require.Len(t, rotations, 3)
}

// S-08: where the header is the defence, a request that needs no preflight fails.
func TestAntiCSRFByACustomHeader(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{AntiCSRF: session.AntiCSRFViaCustomHeader})
	tokens := tokensOf(t, b, "user-1")
	handler := app(b, session.NewSession{})
	cookie := "sAccessToken=" + tokens.AccessToken
	rid := func(r *http.Request) { r.Header.Set("rid", "anything") }
	form := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"} {
		without := serve(handler, request(method, "/me", cookie, "", form))
		require.Equal(t, method == "GET", without.StatusCode == http.StatusOK, method)
		require.Equal(t, http.StatusOK, serve(handler, request(method, "/me", cookie, "", rid)).StatusCode, method)
		require.Equal(t, http.StatusOK, serve(handler, request(method, "/me", "", tokens.AccessToken, form)).StatusCode, "no foreign page can send the header")
	}
	res := serve(handler, request("POST", "/me", cookie, ""))
	require.Equal(t, tryRefreshToken, text(t, res))
	require.Empty(t, res.Header["Front-Token"])

	checked := func(check bool) http.Handler {
		return b.VerifySession(session.VerifyOptions{AntiCSRFCheck: &check})(http.NotFoundHandler())
	}
	require.Equal(t, http.StatusUnauthorized, serve(checked(true), request("GET", "/", cookie, "")).StatusCode)
	require.Equal(t, http.StatusNotFound, serve(checked(false), request("POST", "/", cookie, "")).StatusCode)

	refresh := "sRefreshToken=" + tokens.RefreshToken
	res = serve(handler, request("POST", "/auth/session/refresh", refresh, ""))
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Equal(t, unauthorised, text(t, res))
	require.Empty(t, res.Header["Set-Cookie"], "a form of another site must not log the user out")
	require.Empty(t, res.Header["Front-Token"])
	require.Equal(t, http.StatusOK, serve(handler, request("POST", "/auth/session/refresh", refresh, "", rid)).StatusCode)
	require.Equal(t, http.StatusUnauthorized, serve(handler, request("POST", "/auth/signout", cookie, "")).StatusCode)
}

func TestAntiCSRFByDefault(t *testing.T) {
	t.Parallel()
	cross := session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.test"}
	for name, c := range map[string]struct {
		info session.AppInfo
		cfg  session.Config
		fine bool
	}{
		"same site": {acme, session.Config{}, true}, "another site": {cross, session.Config{}, false},
		"another site, by headers only": {cross, session.Config{AntiCSRF: session.AntiCSRFNone, TokenTransfer: session.TransferHeader}, true},
	} {
		b := newBundle(t, storetest.Open(t, "memory"), setup{info: c.info, cfg: c.cfg})
		tokens := tokensOf(t, b, "user-1")
		res := serve(app(b, session.NewSession{}), request("POST", "/me", "sAccessToken="+tokens.AccessToken, ""))
		require.Equal(t, c.fine, res.StatusCode == http.StatusOK, name)
	}
}

// Without a request there is no header to look at; who asks for the check gets an error, not a check that was not made.
func TestAntiCSRFWithoutARequest(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		mode                 session.AntiCSRF
		check                *bool
		disable              bool
		verifies, refreshing bool
	}{
		{session.AntiCSRFDefault, nil, false, true, true},
		{session.AntiCSRFDefault, &yes, false, false, true},
		{session.AntiCSRFDefault, &no, true, true, true},
		{session.AntiCSRFNone, &yes, false, true, true},
		{session.AntiCSRFViaCustomHeader, nil, false, false, false},
		{session.AntiCSRFViaCustomHeader, &yes, false, false, false},
		{session.AntiCSRFViaCustomHeader, &no, true, true, true},
	} {
		b := inMemory(t, session.Config{AntiCSRF: c.mode})
		tokens := tokensOf(t, b, "user-1")
		_, err := b.GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{
			AccessToken: tokens.AccessToken, Options: session.VerifyOptions{AntiCSRFCheck: c.check},
		})
		require.Equal(t, c.verifies, err == nil, "%+v: %v", c, err)
		_, err = b.RefreshSessionWithoutRequestResponse(t.Context(), session.RefreshSessionInput{
			RefreshToken: tokens.RefreshToken, DisableAntiCSRF: c.disable,
		})
		require.Equal(t, c.refreshing, err == nil, "%+v: %v", c, err)
	}
}

// S-05: with the database check a session ends at once; without, when its access token does.
func TestCheckDatabase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{})
		handler := app(b, session.NewSession{})
		c := newClient(t, handler, "cookie")
		c.call("POST", "/login", "")
		before := db.Dump("sessions")
		require.Equal(t, http.StatusOK, c.call("GET", "/strict", "").StatusCode)
		require.Equal(t, before, db.Dump("sessions"), "verifying writes nothing")

		handles, err := b.GetAllSessionHandlesForUser(t.Context(), session.GetAllSessionHandlesForUserInput{UserID: "user-1"})
		require.NoError(t, err)
		require.NoError(t, b.MergeIntoAccessTokenPayload(t.Context(), handles[0], map[string]any{"plan": "paid"}))
		exp := func(res *http.Response) string {
			_, after, _ := strings.Cut(string(frontOf(t, res).Up), `"exp":`)
			exp, _, _ := strings.Cut(after, ",")
			return exp
		}
		end := fmt.Sprint(b.clock.Now().Add(time.Hour).Unix())
		b.clock.Add(10 * time.Minute)
		require.Empty(t, c.call("GET", "/me", "").Header.Get("front-token"), "without the check nobody knows")
		res := c.call("GET", "/strict", "")
		require.Contains(t, string(frontOf(t, res).Up), `"plan":"paid"`)
		require.Equal(t, end, exp(res), "the new token ends when the old one did")
		require.Contains(t, string(frontOf(t, res).Up), fmt.Sprintf(`"iat":%d`, b.clock.Now().Unix()))
		require.Empty(t, c.call("GET", "/strict", "").Header.Get("front-token"))

		old := c.cookies["sAccessToken"]
		c.call("POST", "/auth/session/refresh", "")
		require.Equal(t, http.StatusOK, serve(handler, request("GET", "/strict", "sAccessToken="+old, "")).StatusCode, "in flight while a refresh was made")
		c.call("POST", "/auth/session/refresh", "")
		res = serve(handler, request("GET", "/strict", "sAccessToken="+old, ""))
		require.Equal(t, tryRefreshToken, text(t, res), "two refreshes later it belongs to nobody")

		stolen, refresh := c.cookies["sAccessToken"], c.cookies["sRefreshToken"]
		c.call("POST", "/auth/signout", "")
		require.Equal(t, http.StatusUnauthorized, serve(handler, request("POST", "/auth/session/refresh", "sRefreshToken="+refresh, "")).StatusCode)
		require.Equal(t, http.StatusOK, serve(handler, request("GET", "/me", "sAccessToken="+stolen, "")).StatusCode)
		res = serve(handler, request("GET", "/strict", "sAccessToken="+stolen, ""))
		require.Equal(t, unauthorised, text(t, res))
		require.Equal(t, "remove", res.Header.Get("front-token"))
	})
}

func TestTheDatabaseCheckOfAnExpiredSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, setup{cfg: session.Config{AbsoluteLifetime: 30 * time.Minute, AccessTokenValidity: time.Hour}})
		s := b.sign("user-1")
		require.Equal(t, float64(b.clock.Now().Add(30*time.Minute).Unix()), s.AccessTokenPayload()["exp"], "S-04: no token outlives its session")
		b.clock.Add(30 * time.Minute)
		_, err := b.GetSessionInformation(t.Context(), s.Handle())
		require.ErrorIs(t, err, session.ErrSessionDoesNotExist, "expired and not swept is gone")
		require.Equal(t, 1, db.Rows("sessions"))
	})
}

func TestJitter(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{AccessTokenJitter: new(0.25)})
	shortest, longest := time.Hour, time.Duration(0)
	for range 200 {
		payload := b.sign("user-1").AccessTokenPayload()
		validity := time.Duration(payload["exp"].(float64)-payload["iat"].(float64)) * time.Second
		require.LessOrEqual(t, validity, time.Hour)
		require.GreaterOrEqual(t, validity, 45*time.Minute)
		shortest, longest = min(shortest, validity), max(longest, validity)
	}
	require.Less(t, shortest, 50*time.Minute)
	require.Greater(t, longest, 55*time.Minute)
}

// D-02, D-04: a session whose claims are not good is refused by every method, by an upgrade, and however its token comes.
func TestEveryWayToAProtectedRoute(t *testing.T) {
	t.Parallel()
	done := session.NewBooleanClaim("done", func(context.Context, session.FetchValueInput) (bool, bool, error) { return false, true, nil })
	b := inMemory(t, session.Config{Claims: []session.Claim{done}, GlobalClaimValidators: []session.ClaimValidator{done.IsTrue()}})
	tokens := tokensOf(t, b, "user-1")
	reached := 0
	handler := b.Verify(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	upgrade := func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND"} {
		for _, r := range []*http.Request{
			request(method, "/", "sAccessToken="+tokens.AccessToken, ""), request(method, "/", "", tokens.AccessToken),
			request(method, "/", "", tokens.AccessToken, upgrade),
		} {
			res := serve(handler, r)
			require.Equal(t, http.StatusForbidden, res.StatusCode, method)
			require.JSONEq(t, `{"message":"invalid claim","claimValidationErrors":[
				{"id":"done","reason":{"message":"wrong value","expectedValue":true,"actualValue":false}}]}`, text(t, res))
		}
	}
	require.Zero(t, reached)
	for _, method := range []string{"OPTIONS", "TRACE"} {
		serve(handler, request(method, "/", "", ""))
	}
	require.Equal(t, 2, reached, "these pass without a session")
}

// D-05: an answer that was remembered is never that of an older claim.
func TestWhatIsRememberedFollowsTheToken(t *testing.T) {
	t.Parallel()
	b := inMemory(t, session.Config{})
	done := session.NewBooleanClaim("done", nil)
	handler := b.Verify(http.NotFoundHandler(), done.IsTrue())
	s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
		RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"done": map[string]any{"v": false, "t": 1}},
	})
	require.NoError(t, err)
	status := func(token string) int { return serve(handler, request("GET", "/", "", token)).StatusCode }
	before := s.AccessToken()
	for range 3 {
		require.Equal(t, http.StatusForbidden, status(before))
	}
	require.NoError(t, s.SetClaimValue(t.Context(), done, true))
	after := s.AccessToken()
	require.NotEqual(t, before, after, "S-01: a completed factor makes a new token")
	for range 3 {
		require.Equal(t, http.StatusNotFound, status(after))
		require.Equal(t, http.StatusForbidden, status(before))
	}
	require.NoError(t, s.SetClaimValue(t.Context(), done, false))
	require.Equal(t, http.StatusForbidden, status(s.AccessToken()))
}

// More tokens than are remembered are verified all the same.
func TestMoreTokensThanAreRemembered(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs many tokens")
	}
	b := inMemory(t, session.Config{})
	s := b.sign("user-1")
	tokens := []string{s.AccessToken()}
	for i := range 4200 {
		require.NoError(t, s.MergeIntoAccessTokenPayload(t.Context(), map[string]any{"i": i}))
		if i%100 == 0 {
			tokens = append(tokens, s.AccessToken())
		}
	}
	for range 2 {
		for _, token := range tokens {
			_, err := b.verified(token)
			require.NoError(t, err)
		}
	}
}
