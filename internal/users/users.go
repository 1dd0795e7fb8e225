// Package users is the storage of people and their login methods, which account linking and all recipes that sign somebody in share.
//
// A login method is a row; login methods of one person form a group, which is always read whole, by one statement. The id of a group is that of the
// login method it formed around, its anchor, and stays when that login method is deleted: the anchor's row is then a tombstone.
package users

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

// Row is one login method.
type Row struct {
	UserID           string // the id of the login method
	GroupID          string
	RecipeID         string // emailpassword, thirdparty, passwordless or host
	Version          int64  // grows with each new password
	TimeJoined       time.Time
	Email            string // normalised; "" is none
	EmailVerified    bool   // the present address
	Phone            string
	ThirdPartyID     string
	ThirdPartyUserID string
	TenantIDs        []string // sorted
}

// Group is one person. Groups are shared within a request: nobody may change them.
type Group struct {
	ID        string
	IsPrimary bool
	Version   int64 // grows with each change of the group: a write that was decided on this state holds only at this version
	Tombstone bool  // the login method that has the group's id was deleted
	Members   []Row // oldest first, and by id where the time is the same; at least one
}

// TimeJoined is that of the oldest member.
func (g *Group) TimeJoined() time.Time { return g.Members[0].TimeJoined }

// Member finds a login method by its id, nil if it is not one of the group.
func (g *Group) Member(userID string) *Row {
	for i := range g.Members {
		if g.Members[i].UserID == userID {
			return &g.Members[i]
		}
	}
	return nil
}

const columns = `u.user_id, u.group_id, u.is_primary, u.version, u.recipe_id, u.time_joined, u.email, u.email_verified, u.phone,
	u.third_party_id, u.third_party_user_id, t.tenant_id`

var getGroup = store.SQL("user.get", `SELECT `+columns+` FROM {p}recipe_users u LEFT JOIN {p}user_tenants t ON t.user_id = u.user_id
WHERE u.group_id = (SELECT g.group_id FROM {p}recipe_users g WHERE g.user_id = $1) ORDER BY u.time_joined, u.user_id, t.tenant_id`)

// Get reads the group that has the id, or a member that has it; nil: nobody has. Within a request it is remembered.
func Get(ctx context.Context, b *store.Backend, id string) (*Group, error) {
	if g, ok := store.Recall[*Group](ctx, b, store.Users, id); ok {
		return g, nil
	}
	rows, err := store.Rows(ctx, b, getGroup, []any{id}, scanLine)
	if err != nil {
		return nil, err
	}
	groups := assemble(rows)
	if len(groups) == 0 {
		b.Keep(ctx, store.Users, id, (*Group)(nil))
		return nil, nil
	}
	Keep(ctx, b, groups...)
	return groups[0], nil
}

// Keep remembers groups for the rest of the request, under the ids of the group and of its members. A flow calls it with what it has written, after
// its commit and with the ctx that carries no transaction any more.
func Keep(ctx context.Context, b *store.Backend, groups ...*Group) {
	for _, g := range groups {
		b.Keep(ctx, store.Users, g.ID, g)
		for _, m := range g.Members {
			b.Keep(ctx, store.Users, m.UserID, g)
		}
	}
}

// Info is what a login method is known by, each normalised; absent is "". The two parts of the third party come together.
type Info struct{ Email, Phone, ThirdPartyID, ThirdPartyUserID string }

// The last branch proves the tenant: without it nobody could tell a tenant without such users from none. The conditions
// that repeat those of the partial indexes let a prepared plan use them.
var listGroups = store.SQL("user.list", `SELECT `+columns+` FROM {p}recipe_users u LEFT JOIN {p}user_tenants t ON t.user_id = u.user_id
WHERE u.group_id IN (SELECT x.group_id FROM {p}user_tenants x WHERE x.tenant_id = $1 AND x.email = $2 AND x.email <> ''
	UNION SELECT x.group_id FROM {p}user_tenants x WHERE x.tenant_id = $1 AND x.phone = $3 AND x.phone <> ''
	UNION SELECT x.group_id FROM {p}user_tenants x WHERE x.tenant_id = $1 AND x.third_party_id = $4 AND x.third_party_user_id = $5
		AND x.third_party_id <> '')
UNION ALL SELECT '', '', FALSE, 0, '', 0, '', FALSE, '', '', '', n.tenant_id FROM {p}tenants n WHERE n.tenant_id = $1
ORDER BY 6, 1, 12`) // time_joined, user_id, tenant_id: in SQLite the columns of a compound have no names here

type listed struct {
	groups []*Group
	known  bool
}

// List reads the groups that have a login method on the tenant with any of the infos, oldest first. known false: there is no such tenant. Within a
// request it is remembered, and so are its groups for Get.
func List(ctx context.Context, b *store.Backend, tenantID string, info Info) (groups []*Group, known bool, err error) {
	key := strings.Join([]string{tenantID, info.Email, info.Phone, info.ThirdPartyID, info.ThirdPartyUserID}, "\x00")
	if l, ok := store.Recall[listed](ctx, b, store.Lists, key); ok {
		return slices.Clone(l.groups), l.known, nil
	}
	lines, err := store.Rows(ctx, b, listGroups,
		[]any{tenantID, info.Email, info.Phone, info.ThirdPartyID, info.ThirdPartyUserID}, scanLine)
	if err != nil {
		return nil, false, err
	}
	groups = assemble(slices.DeleteFunc(lines, func(l line) bool {
		known = known || l.UserID == ""
		return l.UserID == ""
	}))
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(a.TimeJoined().Compare(b.TimeJoined()), cmp.Compare(a.ID, b.ID))
	})
	Keep(ctx, b, groups...)
	b.Keep(ctx, store.Lists, key, listed{slices.Clone(groups), known})
	return groups, known, nil
}

// line is one row of a query: a login method with one of its tenants.
type line struct {
	Row
	isPrimary bool
	tenantID  *string
}

func scanLine(scan func(dest ...any) error) (l line, err error) {
	var joined int64
	err = scan(&l.UserID, &l.GroupID, &l.isPrimary, &l.Version, &l.RecipeID, &joined, &l.Email, &l.EmailVerified, &l.Phone,
		&l.ThirdPartyID, &l.ThirdPartyUserID, &l.tenantID)
	l.TimeJoined = time.UnixMilli(joined).UTC()
	return l, err
}

// assemble makes groups of lines that are ordered within each group by time, login method and tenant. The groups come in the order of their first
// lines.
func assemble(lines []line) []*Group {
	var groups []*Group
	byID := map[string]*Group{}
	for _, l := range lines {
		g := byID[l.GroupID]
		if g == nil {
			g = &Group{ID: l.GroupID}
			byID[l.GroupID] = g
			groups = append(groups, g)
		}
		if l.UserID == l.GroupID {
			g.IsPrimary, g.Version, g.Tombstone = l.isPrimary, l.Version, l.RecipeID == ""
		}
		if l.RecipeID == "" {
			continue
		}
		if n := len(g.Members); n == 0 || g.Members[n-1].UserID != l.UserID {
			g.Members = append(g.Members, l.Row)
		}
		if l.tenantID != nil {
			m := &g.Members[len(g.Members)-1]
			m.TenantIDs = append(m.TenantIDs, *l.tenantID)
		}
	}
	return slices.DeleteFunc(groups, func(g *Group) bool { return len(g.Members) == 0 })
}
