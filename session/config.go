package session

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/appinfo"
)

// Config: the zero value is safe and usual. Mistakes are reported by New, each naming its field.
type Config struct {
	AccessTokenValidity time.Duration // default 1 h; from 1 s to less than RefreshTokenValidity, at most 1000 days
	// RefreshTokenValidity starts anew with each refresh, so it is the idle limit of a session. Default 100 days.
	RefreshTokenValidity time.Duration
	// AbsoluteLifetime ends a session so long after its creation, however often it was refreshed. 0: no such end.
	AbsoluteLifetime time.Duration
	// ReuseGrace is how long a rotated refresh token still yields its successor, at most 5 min, for parallel tabs and lost answers. nil:
	// 30 s. new(time.Duration(0)): its second use is theft at once.
	ReuseGrace *time.Duration
	// AccessTokenJitter shortens each access token's validity by a random share of up to this much, at most 0.25, so that the clients of one
	// moment do not refresh in one moment. nil: 0.05. new(0.0): none.
	AccessTokenJitter *float64

	// StaticSigningKeys signs with a key that does not rotate, for verifiers that cannot fetch the key set again.
	StaticSigningKeys  bool
	SigningKeyInterval time.Duration // between two rotations; default 168 h, at least 1 h

	// TokenTransfer is where a new session goes; reading takes both. Default: what the header st-auth-mode asks for; without it headers, but
	// cookies if host code makes the session in a form post or a navigation, where no script reads headers.
	TokenTransfer          TransferMethod
	GetTokenTransferMethod func(r *http.Request, forCreateNewSession bool) TransferMethod // wins over TokenTransfer

	CookieDomain string // the Domain attribute; default none, so the API's host only
	// OlderCookieDomain is an earlier CookieDomain, whose cookies are cleared where both come. nil: none. new(""): host-only cookies.
	OlderCookieDomain  *string
	CookieSameSite     http.SameSite // default: none if the website is another site than the API, else lax
	PartitionedCookies bool          // for sessions in an iframe of another site
	InsecureCookies    bool          // leaves Secure out; the default follows the scheme of APIDomain
	AccessTokenPath    string        // of the access token's cookie; default "/"
	// GetCookieNameForTokenType and GetResponseHeaderNameForTokenType change the names sAccessToken, sRefreshToken, st-access-token and
	// st-refresh-token, so that two instances can share a host name. Stock front ends do not follow renamed headers.
	GetCookieNameForTokenType         func(r *http.Request, t TokenType) string
	GetResponseHeaderNameForTokenType func(r *http.Request, t TokenType) string

	// AntiCSRF: default by a custom header where cookies are SameSite=None, else none. None with SameSite=None is an error.
	AntiCSRF                 AntiCSRF
	ExposeAccessToken        bool  // in cookie mode, also as the header st-access-token
	SessionExpiredStatusCode int   // default 401; front ends must be configured alike
	InvalidClaimStatusCode   int   // default 403; front ends must be configured alike
	MaxBodyBytes             int64 // of every API's body; default 1 MiB, more is a 413

	// Claims are added to every new session. Two with one key are an error.
	Claims []Claim
	// GlobalClaimValidators run on every verified route, after those of the recipes.
	GlobalClaimValidators []ClaimValidator

	ErrorHandlers ErrorHandlers
	Override      Override
}

// TransferMethod is how tokens travel.
type TransferMethod string

// The ways of tokens. Cookies are out of reach for scripts; headers work across sites and in apps.
const (
	TransferAny    TransferMethod = ""
	TransferHeader TransferMethod = "header"
	TransferCookie TransferMethod = "cookie"
)

// TokenType names one of the two tokens of a session.
type TokenType string

// The access token proves the session, the refresh token renews it.
const (
	TokenTypeAccess  TokenType = "access"
	TokenTypeRefresh TokenType = "refresh"
)

// AntiCSRF is how requests with cookies prove that a page of the application sent them.
type AntiCSRF string

// AntiCSRFViaCustomHeader demands a header rid, which a page of another origin cannot send without a preflight. AntiCSRFNone relies on SameSite=Lax,
// and so trusts every subdomain of the site: where subdomains are not trusted, choose the header. Requests with GET are never checked, so nothing may
// be changed by one.
const (
	AntiCSRFDefault         AntiCSRF = ""
	AntiCSRFNone            AntiCSRF = "NONE"
	AntiCSRFViaCustomHeader AntiCSRF = "VIA_CUSTOM_HEADER"
)

// ErrorHandlers write status and body. What happens to the session and its tokens has happened before they run.
type ErrorHandlers struct {
	OnUnauthorised                 func(w http.ResponseWriter, r *http.Request, e *UnauthorisedError)
	OnTryRefreshToken              func(w http.ResponseWriter, r *http.Request, e *TryRefreshTokenError)
	OnTokenTheftDetected           func(w http.ResponseWriter, r *http.Request, e *TokenTheftDetectedError)
	OnInvalidClaim                 func(w http.ResponseWriter, r *http.Request, e *InvalidClaimsError)
	OnClearDuplicateSessionCookies func(w http.ResponseWriter, r *http.Request, message string)
}

