package mfa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/factorid"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/usermetadata"
	"github.com/stepup-auth/stepup/userroles"
)

// AppInfo is that of session.
type AppInfo = session.AppInfo

// Config is the whole configuration of an instance. Zero values are safe or usual.
type Config struct {
	AppInfo AppInfo
	Storage *storage.DB // required; one DB serves one instance

	// Factors are the recipes that can authenticate somebody. Their order is the order in which front ends see them. None is fine for a host that only
	// wants sessions, roles or metadata for users of its own.
	Factors []Factor
	// FirstFactors: nil means every first factor that Factors offer; empty is an error. A tenant's own list wins.
	FirstFactors []factor.ID

	// GetMFARequirementsForAuth says who must complete which factors. nil: any one of the factors required for the user or the tenant.
	GetMFARequirementsForAuth GetMFARequirementsForAuthFunc

	AccountLinking accountlinking.Config
	Sessions       session.Config
	Tenants        tenant.Config
	UserRoles      userroles.Config
	UserMetadata   usermetadata.Config

	Limits Limits
	// OnEvent is told what happened, inside the request, after it was committed, with no lock held: ctx may be used to read what was written. In a
	// transaction of the host it is told before the host commits, with that transaction in ctx. What it does slowly makes the request slow; a panic is
	// logged and changes no answer.
	OnEvent func(ctx context.Context, e Event)

	Override Override

	Logger *slog.Logger     // default slog.Default()
	Now    func() time.Time // default time.Now
	Random io.Reader        // default crypto/rand.Reader
}

// attacher is what the factors of this module have besides Attach.
type attacher interface{ AttachFlow(f *flow.Flow) error }

// New makes an instance. It validates the whole configuration and reports every mistake at once, each naming its field. It starts no goroutine. After an
// error nothing is attached or kept: the same recipes and the same database may be given to the next New.
func New(ctx context.Context, cfg Config) (*MFA, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Storage == nil {
		return nil, errors.Join(errors.New("mfa: Config.Storage is not set"), cfg.check())
	}
	backend := cfg.Storage.Backend(store.Key{})
	if !backend.Take() {
		return nil, errors.New("mfa: Config.Storage serves another instance already; open the database once more")
	}
	m, err := build(ctx, cfg, backend)
	if err != nil {
		backend.Release()
		return nil, err
	}
	return m, nil
}

func build(ctx context.Context, cfg Config, backend *store.Backend) (*MFA, error) {
	m := &MFA{firstFactors: slices.Clone(cfg.FirstFactors)}
	m.env = &env.Env{
		Store: backend, Logger: cfg.Logger, Clock: cfg.Now, Random: cfg.Random, Instance: m,
		FetchClaim: map[string]env.FetchFunc{}, OnRefresh: m.onRefresh,
	}
	m.env.Sweeps = append(m.env.Sweeps, func(ctx context.Context) error { return limits.Sweep(ctx, backend, m.env.Now()) })
	if cfg.OnEvent != nil {
		m.env.OnEvent = func(ctx context.Context, e env.Event) {
			cfg.OnEvent(ctx, Event{e.Time, EventName(e.Name), e.UserID, e.TenantID, e.SessionHandle, factor.ID(e.FactorID), e.OK, e.Reason})
		}
	}
	errs := []error{cfg.check()}
	errs = append(errs, m.register(cfg.Factors)...)
	errs = append(errs, m.checkFirstFactors()...)
	errs = append(errs, m.tables(cfg)...)
	errs = append(errs, m.attachRecipes(ctx, cfg)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, m.attachFactors(cfg)
}

// check looks at what needs nothing but the configuration.
func (cfg Config) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mfa: Config."+format, args...)) }
	if cfg.FirstFactors != nil && len(cfg.FirstFactors) == 0 {
		fail("FirstFactors: 'firstFactors' can be either undefined or a non-empty array")
	}
	for _, id := range cfg.FirstFactors {
		if err := checkID(id); err != nil {
			fail("FirstFactors: %w", err)
		}
	}
	l := cfg.Limits
	for _, count := range []struct {
		name string
		n    int
	}{{"MaxAttempts", l.MaxAttempts}, {"Guesses.Free", l.Guesses.Free}, {"Guesses.Stop", l.Guesses.Stop}} {
		if count.n < 0 || count.n > 100 {
			fail("Limits.%s is %d: want 1 to 100, or 0 for the default", count.name, count.n)
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"Cooldown", l.Cooldown}, {"Guesses.Wait", l.Guesses.Wait}, {"Guesses.MaxWait", l.Guesses.MaxWait}} {
		if d.d < 0 || d.d > 0 && d.d < time.Millisecond {
			fail("Limits.%s is %s: want at least 1 ms, or 0 for the default", d.name, d.d)
		}
	}
	return errors.Join(errs...)
}

// register asks each factor what it offers.
func (m *MFA) register(factors []Factor) []error {
	var errs []error
	fail := func(i int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("mfa: Config.Factors[%d]: "+format, append([]any{i}, args...)...))
	}
	recipes, ids := map[string]int{}, map[factor.ID]int{}
	for i, f := range factors {
		if f == nil {
			fail(i, "it is nil")
			continue
		}
		r, err := f.Attach(m)
		if err != nil {
			fail(i, "%w", err)
			continue
		}
		if r.RecipeID == "" {
			fail(i, "its RecipeID is empty")
		} else if other, twice := recipes[r.RecipeID]; twice {
			fail(i, "its RecipeID %q is that of Config.Factors[%d]", r.RecipeID, other)
		}
		recipes[r.RecipeID] = i
		offers := slices.Concat(r.FirstFactors, r.SecondaryFactors)
		slices.Sort(offers)
		for _, id := range slices.Compact(offers) {
			if err := checkID(id); err != nil {
				fail(i, "%w", err)
			} else if other, twice := ids[id]; twice {
				fail(i, "Config.Factors[%d] offers the factor %q already", other, id)
			}
			ids[id] = i
		}
		for _, route := range r.Routes {
			if !slices.Contains([]string{"GET", "POST", "PUT"}, route.Method) || route.Path == "" || route.Path[0] != '/' || route.Handle == nil {
				fail(i, "the route %s %s: want GET, POST or PUT, a path that begins with /, and a Handle", route.Method, route.Path)
			}
		}
		m.registrations = append(m.registrations, r)
	}
	return errs
}

