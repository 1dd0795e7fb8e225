package session

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stepup-auth/stepup/internal/env"
)

// The names of what travels. Front ends know them.
const (
	accessCookie  = "sAccessToken"
	refreshCookie = "sRefreshToken"
	accessHeader  = "St-Access-Token"
	refreshHeader = "St-Refresh-Token"
	frontHeader   = "Front-Token"
	csrfHeader    = "Anti-Csrf"
	modeHeader    = "St-Auth-Mode"
	ridHeader     = "Rid"
	frontCookie   = "sFrontToken" // of the front end's own
)

// GetAllCORSHeaders lists the request headers that a CORS handler of the host's own must allow, besides content-type. Such a handler allows the exact
// origin of the website, never "*", with credentials and the methods GET, POST, PUT and DELETE, and stands outside of Middleware.
func GetAllCORSHeaders() []string {
	return []string{"rid", "fdi-version", "anti-csrf", "authorization", "st-auth-mode"}
}

func (r *Recipe) cookieName(req *http.Request, t TokenType) string {
	if hook := r.cfg.GetCookieNameForTokenType; hook != nil && req != nil {
		if name := hook(req, t); name != "" {
			return name
		}
	}
	if t == TokenTypeAccess {
		return accessCookie
	}
	return refreshCookie
}

func (r *Recipe) headerName(req *http.Request, t TokenType) string {
	if hook := r.cfg.GetResponseHeaderNameForTokenType; hook != nil {
		if name := hook(req, t); name != "" {
			return name
		}
	}
	if t == TokenTypeAccess {
		return accessHeader
	}
	return refreshHeader
}

// bearer is the token of the Authorization header.
func bearer(req *http.Request) string {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(token)
}

// maxCookies that are looked at.
const maxCookies = 200

// cookies are the values of all cookies of that name, in their order.
func cookies(req *http.Request, name string) []string {
	var values []string
	seen := 0
	for _, line := range req.Header["Cookie"] {
		for line != "" && seen < maxCookies {
			var one string
			one, line, _ = strings.Cut(line, ";")
			seen++
			key, value, ok := strings.Cut(strings.TrimSpace(one), "=")
			if !ok || unescape(strings.TrimSpace(key)) != name {
				continue
			}
			value = strings.TrimSpace(value)
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			values = append(values, unescape(value))
		}
	}
	return values
}

func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// presented are the tokens of one type that a request carries.
type presented struct {
	header  string
	cookies []string
}

func (p presented) cookie() string {
	if len(p.cookies) == 0 {
		return ""
	}
	return p.cookies[0]
}

func (r *Recipe) presented(req *http.Request, t TokenType) presented {
	return presented{bearer(req), cookies(req, r.cookieName(req, t))}
}

// readingMode says from where tokens may be taken.
func (r *Recipe) readingMode(req *http.Request) TransferMethod {
	if r.cfg.GetTokenTransferMethod != nil {
		return r.cfg.GetTokenTransferMethod(req, false)
	}
	return TransferAny
}

// readAccessToken returns the access token of the request, if it has one that may be ours: a foreign bearer token is ignored.
func (r *Recipe) readAccessToken(req *http.Request) (text string, mode TransferMethod, err error) {
	allowed, p := r.readingMode(req), r.presented(req, TokenTypeAccess)
	if allowed != TransferCookie && r.looksLikeOurs(p.header) {
		return p.header, TransferHeader, nil
	}
	if allowed != TransferHeader && r.looksLikeOurs(p.cookie()) {
		if len(p.cookies) > 1 {
			return "", TransferCookie, &TryRefreshTokenError{Message: "the request carries several access token cookies"}
		}
		return p.cookie(), TransferCookie, nil
	}
	return "", allowed, nil
}

// CarriesAccessToken tells the recipes of this module whether the request came with an access token that may be ours, whatever it is worth. A client
// that sent none must not be told to drop what it has: it refreshes and asks again.
func (r *Recipe) CarriesAccessToken(_ env.Key, req *http.Request) bool {
	text, _, err := r.readAccessToken(req)
	return text != "" || err != nil // several are some
}

// modeForNew decides how a new session travels.
func (r *Recipe) modeForNew(x *exchange, req *http.Request) TransferMethod {
	asked := TransferMethod(strings.ToLower(strings.TrimSpace(req.Header.Get(modeHeader))))
	mode := r.cfg.TokenTransfer
	switch {
	case r.cfg.GetTokenTransferMethod != nil:
		mode = r.cfg.GetTokenTransferMethod(req, true)
	case mode == TransferAny && (asked == TransferHeader || asked == TransferCookie):
		mode = asked
	}
	switch {
	case mode == TransferHeader || mode == TransferCookie:
		return mode
	case asked == TransferCookie:
		return TransferCookie
	case asked == "" && !x.library && (isFormPost(req) || isNavigation(req)):
		return TransferCookie // no script is there to read headers
	}
	return TransferHeader
}

func isFormPost(req *http.Request) bool {
	if req.Method != http.MethodPost {
		return false
	}
	kind, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data"
}

// isNavigation reports whether a browser is about to show the answer as a page.
func isNavigation(req *http.Request) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || req.Header.Get("Authorization") != "" {
		return false
	}
	if mode := req.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(strings.ToLower(req.Header.Get("Accept")), "text/html")
}

func other(mode TransferMethod) TransferMethod {
	if mode == TransferHeader {
		return TransferCookie
	}
	return TransferHeader
}

// carriesOther reports whether the request has a token of that type in the other mode than the one of the session.
func carriesOther(p presented, mode TransferMethod) bool {
	if mode == TransferHeader {
		return slices.ContainsFunc(p.cookies, func(value string) bool { return value != "" })
	}
	return p.header != ""
}

// passesAntiCSRF checks a request with cookies. Tokens in headers need no check: no foreign page can send them.
func (r *Recipe) passesAntiCSRF(req *http.Request) (bool, error) {
	mode, err := r.cfg.antiCSRF(r.app, req)
	if err != nil {
		return false, err
	}
	return mode != AntiCSRFViaCustomHeader || req.Header.Get(ridHeader) != "", nil
}
