package mfa

import (
	"context"
	"slices"

	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// GetFactorsSetupForUser returns the factors that the user could complete, in the order of Config.Factors. Unknown user:
// accountlinking.ErrUnknownUserID.
func (m *MFA) GetFactorsSetupForUser(ctx context.Context, userID string) ([]factor.ID, error) {
	ctx = m.enter(ctx)
	user, err := m.accountLinking.GetUser(ctx, userID)
	if err != nil {
		return nil, err
	}
	return m.functions.GetFactorsSetupForUser(ctx, GetFactorsSetupForUserInput{user})
}

func (m *MFA) getFactorsSetupForUser(ctx context.Context, in GetFactorsSetupForUserInput) ([]factor.ID, error) {
	ids := []factor.ID{}
	for _, r := range m.registrations {
		if r.FactorsSetUpForUser == nil {
			continue
		}
		of, err := r.FactorsSetUpForUser(ctx, in.User)
		if err != nil {
			return nil, err
		}
		for _, id := range of {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// AssertAllowedToSetupFactor returns a *session.InvalidClaimsError when the session may not set this factor up now: it may when all that the policy
// asks for is done; else only a factor that is asked for next, and only while none of those is set up, or else who knows the password could add a
// factor of their own instead of proving the owner's. The claim of the session is brought up to date on the way.
func (m *MFA) AssertAllowedToSetupFactor(ctx context.Context, s *session.Session, id factor.ID) error {
	ctx = m.enter(ctx)
	user, err := m.user(ctx, s.UserID())
	if err != nil {
		return err
	}
	e, err := m.evaluate(ctx, s, "")
	if err != nil {
		return err
	}
	return m.functions.AssertAllowedToSetupFactor(ctx, AssertAllowedToSetupFactorInput{
		Session:                s,
		FactorID:               id,
		MFARequirementsForAuth: Value(e.requirements),
		FactorsSetUpForUser: lazy(func(ctx context.Context) ([]factor.ID, error) {
			return m.functions.GetFactorsSetupForUser(ctx, GetFactorsSetupForUserInput{user})
		}),
	})
}

const (
	reasonOpenFactor = "Completed factors in the session does not satisfy the MFA requirements for auth"
	reasonNotNext    = "Not allowed to setup factor that is not in the next set of unsatisfied factors"
)

func (m *MFA) assertAllowedToSetupFactor(ctx context.Context, in AssertAllowedToSetupFactorInput) error {
	claim, known := Claim.GetValue(in.Session)
	if !known {
		e, err := m.evaluate(ctx, in.Session, "")
		if err != nil {
			return err
		}
		claim.C = e.completed
	}
	requirements, err := in.MFARequirementsForAuth(ctx)
	if err != nil {
		return err
	}
	if err := checkItems(requirements); err != nil {
		return err
	}
	next := requirements.Next(believable(claim.C, m.env.Now())) // by the present requirements, not by a v that may be old
	if next == nil {
		return nil
	}
	setUp, err := in.FactorsSetUpForUser(ctx)
	if err != nil {
		return err
	}
	ids := next.IDs()
	if slices.ContainsFunc(ids, func(id factor.ID) bool { return slices.Contains(setUp, id) }) {
		return setupRefused(reasonOpenFactor)
	}
	if !slices.Contains(ids, in.FactorID) {
		return setupRefused(reasonNotNext)
	}
	return nil
}

func setupRefused(reason string) error {
	return &session.InvalidClaimsError{Errors: []session.ClaimValidationError{{ID: claimKey, Reason: reason}}}
}

// MarkFactorAsCompleteInSession is for a host that checked a factor itself: it adds the factor to the session's claim, with the present time, and
// computes v. It sends the changed token if s belongs to a request. An id is 1 to 128 characters of letters, digits, "_", "." and "-"; any other is
// a *session.BadInputError.
func (m *MFA) MarkFactorAsCompleteInSession(ctx context.Context, s *session.Session, id factor.ID) error {
	if err := checkID(id); err != nil {
		return err
	}
	return m.functions.MarkFactorAsCompleteInSession(m.enter(ctx), MarkFactorAsCompleteInSessionInput{s, id})
}

func (m *MFA) markFactorAsCompleteInSession(ctx context.Context, in MarkFactorAsCompleteInSessionInput) error {
	if _, err := m.evaluate(ctx, in.Session, in.FactorID); err != nil {
		return err
	}
	if in.FactorID != "" {
		m.emitCompleted(ctx, in.Session, in.FactorID)
	}
	return nil
}

// GetMFARequirementsForAuth asks the policy about a session and brings its claim up to date.
func (m *MFA) GetMFARequirementsForAuth(ctx context.Context, s *session.Session) (factor.Requirements, error) {
	e, err := m.evaluate(m.enter(ctx), s, "")
	return e.requirements, err
}
