package session_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
)

func TestConfigurationMistakes(t *testing.T) {
	t.Parallel()
	cross := session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.test"}
	flag := session.NewBooleanClaim("flag", nil)
	for name, c := range map[string]struct {
		info session.AppInfo
		cfg  session.Config
		want string // "": fine
	}{
		"nothing":                               {acme, session.Config{}, ""},
		"app info":                              {session.AppInfo{AppName: "Acme", APIDomain: "backend"}, session.Config{}, "AppInfo.APIDomain"},
		"short access tokens":                   {acme, session.Config{AccessTokenValidity: time.Millisecond}, "AccessTokenValidity"},
		"long access tokens":                    {acme, session.Config{AccessTokenValidity: 1001 * 24 * time.Hour, RefreshTokenValidity: 2000 * 24 * time.Hour}, "AccessTokenValidity"},
		"short refresh tokens":                  {acme, session.Config{RefreshTokenValidity: time.Hour}, "RefreshTokenValidity"},
		"a negative end":                        {acme, session.Config{AbsoluteLifetime: -1}, "AbsoluteLifetime"},
		"a negative grace":                      {acme, session.Config{ReuseGrace: new(time.Duration(-1))}, "ReuseGrace"},
		"a long grace":                          {acme, session.Config{ReuseGrace: new(301 * time.Second)}, "ReuseGrace"},
		"the longest grace":                     {acme, session.Config{ReuseGrace: new(300 * time.Second)}, ""},
		"much jitter":                           {acme, session.Config{AccessTokenJitter: new(0.26)}, "AccessTokenJitter"},
		"negative jitter":                       {acme, session.Config{AccessTokenJitter: new(-0.1)}, "AccessTokenJitter"},
		"quick rotation":                        {acme, session.Config{SigningKeyInterval: 59 * time.Minute}, "SigningKeyInterval"},
		"transfer":                              {acme, session.Config{TokenTransfer: "smoke"}, "TokenTransfer"},
		"any transfer":                          {acme, session.Config{TokenTransfer: "any"}, "TokenTransfer"},
		"anti-CSRF":                             {acme, session.Config{AntiCSRF: "VIA_TOKEN"}, "AntiCSRF"},
		"equal status codes":                    {acme, session.Config{SessionExpiredStatusCode: 403}, "InvalidClaimStatusCode"},
		"a status that is no error":             {acme, session.Config{SessionExpiredStatusCode: 200}, "SessionExpiredStatusCode"},
		"negative bodies":                       {acme, session.Config{MaxBodyBytes: -1}, "MaxBodyBytes"},
		"no host in a cookie domain":            {acme, session.Config{CookieDomain: "/x"}, "CookieDomain"},
		"nor in the older one":                  {acme, session.Config{OlderCookieDomain: new("https://")}, "OlderCookieDomain"},
		"host-only older cookies":               {acme, session.Config{OlderCookieDomain: new("")}, ""},
		"a path":                                {acme, session.Config{AccessTokenPath: "api"}, "AccessTokenPath"},
		"a path with more":                      {acme, session.Config{AccessTokenPath: "/; Domain=evil.example"}, "AccessTokenPath"},
		"SameSite":                              {acme, session.Config{CookieSameSite: http.SameSiteDefaultMode}, "CookieSameSite"},
		"S-08: SameSite none without anti-CSRF": {acme, session.Config{CookieSameSite: http.SameSiteNoneMode, AntiCSRF: session.AntiCSRFNone}, "CookieSameSite"},
		"S-08: another site without anti-CSRF":  {cross, session.Config{AntiCSRF: session.AntiCSRFNone}, "CookieSameSite"},
		"another site, tokens in headers":       {cross, session.Config{AntiCSRF: session.AntiCSRFNone, TokenTransfer: session.TransferHeader}, ""},
		"SameSite none without https": {
			session.AppInfo{AppName: "Acme", APIDomain: "http://api.acme.example", WebsiteDomain: "https://acme.example"}, session.Config{}, "CookieSameSite",
		},
		"SameSite none on local domains": {
			session.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
			session.Config{CookieSameSite: http.SameSiteNoneMode}, "",
		},
		"a nil claim":        {acme, session.Config{Claims: []session.Claim{nil}}, "Claims[0]"},
		"a protected claim":  {acme, session.Config{Claims: []session.Claim{session.NewBooleanClaim("sub", nil)}}, `"sub"`},
		"two claims":         {acme, session.Config{Claims: []session.Claim{flag, session.NewArrayClaim[string]("flag", nil)}}, `"flag"`},
		"an empty validator": {acme, session.Config{GlobalClaimValidators: []session.ClaimValidator{{}}}, "GlobalClaimValidators[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.Open(t, "memory")
			b, err := tryBundle(t, db, setup{info: c.info, cfg: c.cfg})
			if c.want == "" {
				require.NoError(t, err)
				if name == "SameSite none on local domains" {
					require.Contains(t, b.log.String(), "level=WARN")
				}
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Nil(t, b.Recipe)
			require.Zero(t, db.Rows("signing_keys"), "nothing is made of a mistake")
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	_, err := tryBundle(t, storetest.Open(t, "memory"), setup{
		info: session.AppInfo{AppName: "Acme"}, cfg: session.Config{AbsoluteLifetime: -1, TokenTransfer: "smoke"},
	})
	for _, field := range []string{"AppInfo.APIDomain", "AppInfo.WebsiteDomain", "AbsoluteLifetime", "TokenTransfer"} {
		require.ErrorContains(t, err, field)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, err := session.New(ctx, session.App{AppInfo: acme}, session.Config{})
	require.ErrorContains(t, err, "App.Storage")
	db, err := sqlite.OpenInMemory(ctx)
	require.NoError(t, err)
	defer db.Close()
	_, err = session.New(ctx, session.App{AppInfo: acme, Storage: db}, session.Config{AbsoluteLifetime: -1})
	require.Error(t, err)
	r, err := session.New(ctx, session.App{AppInfo: acme, Storage: db}, session.Config{})
	require.NoError(t, err, "a mistake keeps no database")
	_, err = session.New(ctx, session.App{AppInfo: acme, Storage: db}, session.Config{})
	require.ErrorContains(t, err, "another instance")
	s, err := r.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: "user-1"})
	require.NoError(t, err)
	require.Equal(t, "user-1", s.UserID())
	require.NoError(t, r.DeleteExpired(ctx))
}

// What a host changes after New changes nothing.
func TestTheConfigurationIsACopy(t *testing.T) {
	t.Parallel()
	flag := session.NewBooleanClaim("flag", nil)
	grace, validators := new(30*time.Second), []session.ClaimValidator{flag.IsTrue()}
	b := inMemory(t, session.Config{ReuseGrace: grace, GlobalClaimValidators: validators})
	*grace = 0
	validators[0] = session.ClaimValidator{}
	s, err := b.CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
		RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"flag": map[string]any{"v": true, "t": 1}},
	})
	require.NoError(t, err)
	_, err = b.verified(s.AccessToken())
	require.NoError(t, err)
	for range 2 {
		_, err = b.refreshed(s.AllSessionTokensDangerously().RefreshToken)
		require.NoError(t, err)
	}
}

// I-04: what is dangerous says so in its name, and is off by default.
func TestInsecureOptions(t *testing.T) {
	t.Parallel()
	var names []string
	v := reflect.ValueOf(session.Config{})
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; strings.Contains(name, "Insecure") {
			names = append(names, name)
			assert.True(t, v.Field(i).IsZero())
		}
	}
	require.Equal(t, []string{"InsecureCookies"}, names)
}
