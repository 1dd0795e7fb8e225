package mfa

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// subject is whose session is judged.
type subject struct {
	userID       string // the person's, sub of the token
	recipeUserID session.RecipeUserID
	tenantID     string
}

func subjectOf(s *session.Session) subject {
	return subject{s.UserID(), s.RecipeUserID(), s.TenantID()}
}

// evaluation is what the policy and the completed factors of a session come to.
type evaluation struct {
	recorded     factor.Completed // what the claim holds
	completed    factor.Completed // as much of it as counts now
	requirements factor.Requirements
	satisfied    bool
	changed      bool // the claim of the payload says something else
}

func (e evaluation) value() ClaimValue { return ClaimValue{e.recorded, e.satisfied} }

func (e evaluation) update() map[string]any { return map[string]any{claimKey: e.value().payload()} }

// evaluate brings the claim of a session up to date, with add completed now unless it is "", and sends the changed token. The policy is asked with
// nothing locked; when the stored claim has changed meanwhile, because another factor was completed in parallel, it is asked again about both.
func (m *MFA) evaluate(ctx context.Context, s *session.Session, add factor.ID) (evaluation, error) {
	var e evaluation
	err := s.ChangePayload(ctx, env.Key{}, func(ctx context.Context, payload map[string]any) (map[string]any, error) {
		var err error
		e, err = m.evaluatePayload(ctx, subjectOf(s), payload, add)
		if err != nil || !e.changed {
			return nil, err
		}
		return e.update(), nil
	})
	return e, err
}

// evaluateStored is evaluate, but never by a token that is older than what is stored: another request may have taken a factor out of the session.
func (m *MFA) evaluateStored(ctx context.Context, s *session.Session) (evaluation, error) {
	e, err := m.evaluate(ctx, s, "")
	if err != nil || e.changed { // then it was written, which compares the two
		return e, err
	}
	changed, err := s.TakeOver(ctx, env.Key{})
	if err != nil || !changed {
		return e, err
	}
	return m.evaluate(ctx, s, "")
}

// evaluatePayload is the core: which factors are complete, what does the policy ask for, is it satisfied. It writes nothing and leaves the payload
// as it is.
func (m *MFA) evaluatePayload(ctx context.Context, who subject, payload map[string]any, add factor.ID) (evaluation, error) {
	now := m.env.Now()
	claim, known := Claim.GetValueFromPayload(payload)
	if !known {
		id, created, err := m.firstFactorOf(ctx, who, payload)
		if err != nil {
			return evaluation{}, err
		}
		claim.C = factor.Completed{id: created}
	}
	e := evaluation{recorded: claim.C, changed: !known || add != ""}
	if add != "" {
		e.recorded[add] = now.Truncate(time.Second)
	}
	e.completed = believable(e.recorded, now)
	var err error
	if e.requirements, err = m.requirements(ctx, who, payload, e.completed); err != nil {
		return evaluation{}, err
	}
	e.satisfied = e.requirements.Satisfied(e.completed)
	e.changed = e.changed || e.satisfied != claim.V
	return e, nil
}

// requirements asks the policy, with inputs that are read when it asks for them.
func (m *MFA) requirements(ctx context.Context, who subject, payload map[string]any, completed factor.Completed) (factor.Requirements, error) {
	user := lazy(func(ctx context.Context) (*accountlinking.User, error) {
		return m.user(ctx, string(who.recipeUserID))
	})
	in := GetMFARequirementsForAuthInput{
		TenantID:           who.tenantID,
		AccessTokenPayload: copyOf(payload),
		CompletedFactors:   maps.Clone(completed),
		User:               user,
		Roles: lazy(func(ctx context.Context) ([]string, error) {
			roles, err := m.userRoles.GetRolesForUser(ctx, who.tenantID, who.userID)
			return roles, ofSession(err)
		}),
		FactorsSetUpForUser: lazy(func(ctx context.Context) ([]factor.ID, error) {
			u, err := user(ctx)
			if err != nil {
				return nil, err
			}
			return m.functions.GetFactorsSetupForUser(ctx, GetFactorsSetupForUserInput{u})
		}),
		RequiredSecondaryFactorsForUser: lazy(func(ctx context.Context) ([]factor.ID, error) {
			return m.functions.GetRequiredSecondaryFactorsForUser(ctx, GetRequiredSecondaryFactorsForUserInput{who.userID})
		}),
		RequiredSecondaryFactorsForTenant: lazy(func(ctx context.Context) ([]factor.ID, error) {
			return m.requiredByTenant(ctx, who)
		}),
	}
	r, err := m.functions.GetMFARequirementsForAuth(ctx, in)
	if err != nil {
		return nil, err
	}
	return r, checkItems(r)
}

