package session

import (
	"context"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/tenantid"
)

// row is a session as it stands in storage.
type row struct {
	tenantID, handle string
	recipeUserID     string
	userID           string // of the person, now
	refreshHash      []byte
	prevRefreshHash  []byte // nil before the first rotation
	rotatedAt        time.Time
	successor        []byte // nil: none, or no grace
	generation       uint64
	data             string
	payload          string // canonical JSON, and the version of the row
	static           bool
	created, expires time.Time
}

const rowColumns = `s.tenant_id, s.session_handle, s.user_id, s.refresh_hash, s.prev_refresh_hash, s.rotated_at, s.successor, s.generation,
	s.session_data, s.payload, s.use_static_key, s.created_at, s.expires_at, u.group_id
FROM {p}sessions s LEFT JOIN {p}recipe_users u ON u.user_id = s.user_id`

func scanRow(scan func(dest ...any) error) (*row, error) {
	s := &row{}
	var rotated *int64
	var generation, created, expires int64
	var group *string
	err := scan(&s.tenantID, &s.handle, &s.recipeUserID, &s.refreshHash, &s.prevRefreshHash, &rotated, &s.successor, &generation,
		&s.data, &s.payload, &s.static, &created, &expires, &group)
	s.generation, s.created, s.expires = uint64(generation), fromMilli(created), fromMilli(expires)
	if rotated != nil {
		s.rotatedAt = fromMilli(*rotated)
	}
	s.userID = s.recipeUserID
	if group != nil {
		s.userID = *group
	}
	return s, err
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// tenantOf is the tenant that a handle names behind its first underscore.
func tenantOf(handle string) string {
	if _, tenant, found := strings.Cut(handle, "_"); found {
		return tenant
	}
	return PublicTenant
}

// newHandle names the tenant, so that a session is found by its handle alone.
func newHandle(id, tenantID string) string {
	if tenantID == PublicTenant {
		return id
	}
	return id + "_" + tenantID
}

// The members of the group of $1, and $1 itself: an id may have sessions without a login method.
const ofPerson = `user_id IN (SELECT CAST($1 AS TEXT) UNION SELECT m.user_id FROM {p}recipe_users m
	WHERE m.group_id = (SELECT g.group_id FROM {p}recipe_users g WHERE g.user_id = $1))`

var (
	getRow = store.SQL("session.get", `SELECT `+rowColumns+` WHERE s.tenant_id = $1 AND s.session_handle = $2`)
	// Only while the login method is in that group and, after a password, at the version that was read with its hash.
	insertRow = store.SQL("session.insert", `INSERT INTO {p}sessions (tenant_id, session_handle, user_id, refresh_hash, generation, session_data,
	payload, use_static_key, created_at, expires_at, expires_day)
SELECT $1, $2, u.user_id, $5, 0, $6, $7, $8, $9, $10, $12 FROM {p}recipe_users u WHERE u.user_id = $3 AND u.group_id = $4 AND u.recipe_id <> ''
	AND CAST($11 AS BIGINT) IN (0, u.version) AND EXISTS (SELECT 1 FROM {p}tenants t WHERE t.tenant_id = $1) {share}`)
	// For an id that nobody had when it was looked up.
	insertAlone = store.SQL("session.insert.alone", `INSERT INTO {p}sessions (tenant_id, session_handle, user_id, refresh_hash, generation,
	session_data, payload, use_static_key, created_at, expires_at, expires_day)
SELECT $1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT 1 FROM {p}recipe_users u WHERE u.user_id = $3)
	AND EXISTS (SELECT 1 FROM {p}tenants t WHERE t.tenant_id = $1)`)
	tenantExists = store.SQL("session.tenant", `SELECT tenant_id FROM {p}tenants WHERE tenant_id = $1`)
	// The payload is the version: no row means that somebody else has changed it, or that the session is gone.
	swapPayload = store.SQL("session.cas", `UPDATE {p}sessions SET payload = $4
WHERE tenant_id = $1 AND session_handle = $2 AND payload = $3 AND expires_at > $5`)
	rotateRow = store.SQL("session.rotate", `UPDATE {p}sessions SET prev_refresh_hash = refresh_hash, refresh_hash = $4, successor = $5, rotated_at = $6,
	generation = generation + 1, payload = $8, expires_at = $9, expires_day = $10, use_static_key = $11
WHERE tenant_id = $1 AND session_handle = $2 AND refresh_hash = $3 AND payload = $7 AND expires_at > $6`)
	// Only if the token is neither the present one nor within its grace.
	endStolen = store.SQL("session.theft", `DELETE FROM {p}sessions WHERE tenant_id = $1 AND session_handle = $2 AND refresh_hash <> $3
	AND NOT (prev_refresh_hash IS NOT NULL AND prev_refresh_hash = $3 AND successor IS NOT NULL AND rotated_at >= $4) RETURNING session_handle`)
	setData = store.SQL("session.data", `UPDATE {p}sessions SET session_data = $3
WHERE tenant_id = $1 AND session_handle = $2 AND expires_at > $4`)

	// Without an alias: SQLite does not know one in RETURNING.
	endedColumns = `RETURNING session_handle, tenant_id,
	COALESCE((SELECT u.group_id FROM {p}recipe_users u WHERE u.user_id = {p}sessions.user_id), user_id)`
	deleteRow = store.SQL("session.delete", `DELETE FROM {p}sessions WHERE tenant_id = $1 AND session_handle = $2 AND expires_at > $3
`+endedColumns)
	deleteOfPerson = store.SQL("session.delete.person", `DELETE FROM {p}sessions WHERE `+ofPerson+`
	AND CAST($2 AS TEXT) IN ('', tenant_id) AND expires_at > $3 `+endedColumns)
	deleteOfMethod = store.SQL("session.delete.method", `DELETE FROM {p}sessions WHERE user_id = $1
	AND CAST($2 AS TEXT) IN ('', tenant_id) AND expires_at > $3 `+endedColumns)

	listOfPerson = store.SQL("session.list.person", `SELECT `+rowColumns+` WHERE s.`+ofPerson+`
	AND CAST($2 AS TEXT) IN ('', s.tenant_id) AND s.expires_at > $3 ORDER BY s.created_at DESC, s.session_handle`)
	listOfMethod = store.SQL("session.list.method", `SELECT `+rowColumns+` WHERE s.user_id = $1
	AND CAST($2 AS TEXT) IN ('', s.tenant_id) AND s.expires_at > $3 ORDER BY s.created_at DESC, s.session_handle`)

	sweepRows = store.SQL("session.sweep", `DELETE FROM {p}sessions WHERE (tenant_id, session_handle) IN (SELECT s.tenant_id, s.session_handle
	FROM {p}sessions s WHERE s.expires_day < $1 ORDER BY s.expires_day LIMIT 500 {skip}) AND expires_at <= $2`)
)

const sweepBatch = 500

// read returns the live session of a handle, or nil.
func (r *Recipe) read(ctx context.Context, handle string, now time.Time) (*row, error) {
	if problem := input.Text("SessionHandle", handle); problem != "" {
		return nil, &BadInputError{Message: problem}
	}
	rows, err := store.Rows(ctx, r.env.Store, getRow, []any{tenantOf(handle), handle}, scanRow)
	if err != nil || len(rows) == 0 || !rows[0].expires.After(now) {
		return nil, err
	}
	return rows[0], nil
}

// swap replaces a payload if it is still the one that was read.
func (r *Recipe) swap(ctx context.Context, handle, old, next string, now time.Time) (bool, error) {
	n, err := r.env.Store.Exec(ctx, swapPayload, tenantOf(handle), handle, old, next, now.UnixMilli())
	return n == 1, err
}

// information is what a host sees of the row.
func (s *row) information() (*Information, error) {
	payload, err := canonical.Parse(s.payload)
	if err != nil {
		return nil, err
	}
	custom, err := payload.Map()
	if err != nil {
		return nil, err
	}
	data, err := canonical.Parse(s.data)
	if err != nil {
		return nil, err
	}
	private, err := data.Map()
	return &Information{
		SessionHandle: s.handle, UserID: s.userID, RecipeUserID: RecipeUserID(s.recipeUserID), TenantID: s.tenantID,
		TimeCreated: s.created, Expiry: s.expires, SessionDataInDatabase: private, CustomClaimsInAccessTokenPayload: custom,
		stored: payload, static: s.static,
	}, err
}

// dataText is the canonical text of the data that only the server sees.
func dataText(data map[string]any) (string, error) {
	object, err := canonical.Of(data)
	if err != nil {
		return "", &BadInputError{Message: "SessionDataInDatabase: " + err.Error()}
	}
	return object.Text(), nil
}

// normalTenant brings a tenant id into its form.
func normalTenant(id string) (string, error) {
	if problem := input.Text("TenantID", id); problem != "" {
		return "", &BadInputError{Message: problem}
	}
	normal, ok := tenantid.Normalise(id)
	if !ok {
		return "", ErrTenantNotFound
	}
	return normal, nil
}

// assertTenant is asked where a statement found nothing, to tell an unknown tenant from an empty one.
func (r *Recipe) assertTenant(ctx context.Context, tenantID string) error {
	known, err := r.env.Store.Row(ctx, tenantExists, []any{tenantID})
	if err == nil && !known {
		return ErrTenantNotFound
	}
	return err
}
