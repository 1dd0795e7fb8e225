package mfa

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/metadata"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// GetRequiredSecondaryFactorsForUser returns the factors that this user must complete, by the user's own choice or the host's; the default policy
// asks for any one of them. They are a list in the user's metadata, under _supertokens. None, or an unknown user: an empty list.
func (m *MFA) GetRequiredSecondaryFactorsForUser(ctx context.Context, userID string) ([]factor.ID, error) {
	if err := checkUserID(userID); err != nil {
		return nil, err
	}
	return m.functions.GetRequiredSecondaryFactorsForUser(m.enter(ctx), GetRequiredSecondaryFactorsForUserInput{userID})
}

// AddToRequiredSecondaryFactorsForUser adds a factor to the user's list, unless it is there, as one atomic step. Open sessions are held to it from
// their next refresh or MFA-info call on, or at once after ReevaluateSessionsOfUser. A factor that nobody offers locks the user out; only the form of
// the id is checked, as MarkFactorAsCompleteInSession says.
func (m *MFA) AddToRequiredSecondaryFactorsForUser(ctx context.Context, userID string, id factor.ID) error {
	if err := errors.Join(checkID(id), checkUserID(userID)); err != nil {
		return err
	}
	return m.functions.AddToRequiredSecondaryFactorsForUser(m.enter(ctx), AddToRequiredSecondaryFactorsForUserInput{userID, id})
}

// RemoveFromRequiredSecondaryFactorsForUser takes a factor out of the user's list, as one atomic step. What is set up stays set up.
func (m *MFA) RemoveFromRequiredSecondaryFactorsForUser(ctx context.Context, userID string, id factor.ID) error {
	if err := errors.Join(checkID(id), checkUserID(userID)); err != nil {
		return err
	}
	return m.functions.RemoveFromRequiredSecondaryFactorsForUser(m.enter(ctx), RemoveFromRequiredSecondaryFactorsForUserInput{userID, id})
}

func (m *MFA) getRequiredSecondaryFactorsForUser(ctx context.Context, in GetRequiredSecondaryFactorsForUserInput) ([]factor.ID, error) {
	return metadata.RequiredFactors(ctx, m.env.Store, in.UserID)
}

func (m *MFA) addToRequiredSecondaryFactorsForUser(ctx context.Context, in AddToRequiredSecondaryFactorsForUserInput) error {
	added, err := metadata.AddRequiredFactor(ctx, m.env.Store, in.UserID, in.FactorID)
	if errors.Is(err, metadata.ErrTooLarge) {
		return &session.BadInputError{Message: err.Error()}
	}
	if err == nil && added {
		m.env.Emit(ctx, env.Event{Name: env.RequirementAdded, UserID: in.UserID, FactorID: string(in.FactorID), OK: true})
	}
	return err
}

func (m *MFA) removeFromRequiredSecondaryFactorsForUser(ctx context.Context, in RemoveFromRequiredSecondaryFactorsForUserInput) error {
	removed, err := metadata.RemoveRequiredFactor(ctx, m.env.Store, in.UserID, in.FactorID)
	if err == nil && removed {
		m.env.Emit(ctx, env.Event{Name: env.RequirementRemoved, UserID: in.UserID, FactorID: string(in.FactorID), OK: true})
	}
	return err
}

func checkUserID(id string) error {
	if problem := input.UserID("userID", id); problem != "" {
		return &session.BadInputError{Message: problem}
	}
	return nil
}