const (
	day             = 24 * time.Hour
	maxAccess       = 86_400_000 * time.Second
	maxGrace        = 5 * time.Minute
	maxJitter       = 0.25
	defaultBodySize = 1 << 20
)

// withDefaults fills in what is not set, and copies what the host could change later.
func (c Config) withDefaults(app *appinfo.Info) Config {
	c.AccessTokenValidity = or(c.AccessTokenValidity, time.Hour)
	c.RefreshTokenValidity = or(c.RefreshTokenValidity, 100*day)
	c.SigningKeyInterval = or(c.SigningKeyInterval, 168*time.Hour)
	c.ReuseGrace = copyOr(c.ReuseGrace, 30*time.Second)
	c.AccessTokenJitter = copyOr(c.AccessTokenJitter, 0.05)
	c.AccessTokenPath = or(c.AccessTokenPath, "/")
	c.SessionExpiredStatusCode = or(c.SessionExpiredStatusCode, http.StatusUnauthorized)
	c.InvalidClaimStatusCode = or(c.InvalidClaimStatusCode, http.StatusForbidden)
	c.MaxBodyBytes = or(c.MaxBodyBytes, defaultBodySize)
	c.InsecureCookies = c.InsecureCookies || !strings.HasPrefix(app.APIDomain, "https://")
	c.Claims, c.GlobalClaimValidators = slices.Clone(c.Claims), slices.Clone(c.GlobalClaimValidators)
	if c.OlderCookieDomain != nil {
		c.OlderCookieDomain = new(*c.OlderCookieDomain)
	}
	return c
}

func or[T comparable](value, byDefault T) T {
	var zero T
	if value == zero {
		return byDefault
	}
	return value
}

func copyOr[T any](value *T, byDefault T) *T {
	if value == nil {
		return &byDefault
	}
	return new(*value)
}

// check judges everything but cookies. The configuration has its defaults.
func (c *Config) check() []error {
	var errs []error
	fail := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("session: Config.%s: "+format, append([]any{field}, args...)...))
	}
	if c.AccessTokenValidity < time.Second || c.AccessTokenValidity > maxAccess {
		fail("AccessTokenValidity", "%s: want 1 s to 1000 days", c.AccessTokenValidity)
	}
	if c.RefreshTokenValidity <= c.AccessTokenValidity {
		fail("RefreshTokenValidity", "%s: want more than AccessTokenValidity, %s", c.RefreshTokenValidity, c.AccessTokenValidity)
	}
	if c.AbsoluteLifetime < 0 {
		fail("AbsoluteLifetime", "%s: want 0 or more", c.AbsoluteLifetime)
	}
	if *c.ReuseGrace < 0 || *c.ReuseGrace > maxGrace {
		fail("ReuseGrace", "%s: want 0 to 5 min", *c.ReuseGrace)
	}
	if !(*c.AccessTokenJitter >= 0 && *c.AccessTokenJitter <= maxJitter) {
		fail("AccessTokenJitter", "%v: want 0 to 0.25", *c.AccessTokenJitter)
	}
	if c.SigningKeyInterval < time.Hour {
		fail("SigningKeyInterval", "%s: want at least 1 h", c.SigningKeyInterval)
	}
	if !slices.Contains([]TransferMethod{TransferAny, TransferHeader, TransferCookie}, c.TokenTransfer) {
		fail("TokenTransfer", "%q: want header, cookie or nothing", c.TokenTransfer)
	}
	if !slices.Contains([]AntiCSRF{AntiCSRFDefault, AntiCSRFNone, AntiCSRFViaCustomHeader}, c.AntiCSRF) {
		fail("AntiCSRF", "%q: want NONE, VIA_CUSTOM_HEADER or nothing", c.AntiCSRF)
	}
	for field, code := range map[string]int{
		"SessionExpiredStatusCode": c.SessionExpiredStatusCode, "InvalidClaimStatusCode": c.InvalidClaimStatusCode,
	} {
		if code < 400 || code > 499 {
			fail(field, "%d: want 400 to 499", code)
		}
	}
	if c.SessionExpiredStatusCode == c.InvalidClaimStatusCode {
		fail("InvalidClaimStatusCode", "%d is SessionExpiredStatusCode, too", c.InvalidClaimStatusCode)
	}
	if c.MaxBodyBytes < 0 {
		fail("MaxBodyBytes", "%d: want 0 or more", c.MaxBodyBytes)
	}
	return append(errs, c.checkClaims()...)
}