// checkFirstFactors reports listed ids that can never begin a session.
func (m *MFA) checkFirstFactors() []error {
	var errs []error
	offered := m.offeredFirstFactors()
	for _, id := range m.firstFactors {
		if factorid.BuiltIn(id) && !slices.Contains(offered, id) {
			errs = append(errs, fmt.Errorf("mfa: Config.FirstFactors: no factor of Config.Factors offers %q as a first factor", id))
		}
	}
	return errs
}

func (m *MFA) tables(cfg Config) []error {
	policy := cfg.GetMFARequirementsForAuth
	if policy == nil {
		policy = anyOneRequired
	}
	m.functions = table.Override(Functions{
		GetFactorsSetupForUser:                    m.getFactorsSetupForUser,
		GetMFARequirementsForAuth:                 policy,
		AssertAllowedToSetupFactor:                m.assertAllowedToSetupFactor,
		MarkFactorAsCompleteInSession:             m.markFactorAsCompleteInSession,
		GetRequiredSecondaryFactorsForUser:        m.getRequiredSecondaryFactorsForUser,
		AddToRequiredSecondaryFactorsForUser:      m.addToRequiredSecondaryFactorsForUser,
		RemoveFromRequiredSecondaryFactorsForUser: m.removeFromRequiredSecondaryFactorsForUser,
	}, cfg.Override.Functions)
	m.apis = table.Override(APIs{ResyncSessionAndFetchMFAInfoPUT: m.resyncSessionAndFetchMFAInfoPUT}, cfg.Override.APIs)
	return table.Missing(m.functions, "mfa: Config.Override.Functions")
}

// attachRecipes makes what always exists. The routes of the factors come first, in their order, then MFA's own, then those of the sessions.
func (m *MFA) attachRecipes(ctx context.Context, cfg Config) []error {
	var errs []error
	collect := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("mfa: Config: %w", err))
		}
	}
	var err error
	m.accountLinking, err = accountlinking.Attach(m.env, cfg.AccountLinking)
	collect(err)
	m.userMetadata, err = usermetadata.Attach(m.env, cfg.UserMetadata)
	collect(err)
	m.userRoles, err = userroles.Attach(m.env, cfg.UserRoles)
	collect(err)
	m.tenants, err = tenant.Attach(m.env, m.offersSecondary, cfg.Tenants)
	collect(err)

	m.env.FetchClaim[claimKey] = func(ctx context.Context, in env.FetchInput) (any, bool, error) {
		return Claim.FetchValue(ctx, session.FetchValueInput{
			UserID: in.UserID, RecipeUserID: session.RecipeUserID(in.RecipeUserID), TenantID: in.TenantID, AccessTokenPayload: in.Payload,
		})
	}
	m.env.Routes = m.routes()
	m.sessions, err = session.Attach(ctx, m.env, cfg.AppInfo, m.sessionConfig(cfg.Sessions))
	collect(err)
	return errs
}

// sessionConfig puts the claims and validators of the recipes before those of the host.
func (m *MFA) sessionConfig(cfg session.Config) session.Config {
	var claims []session.Claim
	validators := []session.ClaimValidator{}
	for _, r := range m.registrations {
		claims = append(claims, r.Claims...)
		validators = append(validators, r.GlobalClaimValidators...)
	}
	if m.userRoles != nil {
		claims = append(claims, m.userRoles.Claims(env.Key{})...)
	}
	validators = append(validators, Claim.HasCompletedMFARequirementsForAuth())
	cfg.Claims = append(claims, cfg.Claims...)
	cfg.GlobalClaimValidators = append(validators, cfg.GlobalClaimValidators...)
	return cfg
}

// attachFactors hands the sign-in flow to the factors of this module; when one cannot be had, all are taken back.
func (m *MFA) attachFactors(cfg Config) error {
	l := cfg.Limits
	m.flow = &flow.Flow{
		Env: m.env, Sessions: m.sessions, AccountLinking: m.accountLinking, Tenants: m.tenants,
		AppName:  cfg.AppInfo.AppName,
		Attempts: l.attempts(),
		Guesses:  l.guesses(),
		MFA: flow.MFA{
			ValidFirstFactors: m.validFirstFactors,
			NewClaim:          m.newClaim,
			Completed:         m.emitCompleted,
			FactorRemoved:     m.factorRemoved,
		},
	}
	var errs []error
	var attached []attacher
	for i, f := range cfg.Factors {
		a, ok := f.(attacher)
		if !ok {
			continue
		}
		if err := a.AttachFlow(m.flow); err != nil {
			errs = append(errs, fmt.Errorf("mfa: Config.Factors[%d]: %w", i, err))
			continue
		}
		attached = append(attached, a)
	}
	if len(errs) > 0 {
		for _, a := range attached {
			a.AttachFlow(nil)
		}
	}
	return errors.Join(errs...)
}

// checkID judges the form of a factor id that comes from outside.
func checkID(id factor.ID) error {
	if problem := factorid.Problem(id); problem != "" {
		return &session.BadInputError{Message: fmt.Sprintf("factor id %q %s", id, problem)}
	}
	return nil
}
