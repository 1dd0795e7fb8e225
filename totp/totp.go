// Package totp is the second factor [factor.TOTP]: codes of an authenticator app (RFC 6238 with HMAC-SHA1 and six digits).
//
// Give [New] to mfa.New and keep the handle:
//
//	authenticator := totp.New(totp.Config{Issuer: "Acme"})
//	auth, err := mfa.New(ctx, mfa.Config{
//		Factors: []mfa.Factor{emailpassword.New(emailpassword.Config{}), authenticator},
//		...
//	})
//
// That serves five HTTP APIs, which front ends use: a device is created (POST /totp/device, the answer holds the secret and the text of the QR code),
// verified with its first code (POST /totp/device/verify), and from then on asked for by whatever policy requires the factor (POST /totp/verify).
// Devices are listed with GET /totp/device/list and removed with POST /totp/device/remove. The handle offers the same as functions, for pages and
// tools of the host's own; they check no session.
//
// A user may have several devices, and a code of any of them will do. Each code is accepted once, by one device, on all tenants together. Wrong codes
// are counted per user, in storage, whichever device, tenant or API they were meant for; how many a user has says mfa.Config.Limits. Secrets are
// encrypted with the keys of the database and given out once.
package totp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pquerna/otp/hotp"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Config of the recipe. A combination by which the wrong codes that a user has (mfa.Limits.MaxAttempts) guess a code of MaxDevices devices with a
// chance of 1 in 10,000 or more is an error of mfa.New.
type Config struct {
	// Issuer is the name that the authenticator app shows, without its colons. Default: AppInfo.AppName.
	Issuer string
	// DefaultSkew is how many periods before and after the present one are accepted, 0 to 2: of clocks that differ, and of people who type slowly.
	// nil: 1. new(0) accepts the present code only. Devices keep what they were created with.
	DefaultSkew *int
	// DefaultPeriod is how long the app shows one code: whole seconds, 1 to 120. 0: 30 s, the one period that every app knows. Devices keep what they
	// were created with.
	DefaultPeriod time.Duration
	// MaxDevices of a user that are verified, and as many that are not yet, which live 24 h: 1 to 20. 0: 5. Every device makes a guess likelier.
	MaxDevices int
	Override   Override
}

// Override changes what the recipe does and serves. Each function is called once, by mfa.New, with the original table by value and a pointer to the
// table that it may change.
type Override struct {
	Functions func(original Functions, functions *Functions)
	APIs      func(original APIs, apis *APIs)
}

const (
	maxSkew       = 2
	maxPeriod     = 120 // seconds
	maxMaxDevices = 20

	defaultSkew       = 1
	defaultPeriod     = 30
	defaultMaxDevices = 5
)

// Recipe is the handle. Until mfa.New has it, in Config.Factors, its methods return an error that says so.
type Recipe struct {
	cfg Config

	parts
	issuer     string
	skew       int
	period     int64 // seconds
	maxDevices int
	functions  Functions
	generate   codeFunc
}

// New makes the recipe. Mistakes in the configuration are reported by mfa.New.
func New(cfg Config) *Recipe { return &Recipe{cfg: cfg} }

// parts is what the recipe needs of its instance.
type parts struct {
	env      *env.Env
	attempts limits.Attempts
	appName  string
	sessions *session.Recipe
	getUser  func(ctx context.Context, userID string) (*accountlinking.User, error)
	// factorRemoved takes a factor out of all sessions of a person; s is the one that did it, or nil.
	factorRemoved func(ctx context.Context, s *session.Session, userID string, id factor.ID) error
}

// attach makes the recipe part of an instance, or returns every mistake of its configuration.
func (r *Recipe) attach(p parts) error {
	if r.env != nil {
		return errors.New("totp: the recipe belongs to another instance: every instance needs a totp.New of its own")
	}
	made := Recipe{cfg: r.cfg, parts: p, generate: hotp.GenerateCode}
	problems := made.configure()
	made.functions = table.Override(r.defaultFunctions(), r.cfg.Override.Functions)
	problems = append(problems, table.Missing(made.functions, "totp: Config.Override.Functions")...)
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	*r = made
	p.env.Sweeps = append(p.env.Sweeps, r.sweepUnverified)
	return nil
}

func (r *Recipe) configure() (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("totp: Config."+format, args...))
	}

	r.issuer = issuerName(r.cfg.Issuer)
	switch {
	case r.cfg.Issuer == "":
		r.issuer = issuerName(r.appName)
	case strings.TrimSpace(r.issuer) == "" || !utf8.ValidString(r.issuer):
		problem("Issuer %q: want a name in valid UTF-8", r.cfg.Issuer)
	}
	r.skew = defaultSkew
	if r.cfg.DefaultSkew != nil {
		r.skew = *r.cfg.DefaultSkew
	}
	if r.skew < 0 || r.skew > maxSkew {
		problem("DefaultSkew %d: want 0 to %d", r.skew, maxSkew)
	}
	r.period = defaultPeriod
	if r.cfg.DefaultPeriod != 0 {
		var ok bool
		if r.period, ok = seconds(r.cfg.DefaultPeriod); !ok {
			problem("DefaultPeriod %v: want whole seconds, 1 to %d", r.cfg.DefaultPeriod, maxPeriod)
		}
	}
	r.maxDevices = defaultMaxDevices
	if r.cfg.MaxDevices != 0 {
		r.maxDevices = r.cfg.MaxDevices
	}
	if r.maxDevices < 1 || r.maxDevices > maxMaxDevices {
		problem("MaxDevices %d: want 1 to %d", r.maxDevices, maxMaxDevices)
	}
	if len(problems) > 0 {
		return problems
	}
	// One budget of attempts, at a million codes of which each device accepts 2*skew+1.
	if chance := r.attempts.Max * r.maxDevices * (2*r.skew + 1); chance >= 100 {
		problem("MaxDevices %d with DefaultSkew %d and Limits.MaxAttempts %d: guesses have a chance of %d in 1,000,000, want less than 100",
			r.maxDevices, r.skew, r.attempts.Max, chance)
	}
	return problems
}

// seconds of a period, if it is one.
func seconds(period time.Duration) (int64, bool) {
	n := int64(period / time.Second)
	return n, period%time.Second == 0 && n >= 1 && n <= maxPeriod
}
