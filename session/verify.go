package session

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/token"
)

// VerifyOptions: the zero value demands a session that satisfies every global validator.
type VerifyOptions struct {
	// SessionOptional lets requests without a session through; FromContext then returns nil. An expired session is refused all the same.
	SessionOptional bool
	// Require adds validators for this route.
	Require []ClaimValidator
	// Skip drops the global validators of these claims, e.g. mfa.Claim on a route that a half-done session may use.
	Skip []Claim
	// OverrideGlobalClaimValidators decides the whole list; it gets what the two above made of it.
	OverrideGlobalClaimValidators func(ctx context.Context, global []ClaimValidator, s *Session) ([]ClaimValidator, error)
	// CheckDatabase asks storage whether the session still lives. Without it a revoked one passes until its access token ends: use it for what must not
	// wait that long.
	CheckDatabase bool
	AntiCSRFCheck *bool // of sessions in cookies; nil: all methods but GET
}

// GetSession is for frameworks: the same checks as VerifySession, with the error in the caller's hands; HandleError answers it. It is nil without an
// error when there is none and it is optional.
func (r *Recipe) GetSession(w http.ResponseWriter, req *http.Request, opts VerifyOptions) (*Session, error) {
	a, req := r.enter(w, req)
	return r.sessionOf(a, req, opts)
}

// GetSessionWithoutRequestResponse verifies an access token that did not come in a request, and the claims of its session. A changed token is left to the
// caller: Session.AllSessionTokensDangerously.
func (r *Recipe) GetSessionWithoutRequestResponse(ctx context.Context, in GetSessionInput) (*Session, error) {
	ctx = r.env.Bind(ctx)
	if in.Options.AntiCSRFCheck == nil && r.cfg.AntiCSRF == AntiCSRFViaCustomHeader {
		return nil, errNoRequest
	}
	s, err := r.functions.GetSession(ctx, in)
	if err != nil || s == nil {
		return nil, err
	}
	if err := r.assertAll(ctx, s, in.Options); err != nil {
		return nil, err
	}
	return s, nil
}

var errNoRequest = errors.New(
	"session: there is no request to look at, so the anti-CSRF check by a custom header cannot be made; make it yourself and say so")

// sessionOf is GetSession of a request.
func (r *Recipe) sessionOf(a *answer, req *http.Request, opts VerifyOptions) (*Session, error) {
	ctx := req.Context()
	text, mode, err := r.readAccessToken(req)
	if err != nil {
		return nil, err
	}
	if mode == TransferCookie && text != "" {
		wanted := req.Method != http.MethodGet
		if opts.AntiCSRFCheck != nil {
			wanted = *opts.AntiCSRFCheck
		}
		if wanted {
			if passes, err := r.passesAntiCSRF(req); err != nil {
				return nil, err
			} else if !passes {
				return nil, &TryRefreshTokenError{Message: "the request has no rid header"}
			}
		}
	}
	checked := opts
	checked.AntiCSRFCheck = new(false)
	s, err := r.functions.GetSession(ctx, GetSessionInput{AccessToken: text, Options: checked})
	if err != nil {
		return nil, err
	}
	if s == nil {
		if opts.SessionOptional {
			return nil, nil
		}
		return nil, noSession()
	}
	if mode == TransferAny { // an override found it elsewhere
		mode = TransferHeader
	}
	if err := s.attach(a, req, mode); err != nil {
		return nil, err
	}
	if err := r.assertAll(ctx, s, opts); err != nil {
		return nil, err
	}
	return s, nil
}

// noSession keeps the tokens: a request that raced with a sign-in must not wipe the new ones.
func noSession() error {
	return &UnauthorisedError{Message: "the request carries no session", KeepTokens: true}
}

// assertAll runs the validators of a route.
func (r *Recipe) assertAll(ctx context.Context, s *Session, opts VerifyOptions) error {
	validators, err := r.functions.GetGlobalClaimValidators(ctx, GetGlobalClaimValidatorsInput{
		UserID: s.UserID(), RecipeUserID: s.RecipeUserID(), TenantID: s.TenantID(),
		ClaimValidatorsAddedByOtherRecipes: slices.Clone(r.cfg.GlobalClaimValidators),
	})
	if err != nil {
		return err
	}
	if validators, err = opts.choose(ctx, validators, s); err != nil {
		return err
	}
	return s.AssertClaims(ctx, validators...)
}

