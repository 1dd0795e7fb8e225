package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/token"
	"github.com/stepup-auth/stepup/internal/uuid"
)

// NewSession is what a session is made of. The person is looked up from RecipeUserID, which may be an id that the library does not know, but not the
// id of a person whose own login method was deleted: that is an error.
type NewSession struct {
	TenantID              string
	RecipeUserID          RecipeUserID   // 1 to 128 characters
	AccessTokenPayload    map[string]any // names that belong to the token are dropped
	SessionDataInDatabase map[string]any // for the server alone
	// RevokeReplaced ends the session whose tokens the request carries, as a sign-in does. Without it that session lives on in storage.
	RevokeReplaced bool
}

// maxTries bounds how often others may get ahead of an operation.
const maxTries = 100

// CreateNewSession makes a session and puts its tokens into the answer. With MFA, a session made here has no completed factor until its first
// verification infers one from the login method. In a transaction of the host it is storage.ErrInsideTx; an unknown tenant is ErrTenantNotFound. A
// payload that would not fit into a cookie of 4096 bytes is an error, and so is one that the cookie settings cannot carry safely; then nothing is written.
func (r *Recipe) CreateNewSession(w http.ResponseWriter, req *http.Request, in NewSession) (*Session, error) {
	a, req := r.enter(w, req)
	ctx := req.Context()
	if a.sent() {
		return nil, ErrResponseWritten
	}
	mode := r.modeForNew(a.exchange, req)
	if mode == TransferCookie {
		if err := r.cfg.checkCookieMode(r.app, req); err != nil {
			return nil, fmt.Errorf("session: %w", err)
		}
	}
	var replaced []string
	if in.RevokeReplaced {
		var err error
		if replaced, err = r.replacedBy(ctx, req); err != nil {
			return nil, err
		}
	}
	s, err := r.create(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, handle := range replaced {
		if _, err := r.functions.RevokeSession(withReason(ctx, env.ReasonReplaced), RevokeSessionInput{handle}); err != nil {
			return nil, err
		}
	}
	a.exchange.newSession = true
	if carriesOther(r.presented(req, TokenTypeAccess), mode) {
		if err := r.clearTokens(a, req, other(mode)); err != nil {
			return nil, err
		}
	}
	if err := s.attach(a, req, mode); err != nil {
		return nil, err
	}
	return s, nil
}

// CreateNewSessionWithoutRequestResponse makes a session and leaves its tokens to the caller: Session.AllSessionTokensDangerously. RevokeReplaced means
// nothing here.
func (r *Recipe) CreateNewSessionWithoutRequestResponse(ctx context.Context, in NewSession) (*Session, error) {
	return r.create(r.env.Bind(ctx), in)
}

// replacedBy finds the sessions that a sign-in takes the place of: by the access tokens of the request, expired or not, if a page of the application
// has sent it. A foreign page could else end a session with a form.
func (r *Recipe) replacedBy(ctx context.Context, req *http.Request) ([]string, error) {
	p := r.presented(req, TokenTypeAccess)
	texts := []string{p.header}
	if passes, err := r.passesAntiCSRF(req); err != nil {
		return nil, err
	} else if passes {
		texts = append(texts, p.cookies...)
	}
	var handles []string
	seen := map[string]bool{}
	for _, text := range texts {
		a, err := r.verifyExpired(ctx, r.env.Now(), text)
		if isUnverified(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !seen[a.Handle] {
			seen[a.Handle] = true
			handles = append(handles, a.Handle)
		}
	}
	return handles, nil
}

// create finds out who it is, builds the claims and calls the table. When the person changed meanwhile it starts over, unless a sign-in flow does that.
func (r *Recipe) create(ctx context.Context, in NewSession) (*Session, error) {
	if err := r.env.Store.RefuseInTx(ctx); err != nil {
		return nil, err
	}
	if problem := input.UserID("RecipeUserID", string(in.RecipeUserID)); problem != "" {
		return nil, &BadInputError{Message: problem}
	}
	var err error
	if in.TenantID, err = normalTenant(in.TenantID); err != nil {
		return nil, err
	}
	signIn, inFlow := env.SignInFrom(ctx)
	wasKnown := false
	for range maxTries {
		user, err := r.userOf(ctx, in.RecipeUserID)
		if err != nil {
			return nil, err
		}
		if wasKnown && !user.Known {
			return nil, fmt.Errorf("session: %w: it was deleted", env.ErrUserChanged)
		}
		if inFlow && (!user.Known || user.ID != signIn.UserID) {
			return nil, fmt.Errorf("session: %w: it is not the one who signed in", env.ErrUserChanged)
		}
		wasKnown = wasKnown || user.Known
		s, err := r.createFor(ctx, in, user)
		if !errors.Is(err, env.ErrUserChanged) || inFlow {
			return s, err
		}
		r.env.Store.Forget(ctx, store.Users, store.Lists, store.Facts)
	}
	return nil, errors.New("session: other requests got ahead of the creation of a session too often")
}

func (r *Recipe) userOf(ctx context.Context, id RecipeUserID) (env.User, error) {
	if r.env.UserOf == nil {
		return env.User{ID: string(id)}, nil
	}
	user, err := r.env.UserOf(ctx, string(id))
	if err == nil && user.Tombstone {
		return user, fmt.Errorf("session: %s is the id of a user whose own login method was deleted, and no login method", id)
	}
	return user, err
}

// creation tells the original of CreateNewSession what was read about the login method.
type creation struct {
	recipeUserID RecipeUserID
	user         env.User
}

type creationKey struct{}

func (r *Recipe) createFor(ctx context.Context, in NewSession, user env.User) (*Session, error) {
	var t texts
	var err error
	var payload, data map[string]any
	if payload, t.payload, err = privateCopy("AccessTokenPayload", in.AccessTokenPayload); err != nil {
		return nil, err
	}
	maps.DeleteFunc(payload, func(name string, _ any) bool { return isProtected(name) })
	if data, t.data, err = privateCopy("SessionDataInDatabase", in.SessionDataInDatabase); err != nil {
		return nil, err
	}
	if payload, err = r.buildClaims(ctx, payload, user.ID, in.RecipeUserID, in.TenantID); err != nil {
		return nil, err
	}
	ctx = context.WithValue(withTexts(ctx, t), creationKey{}, creation{in.RecipeUserID, user})
	return r.functions.CreateNewSession(ctx, CreateNewSessionInput{
		UserID: user.ID, RecipeUserID: in.RecipeUserID, TenantID: in.TenantID, AccessTokenPayload: payload, SessionDataInDatabase: data,
	})
}

// buildClaims adds the claims of the configuration, each of which sees those before it.
func (r *Recipe) buildClaims(ctx context.Context, payload map[string]any, userID string, id RecipeUserID, tenantID string) (map[string]any, error) {
	if len(r.cfg.Claims) == 0 {
		return payload, nil
	}
	current := maps.Clone(payload)
	current[token.Subject], current[token.RecipeUserID], current[token.TenantID] = userID, string(id), tenantID
	now := r.env.Now()
	for _, claim := range r.cfg.Claims {
		value, ok, err := claim.FetchValue(ctx, FetchValueInput{userID, id, tenantID, current})
		if err != nil {
			return nil, fmt.Errorf("session: claim %s: %w", claim.Key(), err)
		}
		if !ok {
			continue
		}
		if current, err = fromJSON(current, addToPayload(claim, current, value, now)); err != nil {
			return nil, fmt.Errorf("session: claim %s: %w", claim.Key(), err)
		}
	}
	maps.DeleteFunc(current, func(name string, _ any) bool { return isProtected(name) })
	return current, nil
}

// createNewSession is the default of Functions.CreateNewSession.
func (r *Recipe) createNewSession(ctx context.Context, in CreateNewSessionInput) (*Session, error) {
	if err := r.env.Store.RefuseInTx(ctx); err != nil {
		return nil, err
	}
	known, _ := ctx.Value(creationKey{}).(creation)
	if known.recipeUserID != in.RecipeUserID {
		user, err := r.userOf(ctx, in.RecipeUserID)
		if err != nil {
			return nil, err
		}
		known = creation{in.RecipeUserID, user}
	}
	now := r.env.Now()
	custom, err := customObject(originalPayload(ctx, in.AccessTokenPayload))
	if err != nil {
		return nil, err
	}
	data, err := dataText(originalData(ctx, in.SessionDataInDatabase))
	if err != nil {
		return nil, err
	}
	tenantID, err := normalTenant(in.TenantID)
	if err != nil {
		return nil, err
	}
	id, err := uuid.New(r.env.Random)
	if err != nil {
		return nil, err
	}
	s := &row{
		tenantID: tenantID, handle: newHandle(id, tenantID), recipeUserID: string(in.RecipeUserID), userID: in.UserID,
		data: data, payload: custom.Text(), static: r.cfg.StaticSigningKeys, created: now, expires: r.refreshExpiry(now, now),
	}
	fresh, err := r.newTokens(ctx, s, now)
	if err != nil {
		return nil, err
	}
	if err := r.insert(ctx, s, known.user); err != nil {
		return nil, err
	}
	r.verified.add(fresh.access)
	r.env.Emit(ctx, env.Event{Name: env.SessionCreated, UserID: s.userID, TenantID: s.tenantID, SessionHandle: s.handle, OK: true})
	return r.newSession(fresh), nil
}

func (r *Recipe) insert(ctx context.Context, s *row, user env.User) error {
	var n int64
	var err error
	b := r.env.Store
	if user.Known {
		signIn, _ := env.SignInFrom(ctx)
		n, err = b.Exec(ctx, insertRow, s.tenantID, s.handle, s.recipeUserID, user.ID, s.refreshHash, s.data, s.payload, s.static,
			s.created.UnixMilli(), s.expires.UnixMilli(), signIn.CredentialVersion, dayOf(s.expires))
	} else {
		n, err = b.Exec(ctx, insertAlone, s.tenantID, s.handle, s.recipeUserID, s.refreshHash, s.data, s.payload, s.static,
			s.created.UnixMilli(), s.expires.UnixMilli(), dayOf(s.expires))
	}
	if err != nil || n == 1 {
		return err
	}
	if err := r.assertTenant(ctx, s.tenantID); err != nil {
		return err
	}
	return fmt.Errorf("session: %w", env.ErrUserChanged)
}

// freshTokens are those of a session that was created or refreshed just now.
type freshTokens struct {
	access        *token.Access
	refresh       string
	created, ends time.Time // of the refresh token
}

// newTokens makes the first or next tokens of a session, and sets the hash of the row.
func (r *Recipe) newTokens(ctx context.Context, s *row, now time.Time) (*freshTokens, error) {
	key, err := r.refreshKeys.Current(ctx, now)
	if err != nil {
		return nil, err
	}
	refresh, err := token.NewRefresh(key, r.env.Random, s.handle, s.generation)
	if err != nil {
		return nil, err
	}
	s.refreshHash = token.Hash2(token.Hash1(refresh))
	return r.tokensWith(ctx, s, refresh, now)
}

// tokensWith makes an access token of full validity for a refresh token.
func (r *Recipe) tokensWith(ctx context.Context, s *row, refresh string, now time.Time) (*freshTokens, error) {
	custom, err := canonical.Parse(s.payload)
	if err != nil {
		return nil, err
	}
	validity, err := r.accessValidity()
	if err != nil {
		return nil, err
	}
	expiry := now.Add(validity)
	if s.expires.Before(expiry) {
		expiry = s.expires
	}
	access, err := r.mint(ctx, now, s.static, token.Session{
		UserID: s.userID, RecipeUserID: s.recipeUserID, TenantID: s.tenantID, Handle: s.handle,
		RefreshHash1: token.Hash1(refresh), IssuedAt: now, Expiry: expiry, Custom: custom,
	})
	if err != nil {
		return nil, err
	}
	return &freshTokens{access: access, refresh: refresh, created: now, ends: s.expires}, nil
}

// mint signs an access token, unless it is too large. It is not known to the cache before what it says was written.
func (r *Recipe) mint(ctx context.Context, now time.Time, static bool, s token.Session) (*token.Access, error) {
	key, err := r.signing.Signer(ctx, now, static)
	if err != nil {
		return nil, err
	}
	s.Issuer = r.issuer
	accessSize, frontSize, err := token.AccessSizes(key.Algorithm, key.ID, s)
	if err != nil {
		return nil, err
	}
	if err := r.checkSizes(RequestFromContext(ctx), accessSize, frontSize); err != nil {
		return nil, err
	}
	return token.SignAccess(key, s)
}

// accessValidity is shortened by chance, so that the clients of one moment do not refresh in one moment.
func (r *Recipe) accessValidity() (time.Duration, error) {
	var random [4]byte
	if _, err := io.ReadFull(r.env.Random, random[:]); err != nil {
		return 0, err
	}
	share := float64(binary.BigEndian.Uint32(random[:])) / (1 << 32) * *r.cfg.AccessTokenJitter
	return max(time.Second, time.Duration(float64(r.cfg.AccessTokenValidity)*(1-share))), nil
}

// refreshExpiry is where the idle limit and the absolute one end a session.
func (r *Recipe) refreshExpiry(now, created time.Time) time.Time {
	expires := now.Add(r.cfg.RefreshTokenValidity)
	if end := created.Add(r.cfg.AbsoluteLifetime); r.cfg.AbsoluteLifetime > 0 && end.Before(expires) {
		return end
	}
	return expires
}
