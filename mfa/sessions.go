package mfa

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// ReevaluateSessionsOfUser asks the policy about every session of the user and stores v: after a role or a requirement was given or taken, where the
// next refresh is too late. A session shows it to its front end at its next refresh or MFA-info call; routes verified with CheckDatabase at once.
// userID is the person's. Sessions without the claim are left alone: it is made when they are next verified.
func (m *MFA) ReevaluateSessionsOfUser(ctx context.Context, userID string) error {
	return m.reevaluateSessions(m.enter(ctx), nil, userID, "")
}

// factorRemoved takes a factor that the user no longer has out of all of the user's sessions, and computes their v. The session of the request, if
// there is one, gets its new token at once.
func (m *MFA) factorRemoved(ctx context.Context, s *session.Session, userID string, id factor.ID) error {
	return m.reevaluateSessions(ctx, s, userID, id)
}

// reevaluateSessions brings the claims of all of the user's sessions up to date, without removed unless that is "". own is in hand already.
func (m *MFA) reevaluateSessions(ctx context.Context, own *session.Session, userID string, removed factor.ID) error {
	change := func(who subject) func(context.Context, map[string]any) (map[string]any, error) {
		return func(ctx context.Context, payload map[string]any) (map[string]any, error) {
			return m.reevaluated(ctx, who, payload, removed)
		}
	}
	if own != nil {
		if err := own.ChangePayload(ctx, env.Key{}, change(subjectOf(own))); err != nil {
			return err
		}
	}
	sessions, err := m.sessions.GetAllSessionsForUser(ctx, session.GetAllSessionHandlesForUserInput{UserID: userID})
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if own != nil && s.SessionHandle == own.Handle() {
			continue
		}
		err := m.sessions.ChangePayload(ctx, env.Key{}, s.SessionHandle, change(subject{s.UserID, s.RecipeUserID, s.TenantID}))
		if err != nil && !errors.Is(err, session.ErrSessionDoesNotExist) { // it ended meanwhile
			return err
		}
	}
	return nil
}

func (m *MFA) reevaluated(ctx context.Context, who subject, payload map[string]any, removed factor.ID) (map[string]any, error) {
	claim, ok := Claim.GetValueFromPayload(payload)
	if !ok {
		return nil, nil
	}
	without := claim.C.Has(removed)
	if without {
		delete(claim.C, removed)
		payload = maps.Clone(payload)
		payload[claimKey] = claim.payload()
	}
	e, err := m.evaluatePayload(ctx, who, payload, "")
	if err != nil || !e.changed && !without {
		return nil, err
	}
	return e.update(), nil
}

// newClaim asks the policy about a session that is about to be made, in which id is completed now.
func (m *MFA) newClaim(ctx context.Context, tenantID, userID string, recipeUserID session.RecipeUserID, id factor.ID) (map[string]any, error) {
	payload := map[string]any{"sub": userID, "rsub": string(recipeUserID), "tId": tenantID, claimKey: ClaimValue{}.payload()}
	e, err := m.evaluatePayload(ctx, subject{userID, recipeUserID, tenantID}, payload, id)
	if err != nil {
		return nil, err
	}
	return e.update(), nil
}

// onRefresh asks the policy anew, so that no session lives on with a v that is out of date.
func (m *MFA) onRefresh(ctx context.Context, in env.Refresh) (map[string]any, error) {
	if _, ok := Claim.GetValueFromPayload(in.Payload); !ok {
		return nil, nil // made when the session is next verified
	}
	e, err := m.evaluatePayload(ctx, subject{in.UserID, session.RecipeUserID(in.RecipeUserID), in.TenantID}, in.Payload, "")
	if _, over := errors.AsType[*session.UnauthorisedError](err); err != nil && !over {
		return nil, fmt.Errorf("mfa: the policy at a refresh: %w", failure{err})
	}
	if err != nil || !e.changed {
		return nil, err
	}
	return e.update(), nil
}

// failure is an error that is a 500 whatever it is: front ends take any other answer to a refresh for new tokens or for the end of the session.
type failure struct{ error }

// Is finds what the error is for the log and for tests; a tenant that is not found would be a 400.
func (f failure) Is(target error) bool {
	return target != session.ErrTenantNotFound && errors.Is(f.error, target)
}

func (m *MFA) emitCompleted(ctx context.Context, s *session.Session, id factor.ID) {
	m.env.Emit(ctx, env.Event{
		Name: env.FactorCompleted, UserID: s.UserID(), TenantID: s.TenantID(), SessionHandle: s.Handle(), FactorID: string(id), OK: true,
	})
}