// anyOneRequired is the policy of an instance that has none of its own: any one of the factors that the user or the tenant must complete.
func anyOneRequired(ctx context.Context, in GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	ofUser, err := in.RequiredSecondaryFactorsForUser(ctx)
	if err != nil {
		return nil, err
	}
	ofTenant, err := in.RequiredSecondaryFactorsForTenant(ctx)
	if err != nil {
		return nil, err
	}
	return factor.Requirements{factor.OneOf(factor.OneOf(slices.Concat(ofUser, ofTenant)).IDs())}, nil // without repeats, the user's first
}

// requiredByTenant reads the tenant together with what else a policy may ask about the user.
func (m *MFA) requiredByTenant(ctx context.Context, who subject) ([]factor.ID, error) {
	t, err := m.tenant(ctx, who.tenantID, who.userID)
	if err != nil {
		return nil, ofSession(err)
	}
	return t.RequiredSecondaryFactors, nil
}

// ofSession makes the error of a tenant that a session names: such a session is over.
func ofSession(err error) error {
	if errors.Is(err, session.ErrTenantNotFound) {
		return &session.UnauthorisedError{Message: "Tenant not found"}
	}
	return err
}

// user returns the user of an id that a session names; one that is gone ends the session.
func (m *MFA) user(ctx context.Context, id string) (*accountlinking.User, error) {
	u, err := m.accountLinking.GetUser(ctx, id)
	if errors.Is(err, accountlinking.ErrUnknownUserID) {
		return nil, &session.UnauthorisedError{Message: "Session user not found"}
	}
	return u, err
}

// firstFactorOf tells which factor a session without the claim began with, and when: such a session was made by the application itself. Of what its
// login method may have been used for, the first that is a valid first factor of its tenant.
func (m *MFA) firstFactorOf(ctx context.Context, who subject, payload map[string]any) (factor.ID, time.Time, error) {
	user, err := m.user(ctx, string(who.recipeUserID))
	if err != nil {
		return "", time.Time{}, err
	}
	handle, _ := payload["sessionHandle"].(string)
	info, err := m.sessions.GetSessionInformation(ctx, handle)
	if errors.Is(err, session.ErrSessionDoesNotExist) {
		return "", time.Time{}, &session.UnauthorisedError{Message: "Session not found"}
	}
	if err != nil {
		return "", time.Time{}, err
	}
	var candidates []factor.ID
	for _, method := range user.LoginMethods {
		if method.RecipeUserID != who.recipeUserID {
			continue
		}
		for _, r := range m.registrations {
			if r.FirstFactorsOfLoginMethod != nil {
				candidates = append(candidates, r.FirstFactorsOfLoginMethod(method)...)
			}
		}
	}
	valid, err := m.validFirstFactors(ctx, who.tenantID, who.userID, candidates)
	if err != nil {
		return "", time.Time{}, ofSession(err)
	}
	if len(valid) == 0 {
		return "", time.Time{}, &session.UnauthorisedError{Message: "Incorrect login method used"}
	}
	return valid[0], info.TimeCreated.Truncate(time.Second), nil
}

// copyOf gives application code a payload of its own. What it holds came from JSON.
func copyOf(payload map[string]any) map[string]any {
	private := make(map[string]any, len(payload))
	for key, value := range payload {
		private[key] = copyOfValue(value)
	}
	return private
}

func copyOfValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return copyOf(value)
	case []any:
		private := make([]any, len(value))
		for i, v := range value {
			private[i] = copyOfValue(v)
		}
		return private
	}
	return value
}
