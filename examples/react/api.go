package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

const admin = "admin"

// recently is how fresh a code must be for switching its factor off: an open browser is not enough.
const recently = 15 * time.Minute

// api is what the front end talks to: the library's routes below /auth and the application's below /api. It may be on another origin than the website.
func (a *app) api() http.Handler {
	mux := http.NewServeMux()
	a.routes(mux)
	return a.auth.CORS(a.auth.Middleware(mux))
}

// together serves API and website on one origin. The website's pages below /auth and the library's routes there do not meet: what is no route of the
// library passes on.
func (a *app) together() http.Handler {
	mux := http.NewServeMux()
	a.routes(mux)
	mux.Handle("/", a.website(site))
	return a.auth.Middleware(mux)
}

func (a *app) routes(mux *http.ServeMux) {
	verify := a.auth.Sessions().Verify
	mux.Handle("/api/", http.NotFoundHandler()) // and not the website
	mux.Handle("GET /api/me", verify(a.answer(a.me)))
	mux.Handle("GET /api/reports/{year}", verify(a.answer(a.report)))
	mux.Handle("POST /api/become-admin", verify(a.answer(a.becomeAdmin)))
	mux.Handle("GET /api/factors", verify(a.answer(a.factors)))
	mux.Handle("POST /api/factors/{id}", verify(a.answer(a.switchOn)))
	mux.Handle("DELETE /api/factors/{id}", verify(a.answer(a.switchOff)))
}

// answer writes what a route returns as JSON. The library's errors, such as that of a claim, become the answers that the front end knows.
func (a *app) answer(route func(r *http.Request, s *session.Session) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := route(r, session.FromContext(r.Context()))
		if err != nil {
			a.auth.HandleError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(body)
	})
}

type person struct {
	UserID string   `json:"userId"`
	Email  string   `json:"email"`
	Roles  []string `json:"roles"`
}

func (a *app) me(r *http.Request, s *session.Session) (any, error) {
	user, err := a.auth.AccountLinking().GetUser(r.Context(), s.UserID())
	if err != nil {
		return nil, err
	}
	roles, err := a.auth.UserRoles().GetRolesForUser(r.Context(), s.TenantID(), s.UserID())
	if err != nil {
		return nil, err
	}
	return person{s.UserID(), user.Emails[0], roles}, nil
}

type quarter struct {
	Name  string `json:"name"`
	Sales int    `json:"sales"`
}

// report is something worth protecting.
func (a *app) report(r *http.Request, _ *session.Session) (any, error) {
	year, err := strconv.Atoi(r.PathValue("year"))
	if err != nil || year < 1900 || year > 2100 {
		return nil, &session.BadInputError{Message: "year must be one"}
	}
	quarters := make([]quarter, 4)
	for i := range quarters {
		quarters[i] = quarter{"Q" + strconv.Itoa(i+1), 1000 + (year*(i+3)*37)%900}
	}
	return quarters, nil
}

// becomeAdmin gives the visitor the role. In a real application an administrator does this to somebody else.
func (a *app) becomeAdmin(r *http.Request, s *session.Session) (any, error) {
	ctx := r.Context()
	if _, err := a.auth.UserRoles().CreateNewRoleOrAddPermissions(ctx, admin); err != nil {
		return nil, err
	}
	if _, err := a.auth.UserRoles().AddRoleToUser(ctx, s.TenantID(), s.UserID(), admin); err != nil {
		return nil, err
	}
	return struct{}{}, a.auth.ReevaluateSessionsOfUser(ctx, s.UserID()) // binds the user's sessions that are open already
}

type factorState struct {
	ID    factor.ID `json:"id"`
	On    bool      `json:"on"`    // the user switched it on
	SetUp bool      `json:"setUp"` // there is something to complete it with
}

func (a *app) factors(r *http.Request, s *session.Session) (any, error) {
	chosen, err := a.auth.GetRequiredSecondaryFactorsForUser(r.Context(), s.UserID())
	if err != nil {
		return nil, err
	}
	setUp, err := a.auth.GetFactorsSetupForUser(r.Context(), s.UserID())
	if err != nil {
		return nil, err
	}
	states := make([]factorState, len(a.secondFactors))
	for i, id := range a.secondFactors {
		states[i] = factorState{id, slices.Contains(chosen, id), slices.Contains(setUp, id)}
	}
	return states, nil
}

// switchOn works for a factor that is not set up, too: the user is then asked to set it up at the next sign-in.
func (a *app) switchOn(r *http.Request, s *session.Session) (any, error) {
	id, err := a.secondFactor(r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.auth.AddToRequiredSecondaryFactorsForUser(r.Context(), s.UserID(), id)
}

// switchOff keeps devices, so that the factor can be switched on again as it was.
func (a *app) switchOff(r *http.Request, s *session.Session) (any, error) {
	id, err := a.secondFactor(r)
	if err != nil {
		return nil, err
	}
	if err := a.completedRecently(r.Context(), s, id); err != nil {
		return nil, err
	}
	return struct{}{}, a.auth.RemoveFromRequiredSecondaryFactorsForUser(r.Context(), s.UserID(), id)
}

func (a *app) completedRecently(ctx context.Context, s *session.Session, id factor.ID) error {
	return s.AssertClaims(ctx, mfa.Claim.HasCompletedRequirementListWithin(recently, factor.Requirements{id}))
}

func (a *app) secondFactor(r *http.Request) (factor.ID, error) {
	id := factor.ID(r.PathValue("id"))
	if !slices.Contains(a.secondFactors, id) {
		return "", &session.BadInputError{Message: "id must be that of a second factor"}
	}
	return id, nil
}
