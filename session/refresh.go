package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/token"
)

// RefreshSession rotates the refresh token of the request and puts the new tokens into the answer. A token that is no good is an *UnauthorisedError, one
// that was used already, and not just now, a *TokenTheftDetectedError.
func (r *Recipe) RefreshSession(w http.ResponseWriter, req *http.Request) (*Session, error) {
	a, req := r.enter(w, req)
	ctx := req.Context()
	if a.sent() {
		return nil, ErrResponseWritten
	}
	p := r.presented(req, TokenTypeRefresh)
	older, err := r.duplicateCookies(req, p)
	if err != nil {
		return nil, err
	}
	if len(older) > 0 {
		if p.cookies, err = r.liveOf(ctx, p.cookies); err != nil {
			return nil, err
		}
		if p.header == "" && len(p.cookies) == 0 {
			if err := r.clearOlderCookies(a, req, older); err != nil {
				return nil, err
			}
			return nil, &duplicateCookiesError{duplicatesCleared}
		}
	}
	text, mode := r.chooseRefreshToken(req, p)
	if text == "" {
		return nil, &UnauthorisedError{Message: "the request carries no refresh token"}
	}
	if mode == TransferCookie {
		if passes, err := r.passesAntiCSRF(req); err != nil {
			return nil, err
		} else if !passes { // nothing is cleared: a form of another site could else log the user out
			return nil, &UnauthorisedError{Message: "the request has no rid header", KeepTokens: true}
		}
	}
	s, err := r.functions.RefreshSession(ctx, RefreshSessionInput{RefreshToken: text, DisableAntiCSRF: true})
	if err != nil {
		return nil, err
	}
	if carriesOther(p, mode) {
		if err := r.clearTokens(a, req, other(mode)); err != nil {
			return nil, err
		}
	}
	if err := s.attach(a, req, mode); err != nil {
		return nil, err
	}
	if len(older) > 0 { // after the valid ones: some clients take the first
		if err := r.clearOlderCookies(a, req, older); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// RefreshSessionWithoutRequestResponse rotates a refresh token that did not come in a request. The new tokens are left to the caller:
// Session.AllSessionTokensDangerously.
func (r *Recipe) RefreshSessionWithoutRequestResponse(ctx context.Context, in RefreshSessionInput) (*Session, error) {
	return r.functions.RefreshSession(r.env.Bind(ctx), in)
}

func (r *Recipe) chooseRefreshToken(req *http.Request, p presented) (text string, mode TransferMethod) {
	allowed := r.readingMode(req)
	switch {
	case allowed != TransferCookie && p.header != "":
		return p.header, TransferHeader
	case allowed != TransferHeader && p.cookie() != "":
		return p.cookie(), TransferCookie
	}
	return "", allowed
}

const (
	duplicatesRefused = "The request contains multiple session cookies. This may happen if you've changed the 'cookieDomain' setting in your configuration. " +
		"To clear tokens from the previous domain, set 'olderCookieDomain' in your config."
	duplicatesCleared = "The request contains multiple session cookies. We are clearing the cookie from olderCookieDomain. Session will be refreshed in " +
		"the next refresh call."
)

// duplicateCookiesError is answered with 200 when the cookies of the older domain were cleared and none of them led to a session.
type duplicateCookiesError struct{ message string }

func (e *duplicateCookiesError) Error() string { return e.message }

// duplicateCookies tells which cookies came more than once: those of an earlier domain are still there.
func (r *Recipe) duplicateCookies(req *http.Request, p presented) (types []TokenType, err error) {
	if r.readingMode(req) == TransferHeader {
		return nil, nil
	}
	if len(cookies(req, r.cookieName(req, TokenTypeAccess))) > 1 {
		types = append(types, TokenTypeAccess)
	}
	if len(p.cookies) > 1 {
		types = append(types, TokenTypeRefresh)
	}
	if len(types) > 0 && r.cfg.OlderCookieDomain == nil {
		return nil, &env.DeveloperError{Message: duplicatesRefused}
	}
	return types, nil
}

// maxCandidates bounds how many refresh tokens of one request are looked up.
const maxCandidates = 5

// liveOf keeps the first refresh token that would be taken, without any effect.
func (r *Recipe) liveOf(ctx context.Context, candidates []string) ([]string, error) {
	now := r.env.Now()
	for _, text := range candidates[:min(len(candidates), maxCandidates)] {
		refresh, err := r.parseRefresh(ctx, now, text)
		if err != nil {
			return nil, err
		}
		if refresh == nil {
			continue
		}
		stored, err := r.read(ctx, refresh.Handle, now)
		if err != nil {
			return nil, err
		}
		if stored != nil && r.ageOf(stored, text, now) != reused {
			return []string{text}, nil
		}
	}
	return nil, nil
}

// parseRefresh returns a refresh token that is genuine, or nil.
func (r *Recipe) parseRefresh(ctx context.Context, now time.Time, text string) (*token.Refresh, error) {
	refresh, ok := token.ParseRefresh(text)
	if !ok {
		return nil, nil
	}
	key, ok, err := r.refreshKeys.Find(ctx, now, refresh.KeyID)
	if err != nil {
		return nil, fmt.Errorf("session: the keys cannot be read: %w", err)
	}
	if !ok || !refresh.Authentic(key) {
		return nil, nil
	}
	return refresh, nil
}

// age is what a genuine refresh token is to its session.
type age int

const (
	present age = iota
	justRotated
	reused
)

func (r *Recipe) ageOf(stored *row, text string, now time.Time) age {
	hash := token.Hash2(token.Hash1(text))
	switch {
	case equal(hash, stored.refreshHash):
		return present
	case equal(hash, stored.prevRefreshHash) && stored.successor != nil && !now.After(stored.rotatedAt.Add(*r.cfg.ReuseGrace)):
		return justRotated
	}
	return reused
}

// refreshSession is the default of Functions.RefreshSession. A rotation is one conditional statement: of several at once one makes the successor, and the
// others then find it.
func (r *Recipe) refreshSession(ctx context.Context, in RefreshSessionInput) (*Session, error) {
	if err := r.env.Store.RefuseInTx(ctx); err != nil {
		return nil, err
	}
	if !in.DisableAntiCSRF && r.cfg.AntiCSRF == AntiCSRFViaCustomHeader {
		return nil, errNoRequest
	}
	now := r.env.Now()
	refresh, err := r.parseRefresh(ctx, now, in.RefreshToken)
	if err != nil {
		return nil, err
	}
	if refresh == nil {
		return nil, &UnauthorisedError{Message: "the refresh token is not valid"}
	}
	for range maxTries {
		stored, err := r.read(ctx, refresh.Handle, now)
		if err != nil {
			return nil, err
		}
		if stored == nil {
			return nil, &UnauthorisedError{Message: "the session does not exist any more"}
		}
		var s *Session
		switch r.ageOf(stored, in.RefreshToken, now) {
		case present:
			s, err = r.rotate(ctx, stored, in.RefreshToken, now)
		case justRotated:
			s, err = r.repeat(ctx, stored, in.RefreshToken, now)
		default:
			err = r.endStolen(ctx, stored, refresh, now)
		}
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, errors.New("session: other requests got ahead of a refresh too often")
}

// rotate replaces the refresh token; nil, nil: somebody was faster.
func (r *Recipe) rotate(ctx context.Context, stored *row, presented string, now time.Time) (*Session, error) {
	next := *stored
	if err := r.bringUpToDate(ctx, &next); err != nil {
		return nil, err
	}
	next.generation++
	next.static = r.cfg.StaticSigningKeys
	next.expires = r.refreshExpiry(now, stored.created)
	fresh, err := r.newTokens(ctx, &next, now)
	if err != nil {
		return nil, err
	}
	if *r.cfg.ReuseGrace > 0 {
		if next.successor, err = token.SealSuccessor(r.env.Random, presented, stored.handle, fresh.refresh); err != nil {
			return nil, err
		}
	} else {
		next.successor = nil
	}
	n, err := r.env.Store.Exec(ctx, rotateRow, stored.tenantID, stored.handle, stored.refreshHash, next.refreshHash, next.successor, now.UnixMilli(),
		stored.payload, next.payload, next.expires.UnixMilli(), dayOf(next.expires), next.static)
	if err != nil || n == 0 {
		return nil, err
	}
	r.verified.add(fresh.access)
	return r.newSession(fresh), nil
}

// bringUpToDate evaluates anew what must not live on unseen. Application code runs here, so nothing is locked; its error fails the refresh.
func (r *Recipe) bringUpToDate(ctx context.Context, s *row) error {
	if r.env.OnRefresh == nil {
		return nil
	}
	custom, err := canonical.Parse(s.payload)
	if err != nil {
		return err
	}
	payload, err := whole(custom, s.userID, s.recipeUserID, s.tenantID, s.handle)
	if err != nil {
		return err
	}
	update, err := r.env.OnRefresh(ctx, env.Refresh{
		SessionHandle: s.handle, UserID: s.userID, RecipeUserID: s.recipeUserID, TenantID: s.tenantID, TimeCreated: s.created, Payload: payload,
	})
	if err != nil || len(update) == 0 {
		return err
	}
	if err := refuseProtected(update); err != nil {
		return err
	}
	if custom, err = apply(custom, update); err != nil {
		return err
	}
	s.payload = custom.Text()
	return nil
}

// repeat hands out the same successor again. Nothing is written.
func (r *Recipe) repeat(ctx context.Context, stored *row, presented string, now time.Time) (*Session, error) {
	successor, err := token.OpenSuccessor(stored.successor, presented, stored.handle)
	if err != nil {
		return nil, err
	}
	fresh, err := r.tokensWith(ctx, stored, successor, now)
	if err != nil {
		return nil, err
	}
	fresh.created = stored.rotatedAt
	r.verified.add(fresh.access)
	return r.newSession(fresh), nil
}

// endStolen ends the session of a token that was used before: either its owner or somebody else has the successor, and nobody can tell who. nil: the
// session has changed meanwhile.
func (r *Recipe) endStolen(ctx context.Context, stored *row, refresh *token.Refresh, now time.Time) error {
	hash := token.Hash2(token.Hash1(refresh.Text))
	ended, err := r.env.Store.Row(ctx, endStolen,
		[]any{stored.tenantID, stored.handle, hash, now.Add(-*r.cfg.ReuseGrace).UnixMilli()})
	if err != nil || !ended {
		return err
	}
	class := "an older generation"
	if equal(hash, stored.prevRefreshHash) {
		class = "the previous one, after its grace"
	}
	r.env.Logger.WarnContext(ctx, "session: a used refresh token came again; the session was ended", "token", class, "session", stored.handle,
		"sessionAge", now.Sub(stored.created), "sinceRotation", now.Sub(stored.rotatedAt), "generation", refresh.Generation, "present", stored.generation)
	r.env.Emit(ctx, env.Event{
		Name: env.SessionTheft, UserID: stored.userID, TenantID: stored.tenantID, SessionHandle: stored.handle, Reason: env.ReasonReused,
	})
	return &TokenTheftDetectedError{SessionHandle: stored.handle, UserID: stored.userID, RecipeUserID: RecipeUserID(stored.recipeUserID)}
}
