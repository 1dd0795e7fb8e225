package session

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxCookie is the length of name and value that browsers keep.
const maxCookie = 4096

// checkSizes refuses tokens that a browser would drop without a word. Front ends keep header tokens in cookies, too.
func (r *Recipe) checkSizes(req *http.Request, access, front int) error {
	for name, size := range map[string]int{r.cookieName(req, TokenTypeAccess): access, frontCookie: front} {
		if size += len(name); size > maxCookie {
			return fmt.Errorf("session: the payload is too large: the cookie %s would have %d bytes, and browsers keep %d", name, size, maxCookie)
		}
	}
	return nil
}

// accessCookieLife outlives the token: that the cookie is there means that a refresh may work.
const accessCookieLife = 365 * day

// sendTokens puts the tokens of a session into the header of the answer: the refresh token only when there is a new one.
func (r *Recipe) sendTokens(a *answer, req *http.Request, mode TransferMethod, t Tokens, now time.Time) error {
	a.exchange.mu.Lock()
	defer a.exchange.mu.Unlock()
	if a.sent() {
		return ErrResponseWritten
	}
	a.tokens = true
	forbidCaching(a)
	h := a.Header()
	set(h, frontHeader, t.FrontToken)
	if mode == TransferHeader || r.cfg.ExposeAccessToken {
		set(h, r.headerName(req, TokenTypeAccess), t.AccessToken)
	}
	if mode == TransferHeader {
		if t.RefreshToken != "" {
			set(h, r.headerName(req, TokenTypeRefresh), t.RefreshToken)
		}
		return nil
	}
	cookie, err := r.newCookie(req, TokenTypeAccess)
	if err != nil {
		return err
	}
	cookie.Value, cookie.Expires, cookie.MaxAge = t.AccessToken, now.Add(accessCookieLife), int(accessCookieLife/time.Second)
	setCookie(h, cookie)
	if t.RefreshToken == "" {
		return nil
	}
	if cookie, err = r.newCookie(req, TokenTypeRefresh); err != nil {
		return err
	}
	cookie.Value, cookie.Expires = t.RefreshToken, t.RefreshTokenExpiry
	cookie.MaxAge = max(1, int(t.RefreshTokenExpiry.Sub(now)/time.Second))
	setCookie(h, cookie)
	return nil
}

// clearTokens takes the tokens of these modes back.
func (r *Recipe) clearTokens(a *answer, req *http.Request, modes ...TransferMethod) error {
	a.exchange.mu.Lock()
	defer a.exchange.mu.Unlock()
	if a.sent() {
		return ErrResponseWritten
	}
	a.tokens = true
	forbidCaching(a)
	h := a.Header()
	for _, mode := range modes {
		h.Del(csrfHeader)
		set(h, frontHeader, "remove")
		for _, t := range []TokenType{TokenTypeAccess, TokenTypeRefresh} {
			if mode == TransferHeader {
				set(h, r.headerName(req, t), "")
				continue
			}
			cookie, err := r.newCookie(req, t)
			if err != nil {
				return err
			}
			setCookie(h, expired(cookie))
		}
	}
	return nil
}

// clearOlderCookies takes the cookies of the earlier domain back.
func (r *Recipe) clearOlderCookies(a *answer, req *http.Request, types []TokenType) error {
	a.exchange.mu.Lock()
	defer a.exchange.mu.Unlock()
	if a.sent() {
		return ErrResponseWritten
	}
	a.tokens = true
	forbidCaching(a)
	for _, t := range types {
		cookie, err := r.newCookie(req, t)
		if err != nil {
			return err
		}
		cookie.Domain = *r.cfg.OlderCookieDomain
		setCookie(a.Header(), expired(cookie))
	}
	return nil
}

// dropNewSession takes the tokens of a session that was made for this answer out of it again.
func (r *Recipe) dropNewSession(a *answer) {
	a.exchange.mu.Lock()
	defer a.exchange.mu.Unlock()
	if !a.exchange.newSession {
		return
	}
	a.exchange.newSession = false
	h, req := a.Header(), a.exchange.request
	h.Del(frontHeader)
	for _, t := range []TokenType{TokenTypeAccess, TokenTypeRefresh} {
		h.Del(r.headerName(req, t))
		name := r.cookieName(req, t)
		h["Set-Cookie"] = keep(h["Set-Cookie"], func(line string) bool { return !strings.HasPrefix(line, name+"=") })
	}
}

// newCookie has the attributes that setting and clearing share.
func (r *Recipe) newCookie(req *http.Request, t TokenType) (*http.Cookie, error) {
	sameSite, err := r.cfg.sameSite(r.app, req)
	if err != nil {
		return nil, err
	}
	path := r.cfg.AccessTokenPath
	if t == TokenTypeRefresh {
		path = r.app.BasePath + refreshPath
	}
	return &http.Cookie{
		Name: r.cookieName(req, t), Domain: r.cfg.CookieDomain, Path: path, HttpOnly: true, Secure: !r.cfg.InsecureCookies,
		SameSite: sameSite, Partitioned: r.cfg.PartitionedCookies && !r.cfg.InsecureCookies, // browsers want both
	}, nil
}

func expired(cookie *http.Cookie) *http.Cookie {
	cookie.Value, cookie.Expires, cookie.MaxAge = "", time.Unix(0, 0), -1
	return cookie
}

// set replaces a header and exposes it to scripts.
func set(h http.Header, name, value string) {
	h.Set(name, value)
	const expose = "Access-Control-Expose-Headers"
	name = strings.ToLower(name)
	for _, line := range h[expose] {
		for exposed := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(exposed), name) {
				return
			}
		}
	}
	if before := strings.Join(h[expose], ", "); before != "" {
		name = before + ", " + name
	}
	h.Set(expose, name)
}

// setCookie replaces a cookie of the same name, domain and path.
func setCookie(h http.Header, cookie *http.Cookie) {
	line := cookie.String()
	h["Set-Cookie"] = append(keep(h["Set-Cookie"], func(earlier string) bool { return !sameCookie(earlier, line) }), line)
}

func sameCookie(a, b string) bool {
	x, errX := http.ParseSetCookie(a)
	y, errY := http.ParseSetCookie(b)
	return errX == nil && errY == nil && x.Name == y.Name && strings.EqualFold(x.Domain, y.Domain) && x.Path == y.Path
}

func keep(lines []string, wanted func(string) bool) []string {
	var kept []string
	for _, line := range lines {
		if wanted(line) {
			kept = append(kept, line)
		}
	}
	return kept
}
