package accountlinking

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

// GetUsersInput is the input of GetUsers. The users are those with at least one login method on the tenant, each once and whole, by the time they
// joined and, where that is the same, by their ids backwards.
type GetUsersInput struct {
	TenantID        string
	NewestFirst     bool
	Limit           int    // 1 to 500; 0 is 100
	PaginationToken string // the NextPaginationToken of the page before
	// IncludeRecipeIDs keeps those with a login method of one of these recipes on the tenant. Empty: all.
	IncludeRecipeIDs []string
	// Query searches instead: prefixes under the keys email (of the address or its domain), phone and provider, up to 10 separated by ";" under
	// each. One login method on the tenant must match under every key that is given. A search returns up to 1000 users on one page; the limit,
	// the token and the recipes do not count.
	Query map[string]string
}

// GetUsersResult is a page of users.
type GetUsersResult struct {
	Users               []*User
	NextPaginationToken string // "" on the last page
}

// GetUserCountInput is the input of GetUserCount.
type GetUserCountInput struct {
	OnlyTenantID     string   // "": the whole application
	IncludeRecipeIDs []string // those with a login method of one of these recipes (on the tenant). Empty: all
}

const defaultPage = 100

func (r *Recipe) getUsers(ctx context.Context, in GetUsersInput) (GetUsersResult, error) {
	tenantID, ok := tenantid.Normalise(in.TenantID)
	if !ok {
		return GetUsersResult{}, session.ErrTenantNotFound
	}
	search := users.Search{TenantID: tenantID, NewestFirst: in.NewestFirst}
	searches, err := parseQuery(in.Query, &search)
	if err != nil {
		return GetUsersResult{}, err
	}
	var groups []*users.Group
	var next *users.PageStart
	if searches {
		groups, err = users.Find(ctx, r.env.Store, search)
	} else {
		var query users.PageQuery
		if query, err = parsePage(in, tenantID); err == nil {
			groups, next, err = users.Page(ctx, r.env.Store, query)
		}
	}
	if err != nil {
		return GetUsersResult{}, err
	}
	if len(groups) == 0 {
		if err := r.tenantExists(ctx, tenantID); err != nil {
			return GetUsersResult{}, err
		}
	}
	result := GetUsersResult{Users: make([]*User, len(groups))}
	for i, group := range groups {
		result.Users[i] = NewUser(group)
	}
	if next != nil {
		result.NextPaginationToken = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s;%d", next.ID, next.Time))
	}
	return result, nil
}

// GetUserCount counts people, each once however many login methods it has. An unknown tenant is session.ErrTenantNotFound.
func (r *Recipe) GetUserCount(ctx context.Context, in GetUserCountInput) (int, error) {
	ctx = r.env.Bind(ctx)
	recipeIDs, err := checkRecipeIDs(in.IncludeRecipeIDs)
	if err != nil {
		return 0, err
	}
	tenantID := ""
	if in.OnlyTenantID != "" {
		var ok bool
		if tenantID, ok = tenantid.Normalise(in.OnlyTenantID); !ok {
			return 0, session.ErrTenantNotFound
		}
	}
	n, err := users.Count(ctx, r.env.Store, tenantID, recipeIDs)
	if err == nil && n == 0 && tenantID != "" {
		err = r.tenantExists(ctx, tenantID)
	}
	return n, err
}

func (r *Recipe) tenantExists(ctx context.Context, tenantID string) error {
	t, err := facts.GetTenant(ctx, r.env.Store, tenantID)
	if err == nil && t == nil {
		err = session.ErrTenantNotFound
	}
	return err
}

func parsePage(in GetUsersInput, tenantID string) (users.PageQuery, error) {
	q := users.PageQuery{TenantID: tenantID, NewestFirst: in.NewestFirst, Limit: in.Limit}
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 0 || q.Limit > users.MaxPage {
		return q, badInput(fmt.Sprintf("limit must be 1 to %d", users.MaxPage))
	}
	var err error
	if q.RecipeIDs, err = checkRecipeIDs(in.IncludeRecipeIDs); err != nil {
		return q, err
	}
	if in.PaginationToken != "" {
		q.Start, err = parseToken(in.PaginationToken)
	}
	return q, err
}

func parseToken(token string) (*users.PageStart, error) {
	text, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, badInput("invalid pagination token")
	}
	i := strings.LastIndexByte(string(text), ';')
	if i < 0 {
		return nil, badInput("invalid pagination token")
	}
	start := users.PageStart{ID: string(text[:i])}
	start.Time, err = strconv.ParseInt(string(text[i+1:]), 10, 64)
	if err != nil || input.UserID("userId", start.ID) != "" {
		return nil, badInput("invalid pagination token")
	}
	return &start, nil
}

func checkRecipeIDs(ids []string) ([]string, error) {
	var distinct []string
	for _, id := range ids {
		if !slices.Contains(users.RecipeIDs[:], id) {
			return nil, badInput(fmt.Sprintf("unknown recipe id %q", id))
		}
		distinct = appendNew(distinct, id)
	}
	return distinct, nil
}

// parseQuery fills the lists of a search; false: nothing is searched for.
func parseQuery(query map[string]string, search *users.Search) (bool, error) {
	lists := map[string]*[]string{"email": &search.Emails, "phone": &search.Phones, "provider": &search.Providers}
	searches := false
	for key, values := range query {
		list := lists[key]
		if list == nil {
			return false, badInput(fmt.Sprintf("unknown key %q in query: want email, phone or provider", key))
		}
		if p := input.Text("query", values); p != "" {
			return false, badInput(p)
		}
		for value := range strings.SplitSeq(strings.ToLower(values), ";") {
			if value = strings.TrimSpace(value); value != "" {
				*list = appendNew(*list, value)
				searches = true
			}
		}
		if len(*list) > users.MaxAlternatives {
			return false, badInput(fmt.Sprintf("query has more than %d values for %s", users.MaxAlternatives, key))
		}
	}
	return searches, nil
}
