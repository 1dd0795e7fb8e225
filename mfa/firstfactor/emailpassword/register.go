package emailpassword

import (
	"context"
	"errors"
	"slices"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/table"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// Attach tells mfa.New what the recipe offers.
func (r *Recipe) Attach(*mfa.MFA) (mfa.Registration, error) {
	apis := table.Override(r.defaultAPIs(), r.cfg.Override.APIs)
	return mfa.Registration{
		RecipeID:                  recipeID,
		FirstFactors:              []factor.ID{factor.EmailPassword},
		SecondaryFactors:          []factor.ID{factor.EmailPassword},
		FactorsSetUpForUser:       factorsSetUpForUser,
		EmailsForFactors:          emailsForFactors,
		FirstFactorsOfLoginMethod: firstFactorsOfLoginMethod,
		Routes:                    r.routes(apis),
	}, nil
}

var errAttachedTwice = errors.New("emailpassword: the recipe belongs to another instance: make a recipe for each with New")

// AttachFlow is called by mfa.New, with nil when the instance could not be made after all.
func (r *Recipe) AttachFlow(f *flow.Flow) error {
	if f == nil {
		r.env, r.flow = nil, nil
		return nil
	}
	if r.env != nil {
		return errAttachedTwice
	}
	if err := r.attach(f.Env, f.AccountLinking, f.Guesses); err != nil {
		return err
	}
	r.flow = f
	return nil
}

func isPassword(m accountlinking.LoginMethod) bool { return m.RecipeID == recipeID }

func factorsSetUpForUser(_ context.Context, user *accountlinking.User) ([]factor.ID, error) {
	if slices.ContainsFunc(user.LoginMethods, isPassword) {
		return []factor.ID{factor.EmailPassword}, nil
	}
	return nil, nil
}

func firstFactorsOfLoginMethod(m accountlinking.LoginMethod) []factor.ID {
	if isPassword(m) {
		return []factor.ID{factor.EmailPassword}
	}
	return nil
}

// emailsForFactors gives the addresses with which the user could sign in by password, or could begin to: those of passwords, verified ones first and
// stand-ins last; without any, all that the user has. The session's own address comes first.
func emailsForFactors(
	_ context.Context, user *accountlinking.User, sessionMethod accountlinking.RecipeUserID,
) (map[factor.ID][]string, error) {
	methods := slices.Clone(user.LoginMethods)
	slices.SortStableFunc(methods, func(a, b accountlinking.LoginMethod) int { return a.TimeJoined.Compare(b.TimeJoined) })
	var emails []string
	add := func(wanted func(accountlinking.LoginMethod) bool) {
		for _, m := range methods {
			if m.Email != "" && wanted(m) && !slices.Contains(emails, m.Email) {
				emails = append(emails, m.Email)
			}
		}
	}
	isFake := func(m accountlinking.LoginMethod) bool { return users.IsFakeEmail(m.Email) }
	if slices.ContainsFunc(methods, isPassword) {
		add(func(m accountlinking.LoginMethod) bool { return isPassword(m) && !isFake(m) && m.Verified })
		add(func(m accountlinking.LoginMethod) bool { return isPassword(m) && !isFake(m) })
		add(isPassword)
	} else {
		add(func(m accountlinking.LoginMethod) bool { return !isFake(m) })
		if len(emails) == 0 {
			add(isFake)
		}
	}
	for _, m := range methods {
		if i := slices.Index(emails, m.Email); m.RecipeUserID == sessionMethod && i > 0 {
			emails = slices.Insert(slices.Delete(emails, i, i+1), 0, m.Email)
		}
	}
	if len(emails) == 0 {
		emails = []string{users.FakeEmail(string(sessionMethod))}
	}
	return map[factor.ID][]string{factor.EmailPassword: emails}, nil
}