// choose makes the list of a route.
func (o *VerifyOptions) choose(ctx context.Context, global []ClaimValidator, s *Session) ([]ClaimValidator, error) {
	if len(o.Skip) > 0 {
		global = slices.DeleteFunc(slices.Clone(global), func(v ClaimValidator) bool {
			return v.Claim != nil && slices.ContainsFunc(o.Skip, func(c Claim) bool { return c.Key() == v.Claim.Key() })
		})
	}
	if len(o.Require) > 0 {
		global = slices.Concat(global, o.Require)
	}
	if o.OverrideGlobalClaimValidators != nil {
		return o.OverrideGlobalClaimValidators(ctx, global, s)
	}
	return global, nil
}

// getGlobalClaimValidators is the default of Functions.GetGlobalClaimValidators.
func (r *Recipe) getGlobalClaimValidators(_ context.Context, in GetGlobalClaimValidatorsInput) ([]ClaimValidator, error) {
	return in.ClaimValidatorsAddedByOtherRecipes, nil
}

// getSession is the default of Functions.GetSession.
func (r *Recipe) getSession(ctx context.Context, in GetSessionInput) (*Session, error) {
	if check := in.Options.AntiCSRFCheck; check != nil && *check && r.cfg.AntiCSRF != AntiCSRFNone {
		return nil, errNoRequest
	}
	now := r.env.Now()
	access, err := r.verify(ctx, now, in.AccessToken)
	if err == errNotOurs {
		if in.Options.SessionOptional {
			return nil, nil
		}
		return nil, noSession()
	}
	if err != nil {
		return nil, err
	}
	s := &Session{recipe: r}
	s.current.Store(access)
	if in.Options.CheckDatabase {
		if err := s.checkDatabase(ctx, now); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// errNotOurs is a text that does not have the form of our access tokens.
var errNotOurs = errors.New("session: no access token of this module")

// verify returns the access token if it is genuine, has not expired and is signed by the kind of key that is configured.
func (r *Recipe) verify(ctx context.Context, now time.Time, text string) (*token.Access, error) {
	access, err := r.verifyExpired(ctx, now, text)
	if err != nil {
		return nil, err
	}
	if !access.Expiry.After(now) {
		r.verified.drop(access)
		return nil, &TryRefreshTokenError{Message: "the access token has expired"}
	}
	if isStaticKey(access.KeyID) != r.cfg.StaticSigningKeys {
		return nil, &TryRefreshTokenError{Message: "the access token is signed by the other kind of key"}
	}
	return access, nil
}

func isStaticKey(kid string) bool { return len(kid) > 1 && kid[:2] == "s-" }

// verifyExpired is verify for a token that may have expired. One that was seen before is found by its hash; its key is looked for each time, so that none
// outlives its key.
func (r *Recipe) verifyExpired(ctx context.Context, now time.Time, text string) (*token.Access, error) {
	if text == "" || len(text) > token.MaxLength {
		return nil, errNotOurs
	}
	access, seen := r.verified.get(text)
	if !seen {
		var ok bool
		if access, ok = token.ParseAccess(text); !ok {
			return nil, errNotOurs
		}
	}
	key, err := r.signing.Verifier(ctx, now, access.KeyID)
	if err != nil {
		return nil, fmt.Errorf("session: the keys cannot be read: %w", err)
	}
	if key == nil {
		return nil, &TryRefreshTokenError{Message: "the access token names an unknown key"}
	}
	if seen {
		return access, nil
	}
	if err := access.Verify(key, r.issuer, now); err != nil {
		return nil, &TryRefreshTokenError{Message: "the access token is not valid: " + err.Error()}
	}
	if access.Expiry.After(now) {
		r.verified.add(access)
	}
	return access, nil
}

// isUnverified tells a token that is no good from a failure to judge it.
func isUnverified(err error) bool {
	_, refused := errors.AsType[*TryRefreshTokenError](err)
	return refused || err == errNotOurs
}

// looksLikeOurs looks at the structure only.
func (r *Recipe) looksLikeOurs(text string) bool {
	if text == "" || len(text) > token.MaxLength {
		return false
	}
	if _, seen := r.verified.get(text); seen {
		return true
	}
	_, ok := token.ParseAccess(text)
	return ok
}

// checkDatabase ends what storage has ended, and takes over what it has changed.
func (s *Session) checkDatabase(ctx context.Context, now time.Time) error {
	access := s.current.Load()
	stored, err := s.recipe.read(ctx, access.Handle, now)
	if err != nil {
		return err
	}
	if stored == nil {
		return &UnauthorisedError{Message: "the session does not exist any more"}
	}
	hash := token.Hash2(access.RefreshHash1)
	if !equal(hash, stored.refreshHash) && !equal(hash, stored.prevRefreshHash) {
		return &TryRefreshTokenError{Message: "the access token belongs to an older refresh token"}
	}
	custom, err := access.Custom()
	if err != nil || custom.Text() == stored.payload {
		return err
	}
	return s.takeOver(ctx, now, stored)
}

// TakeOver is for the recipes of this module: it takes over what was stored for the session without it, and sends the changed token if the session
// belongs to a request. Gone: an *UnauthorisedError.
func (s *Session) TakeOver(ctx context.Context, _ env.Key) (changed bool, err error) {
	r := s.recipe
	ctx = r.env.Bind(ctx)
	before := s.current.Load()
	if err := s.checkDatabase(ctx, r.env.Now()); err != nil || s.current.Load() == before {
		return false, err
	}
	at := s.attached()
	if at == nil {
		return true, nil
	}
	if at.answer.sent() {
		return true, ErrResponseWritten
	}
	return true, s.attach(at.answer, at.request, at.mode)
}

// takeOver makes a token with the stored payload, which ends when the present one does.
func (s *Session) takeOver(ctx context.Context, now time.Time, stored *row) error {
	access := s.current.Load()
	custom, err := canonical.Parse(stored.payload)
	if err != nil {
		return err
	}
	renewed, err := s.recipe.renew(ctx, now, access, custom)
	if err != nil {
		return err
	}
	s.recipe.verified.add(renewed)
	s.current.Store(renewed)
	s.updated.Store(true)
	return nil
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// renew makes an access token like an earlier one, with another payload.
func (r *Recipe) renew(ctx context.Context, now time.Time, of *token.Access, custom canonical.Object) (*token.Access, error) {
	return r.mint(ctx, now, isStaticKey(of.KeyID), token.Session{
		UserID: of.UserID, RecipeUserID: of.RecipeUserID, TenantID: of.TenantID, Handle: of.Handle, RefreshHash1: of.RefreshHash1,
		IssuedAt: now, Expiry: of.Expiry, Custom: custom,
	})
}

// verifiedTokens remembers what was verified, in two generations of half the size: when the young one is full it becomes the old one, and what is used
// comes back from there.
type verifiedTokens struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]*token.Access
}

// generation is half of the 8192 tokens that are remembered.
const generation = 4096

func (v *verifiedTokens) get(text string) (*token.Access, bool) {
	key := sha256.Sum256([]byte(text))
	v.mu.Lock()
	defer v.mu.Unlock()
	access, ok := v.young[key]
	if ok {
		return access, true
	}
	if access, ok = v.old[key]; ok {
		v.put(key, access)
	}
	return access, ok
}

func (v *verifiedTokens) add(access *token.Access) {
	key := sha256.Sum256([]byte(access.Text))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(key, access)
}

func (v *verifiedTokens) put(key [sha256.Size]byte, access *token.Access) {
	if len(v.young) >= generation {
		v.old, v.young = v.young, nil
	}
	if v.young == nil {
		v.young = make(map[[sha256.Size]byte]*token.Access)
	}
	v.young[key] = access
}

func (v *verifiedTokens) drop(access *token.Access) {
	key := sha256.Sum256([]byte(access.Text))
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.young, key)
	delete(v.old, key)
}
