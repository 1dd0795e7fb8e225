package users

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/stepup-auth/stepup/internal/store"
)

// RecipeIDs are the recipes that login methods come from.
var RecipeIDs = [...]string{"emailpassword", "thirdparty", "passwordless", "host"}

// recipeFilter are the parameters of "recipe_id IN (...)": the given ids, or all; repeated until the places are full.
func recipeFilter(ids []string) []any {
	if len(ids) == 0 {
		ids = RecipeIDs[:]
	}
	args := make([]any, len(RecipeIDs))
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)]
	}
	return args
}

// PageStart is where a page of the users of a tenant begins: at the group that Next named, or at the beginning.
type PageStart struct {
	Time int64 // milliseconds
	ID   string
}

// PageQuery asks for a page.
type PageQuery struct {
	TenantID    string
	NewestFirst bool
	Limit       int // 1 to MaxPage
	Start       *PageStart
	RecipeIDs   []string // of a login method on the tenant; empty: any of them. At most one for each of the ids above
}

// MaxPage is the largest limit.
const MaxPage = 500

// The limit is a part of the text: as a parameter it made PostgreSQL read all of recipe_users. So there are a few sizes, and what is too much is cut.
// NOT EXISTS chooses one row of a group; DISTINCT and GROUP BY made both databases read the rest of the tenant.
var pages = func() (statements []pageStatement) {
	for _, limit := range []int{10, 100, MaxPage} {
		statements = append(statements, pageStatement{limit, pageText(limit, false), pageText(limit, true)})
	}
	return statements
}()

type pageStatement struct {
	limit                    int
	oldestFirst, newestFirst *store.Statement
}

func pageText(limit int, newestFirst bool) *store.Statement {
	beyond, direction := ">", ""
	if newestFirst {
		beyond, direction = "<", " DESC"
	}
	return store.SQL("user.page", strings.NewReplacer("{beyond}", beyond, "{direction}", direction).Replace(fmt.Sprintf(`SELECT `+columns+`
FROM (SELECT x.group_id, x.group_time FROM {p}user_tenants x WHERE x.tenant_id = $1 AND x.recipe_id IN ($4, $5, $6, $7)
	AND x.group_time {beyond}= $2 AND (x.group_time {beyond} $2 OR x.group_id <= $3)
	AND NOT EXISTS (SELECT 1 FROM {p}user_tenants y WHERE y.tenant_id = x.tenant_id AND y.group_time = x.group_time
		AND y.group_id = x.group_id AND y.user_id < x.user_id AND y.recipe_id IN ($4, $5, $6, $7))
	ORDER BY x.group_time{direction}, x.group_id DESC LIMIT %d) g
JOIN {p}recipe_users u ON u.group_id = g.group_id LEFT JOIN {p}user_tenants t ON t.user_id = u.user_id
ORDER BY g.group_time{direction}, g.group_id DESC, u.time_joined, u.user_id, t.tenant_id`, limit+1)))
}

// Page reads groups that have a login method on the tenant, in the order of their time and, where that is the same, of their ids backwards.
// next is where the page after this one begins, nil on the last.
func Page(ctx context.Context, b *store.Backend, q PageQuery) (groups []*Group, next *PageStart, err error) {
	start := PageStart{Time: math.MinInt64}
	if q.NewestFirst {
		start.Time = math.MaxInt64
	}
	if q.Start != nil {
		start = *q.Start
	}
	for _, p := range pages {
		if q.Limit > p.limit {
			continue
		}
		statement := p.oldestFirst
		if q.NewestFirst {
			statement = p.newestFirst
		}
		args := append([]any{q.TenantID, start.Time, start.ID}, recipeFilter(q.RecipeIDs)...)
		lines, err := store.Rows(ctx, b, statement, args, scanLine)
		if err != nil {
			return nil, nil, err
		}
		groups = assemble(lines)
		break
	}
	if len(groups) > q.Limit {
		following := groups[q.Limit]
		groups, next = groups[:q.Limit], &PageStart{following.TimeJoined().UnixMilli(), following.ID}
	}
	return groups, next, nil
}

// MaxFound is the largest number of users that a search returns, MaxAlternatives that of values for one key.
const (
	MaxFound        = 1000
	MaxAlternatives = 10
)

// Search asks for the groups that have, on the tenant, a login method in which each given list has a prefix: of the address or its domain, of the
// phone number, of the id of the provider. An empty list asks for nothing.
type Search struct {
	TenantID                  string
	NewestFirst               bool
	Emails, Phones, Providers []string // in lower case, at most MaxAlternatives each
}

var searchOldestFirst, searchNewestFirst = searchText(""), searchText(" DESC")

func searchText(direction string) *store.Statement {
	n := 1 // parameters so far
	anyLike := func(conditions ...string) string {
		var any []string
		for range MaxAlternatives {
			for _, c := range conditions {
				n++
				any = append(any, fmt.Sprintf("%s LIKE $%d ESCAPE '!'", c, n))
			}
		}
		return "(" + strings.Join(any, " OR ") + ")"
	}
	return store.SQL("user.search", `SELECT `+columns+`
FROM (SELECT DISTINCT x.group_id, x.group_time FROM {p}user_tenants x WHERE x.tenant_id = $1
	AND `+anyLike("x.email", "x.email")+`
	AND `+anyLike("x.phone")+`
	AND `+anyLike("lower(x.third_party_id)")+fmt.Sprintf(`
	ORDER BY x.group_time%[1]s, x.group_id DESC LIMIT %[2]d) g
JOIN {p}recipe_users u ON u.group_id = g.group_id LEFT JOIN {p}user_tenants t ON t.user_id = u.user_id
ORDER BY g.group_time%[1]s, g.group_id DESC, u.time_joined, u.user_id, t.tenant_id`, direction, MaxFound))
}

// Find reads the groups of a search, in the order of Page.
func Find(ctx context.Context, b *store.Backend, q Search) ([]*Group, error) {
	args := []any{q.TenantID}
	add := func(values []string, patterns func(prefix string) []any) {
		for i := range MaxAlternatives {
			prefix := "" // matches everything
			if len(values) > 0 {
				prefix = likeEscape.Replace(values[min(i, len(values)-1)])
			}
			args = append(args, patterns(prefix)...)
		}
	}
	begins := func(prefix string) []any { return []any{prefix + "%"} }
	add(q.Emails, func(prefix string) []any { return []any{prefix + "%", "%@" + prefix + "%"} })
	add(q.Phones, begins)
	add(q.Providers, begins)
	statement := searchOldestFirst
	if q.NewestFirst {
		statement = searchNewestFirst
	}
	lines, err := store.Rows(ctx, b, statement, args, scanLine)
	return assemble(lines), err
}

var likeEscape = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

var (
	countTenant = store.SQL("user.count.tenant", `SELECT count(DISTINCT group_id) FROM {p}user_tenants
WHERE tenant_id = $1 AND recipe_id IN ($2, $3, $4, $5)`)
	countAll = store.SQL("user.count", `SELECT count(DISTINCT group_id) FROM {p}recipe_users WHERE recipe_id IN ($1, $2, $3, $4)`)
)

// Count counts the groups that have a login method of one of the recipes, on the tenant or, for "", anywhere.
func Count(ctx context.Context, b *store.Backend, tenantID string, recipeIDs []string) (n int, err error) {
	statement, args := countAll, recipeFilter(recipeIDs)
	if tenantID != "" {
		statement, args = countTenant, append([]any{tenantID}, args...)
	}
	_, err = b.Row(ctx, statement, args, &n)
	return n, err
}
