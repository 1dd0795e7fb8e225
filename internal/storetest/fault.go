package storetest

import (
	"context"

	"github.com/stretchr/testify/require"
)

// FailsWhole lets the first of the statements and commits of call fail, then the second, and so on: each time the failure must reach the caller and
// leave all tables as they were. The last run meets no failure and must succeed. It returns the number of steps that could fail.
func (db *DB) FailsWhole(name string, call func() error) (steps int) {
	db.t.Helper()
	before := db.Dump()
	for n := 1; ; n++ {
		db.Probe.FailAt(n)
		err := call()
		if !db.Probe.Failed() {
			db.Probe.FailAt(0)
			require.NoError(db.t, err, name)
			require.Greater(db.t, n, 1, "%s runs no statement", name)
			return n - 1
		}
		require.ErrorIs(db.t, err, ErrInjected, "%s, step %d", name, n)
		require.Equal(db.t, before, db.Dump(), "%s, step %d", name, n)
	}
}

// RollsBack calls f with a ctx that carries a transaction of the host's, which is rolled back the first time, and must then have changed nothing, and
// committed the second time.
func (db *DB) RollsBack(f func(ctx context.Context)) {
	db.t.Helper()
	ctx := context.Background()
	before := db.Dump()
	for _, end := range []string{"rollback", "commit"} {
		tx, err := db.Handle.BeginTx(ctx, nil)
		require.NoError(db.t, err)
		f(db.WithTx(ctx, tx))
		if end == "commit" {
			require.NoError(db.t, tx.Commit())
			return
		}
		require.NoError(db.t, tx.Rollback())
		require.Equal(db.t, before, db.Dump())
	}
}
