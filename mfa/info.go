package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// Info is what PUT /mfa/info answers: what the user must complete next, what is set up and what may be, and the contacts to use.
type Info struct {
	Next           []factor.ID // empty: nothing is open
	AlreadySetup   []factor.ID
	AllowedToSetup []factor.ID // in this session, now
	Emails         map[factor.ID][]string
	PhoneNumbers   map[factor.ID][]string
}

// MarshalJSON writes {"factors":{"next":[],"alreadySetup":[],"allowedToSetup":[]},"emails":{},"phoneNumbers":{}}; nothing is null.
func (i Info) MarshalJSON() ([]byte, error) {
	list := func(ids []factor.ID) []factor.ID { return append([]factor.ID{}, ids...) }
	contacts := func(m map[factor.ID][]string) map[factor.ID][]string {
		out := map[factor.ID][]string{}
		for id, c := range m {
			out[id] = append([]string{}, c...)
		}
		return out
	}
	return json.Marshal(map[string]any{
		"factors":      map[string]any{"next": list(i.Next), "alreadySetup": list(i.AlreadySetup), "allowedToSetup": list(i.AllowedToSetup)},
		"emails":       contacts(i.Emails),
		"phoneNumbers": contacts(i.PhoneNumbers),
	})
}

// ResyncSessionAndFetchMFAInfo is PUT /mfa/info as a function: it brings the claim of the session up to date and tells what is next. A user, login
// method or tenant that is gone is a *session.UnauthorisedError; requirements that nobody could meet are an error that names them.
func (m *MFA) ResyncSessionAndFetchMFAInfo(ctx context.Context, s *session.Session) (Info, error) {
	ctx = m.enter(ctx)
	user, err := m.user(ctx, s.UserID())
	if err != nil {
		return Info{}, err
	}
	e, err := m.evaluateStored(ctx, s)
	if err != nil {
		return Info{}, err
	}
	info := Info{}
	if info.AlreadySetup, err = m.functions.GetFactorsSetupForUser(ctx, GetFactorsSetupForUserInput{user}); err != nil {
		return Info{}, err
	}
	if _, err := m.tenant(ctx, s.TenantID(), s.UserID()); err != nil {
		return Info{}, ofSession(err)
	}
	if info.AllowedToSetup, err = m.allowedToSetUp(ctx, s, m.offeredSecondaryFactors(), e.requirements, info.AlreadySetup); err != nil {
		return Info{}, err
	}
	if info.Emails, info.PhoneNumbers, err = m.contacts(ctx, user, s.RecipeUserID()); err != nil {
		return Info{}, err
	}
	info.Next, err = m.next(ctx, s, e, info)
	return info, err
}

// allowedToSetUp keeps those of ids that the session may set up now. Only a refusal means no; any other error is one.
func (m *MFA) allowedToSetUp(ctx context.Context, s *session.Session, ids []factor.ID, r factor.Requirements, setUp []factor.ID) ([]factor.ID, error) {
	allowed := []factor.ID{}
	for _, id := range ids {
		err := m.functions.AssertAllowedToSetupFactor(ctx, AssertAllowedToSetupFactorInput{
			Session: s, FactorID: id, MFARequirementsForAuth: Value(r), FactorsSetUpForUser: Value(setUp),
		})
		if _, refused := errors.AsType[*session.InvalidClaimsError](err); refused {
			continue
		}
		if err != nil {
			return nil, err
		}
		allowed = append(allowed, id)
	}
	return allowed, nil
}

// next is what is asked for next, as far as the user could do it.
func (m *MFA) next(ctx context.Context, s *session.Session, e evaluation, info Info) ([]factor.ID, error) {
	open := e.requirements.Next(e.completed)
	if open == nil {
		return nil, nil
	}
	var possible []factor.ID
	var names []string
	for _, id := range open.IDs() {
		names = append(names, string(id))
		if slices.Contains(info.AlreadySetup, id) || slices.Contains(info.AllowedToSetup, id) {
			possible = append(possible, id)
		}
	}
	if possible == nil {
		m.env.Logger.ErrorContext(ctx, "the policy asks for factors that the user can neither complete nor set up",
			"tenant", s.TenantID(), "user", s.UserID(), "factors", names)
		return nil, &env.DeveloperError{Message: fmt.Sprintf("The user is required to complete secondary factors they are not allowed to (%s), "+
			"likely because of configuration issues.", strings.Join(names, ", "))}
	}
	return possible, nil
}

func (m *MFA) contacts(ctx context.Context, user *accountlinking.User, method accountlinking.RecipeUserID) (emails, phones map[factor.ID][]string, err error) {
	known := func(l accountlinking.LoginMethod) bool { return l.RecipeUserID == method }
	if !slices.ContainsFunc(user.LoginMethods, known) {
		return nil, nil, &session.UnauthorisedError{Message: "User no longer associated with the session"}
	}
	emails, phones = map[factor.ID][]string{}, map[factor.ID][]string{}
	for _, r := range m.registrations {
		for _, kind := range []struct {
			ask func(context.Context, *accountlinking.User, accountlinking.RecipeUserID) (map[factor.ID][]string, error)
			all map[factor.ID][]string
		}{{r.EmailsForFactors, emails}, {r.PhoneNumbersForFactors, phones}} {
			if kind.ask == nil {
				continue
			}
			of, err := kind.ask(ctx, user, method)
			if err != nil {
				return nil, nil, err
			}
			maps.Copy(kind.all, of)
		}
	}
	return emails, phones, nil
}

func (m *MFA) resyncSessionAndFetchMFAInfoPUT(ctx context.Context, in ResyncSessionAndFetchMFAInfoPUTInput) (Info, error) {
	return m.ResyncSessionAndFetchMFAInfo(ctx, in.Session)
}

// routes are those of the factors, in their order, and then that of MFA itself.
func (m *MFA) routes() []env.Route {
	var routes []env.Route
	for _, reg := range m.registrations {
		for _, route := range reg.Routes {
			routes = append(routes, m.route(reg.RecipeID, route))
		}
	}
	if m.apis.ResyncSessionAndFetchMFAInfoPUT == nil {
		return routes
	}
	return append(routes, m.route("multifactorauth", Route{"PUT", "/mfa/info", func(ctx context.Context, r *Request) (any, error) {
		s, err := r.Session(ctx)
		if err != nil {
			return nil, err
		}
		return m.apis.ResyncSessionAndFetchMFAInfoPUT(ctx, ResyncSessionAndFetchMFAInfoPUTInput{s, r.Options})
	}}))
}

func (m *MFA) route(recipeID string, route Route) env.Route {
	return env.Route{RecipeID: recipeID, Method: route.Method, Path: route.Path, Handle: func(ctx context.Context, in env.Request) (any, error) {
		r := &Request{TenantID: in.TenantID, Options: session.APIOptions{Request: in.Request, Response: in.Response}, m: m}
		result, err := route.Handle(ctx, r)
		if errors.Is(err, session.ErrTenantNotFound) && r.session != nil {
			// Of the session or of the path? Only the first ends the session.
			if _, gone := m.tenant(ctx, r.session.TenantID(), r.session.UserID()); errors.Is(gone, session.ErrTenantNotFound) {
				err = ofSession(err)
			}
		}
		return result, err
	}}
}