func (c *Config) checkClaims() []error {
	var errs []error
	known := map[string]bool{}
	for i, claim := range c.Claims {
		switch {
		case claim == nil:
			errs = append(errs, fmt.Errorf("session: Config.Claims[%d] is nil", i))
		case claim.Key() == "" || isProtected(claim.Key()):
			errs = append(errs, fmt.Errorf("session: Config.Claims[%d]: no claim of an application can have the key %q", i, claim.Key()))
		case known[claim.Key()]:
			errs = append(errs, fmt.Errorf("session: Config.Claims: two claims have the key %q", claim.Key()))
		default:
			known[claim.Key()] = true
		}
	}
	for i, v := range c.GlobalClaimValidators {
		if err := checkValidator(v); err != nil {
			errs = append(errs, fmt.Errorf("session: Config.GlobalClaimValidators[%d]: %w", i, err))
		}
	}
	return errs
}

func checkValidator(v ClaimValidator) error {
	switch {
	case v.ID == "":
		return errors.New("a validator has no ID")
	case v.Validate == nil:
		return fmt.Errorf("the validator %s has no Validate", v.ID)
	case (v.Claim == nil) != (v.ShouldRefetch == nil):
		return fmt.Errorf("the validator %s has only one of Claim and ShouldRefetch", v.ID)
	}
	return nil
}

// checkCookies judges what depends on the domains, as far as they are known before a request comes.
func (c *Config) checkCookies(app *appinfo.Info) []error {
	var errs []error
	fail := func(field string, err error) { errs = append(errs, fmt.Errorf("session: Config.%s: %w", field, err)) }
	var err error
	if c.CookieDomain != "" {
		if c.CookieDomain, err = appinfo.CookieDomain(c.CookieDomain); err != nil {
			fail("CookieDomain", err)
		}
	}
	if c.OlderCookieDomain != nil && *c.OlderCookieDomain != "" {
		if *c.OlderCookieDomain, err = appinfo.CookieDomain(*c.OlderCookieDomain); err != nil {
			fail("OlderCookieDomain", err)
		}
	}
	if !strings.HasPrefix(c.AccessTokenPath, "/") || strings.ContainsAny(c.AccessTokenPath, ";\r\n\x00") {
		fail("AccessTokenPath", fmt.Errorf("%q is no path", c.AccessTokenPath))
	}
	switch c.CookieSameSite {
	case 0, http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode:
	default:
		fail("CookieSameSite", errors.New("want Lax, Strict or None"))
	}
	if !app.HasConstantOrigin() && c.CookieSameSite == 0 || c.TokenTransfer == TransferHeader {
		return errs
	}
	if err := c.checkCookieMode(app, nil); err != nil {
		fail("CookieSameSite", err)
	}
	return errs
}

// sameSite is the attribute of cookies in the answer to a request.
func (c *Config) sameSite(app *appinfo.Info, r *http.Request) (http.SameSite, error) {
	if c.CookieSameSite != 0 {
		return c.CookieSameSite, nil
	}
	relation, err := app.Relation(r)
	if err != nil {
		return 0, err
	}
	if relation.SameSite {
		return http.SameSiteLaxMode, nil
	}
	return http.SameSiteNoneMode, nil
}

// antiCSRF is how a request with cookies is checked.
func (c *Config) antiCSRF(app *appinfo.Info, r *http.Request) (AntiCSRF, error) {
	if c.AntiCSRF != AntiCSRFDefault {
		return c.AntiCSRF, nil
	}
	sameSite, err := c.sameSite(app, r)
	if err != nil {
		return "", err
	}
	if sameSite == http.SameSiteNoneMode {
		return AntiCSRFViaCustomHeader, nil
	}
	return AntiCSRFNone, nil
}

// checkCookieMode refuses cookies that another site could use, or that no browser keeps.
func (c *Config) checkCookieMode(app *appinfo.Info, r *http.Request) error {
	sameSite, err := c.sameSite(app, r)
	if err != nil || sameSite != http.SameSiteNoneMode {
		return err
	}
	if c.AntiCSRF == AntiCSRFNone {
		return errors.New("cookies with SameSite=None need AntiCSRF VIA_CUSTOM_HEADER: with NONE any website could act in the user's name")
	}
	if !c.InsecureCookies {
		return nil
	}
	if relation, err := app.Relation(r); err != nil || relation.Local {
		return err
	}
	return errors.New("cookies with SameSite=None must be Secure, or browsers drop them: use https for APIDomain")
}

// sameSiteNoneWithoutSecure is let pass on local domains, with a warning.
func (c *Config) sameSiteNoneWithoutSecure(app *appinfo.Info) bool {
	if !app.HasConstantOrigin() || c.TokenTransfer == TransferHeader || !c.InsecureCookies {
		return false
	}
	sameSite, err := c.sameSite(app, nil)
	return err == nil && sameSite == http.SameSiteNoneMode
}
