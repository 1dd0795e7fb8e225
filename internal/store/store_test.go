package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

// The statements of these tests use the table user_metadata as a list of texts by key, and limits as one of counters.
var (
	putText = store.SQL("test.put", `INSERT INTO {p}user_metadata (user_id, metadata, supertokens) VALUES ($1, $2, '')`)
	setText = store.SQL("test.set", `UPDATE {p}user_metadata SET metadata = $2 WHERE user_id = $1`)
	getText = store.SQL("test.get", `SELECT metadata FROM {p}user_metadata WHERE user_id = $1`)
	allKeys = store.SQL("test.keys", `SELECT user_id FROM {p}user_metadata ORDER BY user_id`)
	lockRow = store.SQL("test.lock", `SELECT metadata FROM {p}user_metadata WHERE user_id = $1 {lock}`)
	swap    = store.SQL("test.swap", `UPDATE {p}user_metadata SET metadata = $3 WHERE user_id = $1 AND metadata = $2`)
	putOnce = store.SQL("test.once", `INSERT INTO {p}user_metadata (user_id, metadata, supertokens) VALUES ($1, $2, '')
		ON CONFLICT (user_id) DO NOTHING RETURNING metadata`)
	count = store.SQL("test.count", `INSERT INTO {p}limits AS l (scope, key, times, failures, blocked_until, expires_day)
		VALUES ('test', $1, '', 1, 0, 0) ON CONFLICT (scope, key) DO UPDATE SET failures = l.failures + 1 RETURNING failures`)
)

func put(t *testing.T, ctx context.Context, b *store.Backend, key, value string) {
	t.Helper()
	n, err := b.Exec(ctx, putText, key, value)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func get(t *testing.T, ctx context.Context, b *store.Backend, key string) string {
	t.Helper()
	var value string
	found, err := b.Row(ctx, getText, []any{key}, &value)
	require.NoError(t, err)
	if !found {
		return "(none)"
	}
	return value
}

func keys(t *testing.T, b *store.Backend) []string {
	t.Helper()
	all, err := store.Rows(t.Context(), b, allKeys, nil, store.Text)
	require.NoError(t, err)
	return all
}

func TestOneInstanceTakesADatabase(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	require.True(t, db.Backend.Take())
	require.False(t, db.Backend.Take())
	db.Backend.Release()
	require.True(t, db.Backend.Take())
}
