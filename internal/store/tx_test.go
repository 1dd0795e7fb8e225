package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

var errRefused = errors.New("refused")

func TestATransactionIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
			put(t, ctx, b, "a", "1")
			put(t, ctx, b, "b", "1")
			return nil
		}))
		require.ErrorIs(t, b.Tx(t.Context(), func(ctx context.Context) error {
			put(t, ctx, b, "c", "1")
			return errRefused
		}), errRefused)
		require.PanicsWithValue(t, "oops", func() {
			b.Tx(t.Context(), func(ctx context.Context) error {
				put(t, ctx, b, "d", "1")
				panic("oops")
			})
		})
		assert.Equal(t, []string{"a", "b"}, keys(t, b), "and the connections are free again")
	})
}

func TestATransactionInsideAnotherJoinsIt(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		db.Probe.Reset()
		require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
			put(t, ctx, b, "a", "1")
			outer, _ := b.TxOf(ctx)
			return b.Tx(ctx, func(ctx context.Context) error {
				inner, ok := b.TxOf(ctx)
				require.True(t, ok)
				require.Same(t, outer, inner)
				assert.Equal(t, "1", get(t, ctx, b, "a"))
				put(t, ctx, b, "b", "1")
				return nil
			})
		}))
		assert.Equal(t, 1, db.Probe.Commits())
		assert.Equal(t, []string{"a", "b"}, keys(t, b))
	})
}

// What failed inside is not committed because somebody in between made light of it.
func TestWhatFailedInsideRollsBackTheWhole(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		for name, inner := range map[string]func(ctx context.Context) error{
			"error": func(context.Context) error { return errRefused },
			"panic": func(context.Context) error { panic("oops") },
		} {
			committed := false
			err := b.Tx(t.Context(), func(ctx context.Context) error {
				put(t, ctx, b, "outside", "1")
				func() {
					defer func() { recover() }()
					b.Tx(ctx, func(ctx context.Context) error {
						put(t, ctx, b, "inside", "1")
						b.AfterCommit(ctx, func(context.Context) { committed = true })
						return inner(ctx)
					})
				}()
				return nil
			})
			require.ErrorContains(t, err, "a part of the transaction failed", name)
			if name == "error" {
				require.ErrorIs(t, err, errRefused)
			}
			assert.False(t, committed, name)
			assert.Empty(t, keys(t, b), name)
		}
	})
}

func TestAfterCommitRunsOnceItIsCommitted(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		var log []string
		note := func(ctx context.Context, what string) {
			b.AfterCommit(ctx, func(ctx context.Context) {
				log = append(log, what)
				assert.False(t, b.InTx(ctx), "the transaction is over")
				get(t, ctx, b, "nothing")
			})
		}
		note(t.Context(), "without a transaction: at once")
		require.Len(t, log, 1)

		log = nil
		require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
			note(ctx, "first")
			err := b.Tx(ctx, func(ctx context.Context) error { note(ctx, "second"); return nil })
			require.Empty(t, log, "the transaction is open")
			return err
		}))
		assert.Equal(t, []string{"first", "second"}, log)

		log = nil
		require.Error(t, b.Tx(t.Context(), func(ctx context.Context) error { note(ctx, "never"); return errRefused }))
		db.Probe.FailAtWith(commitStep(db), io.ErrUnexpectedEOF)
		require.Error(t, b.Tx(t.Context(), func(ctx context.Context) error { note(ctx, "never"); return nil }))
		assert.Empty(t, log)
	})
}

// commitStep is the step of an otherwise empty transaction at which it commits: on a lent file a statement comes before.
func commitStep(db *storetest.DB) int {
	if db.Name == "sqlite-lent" {
		return 2
	}
	return 1
}

// coded are the errors by which a database says that another transaction was in the way.
type coded struct {
	sqlite   int
	postgres string
}

func (c coded) Error() string    { return fmt.Sprint("in the way: ", c.sqlite, " ", c.postgres) }
func (c coded) Code() int        { return c.sqlite }
func (c coded) SQLState() string { return c.postgres }

var inTheWay = []coded{{5, "40001"}, {6, "40P01"}, {517, "55P03"}, {261, "40001"}, {262, "40P01"}}

func TestWhatWasInTheWayIsTriedAgain(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		for _, err := range inTheWay {
			for step := commitStep(db); step <= commitStep(db)+1; step++ { // the statement, then the commit
				var after, calls int
				key := fmt.Sprint(err, step)
				db.Probe.FailAtWith(step, err)
				require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
					calls++
					b.AfterCommit(ctx, func(context.Context) { after++ })
					_, err := b.Exec(ctx, putText, key, "1")
					return err
				}))
				assert.True(t, db.Probe.Failed())
				assert.Equal(t, 2, calls)
				assert.Equal(t, 1, after, "what the first try wanted after its commit is forgotten")
				assert.Equal(t, "1", get(t, t.Context(), b, key))
			}
			db.Probe.FailAtWith(1, err)
			_, alone := b.Exec(t.Context(), setText, "nobody", "1")
			require.NoError(t, alone, "a statement outside of a transaction too")
			db.Probe.FailAtWith(1, err)
			assert.Equal(t, "(none)", get(t, t.Context(), b, "nobody"))
		}
	})
}

func TestTryingAgainHasAnEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		calls := 0
		err := db.Backend.Tx(t.Context(), func(context.Context) error {
			calls++
			return fmt.Errorf("wrapped: %w", inTheWay[0])
		})
		require.ErrorIs(t, err, inTheWay[0])
		assert.Equal(t, 6, calls)
	})
}

func TestACallerWhoIsGoneIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := db.Backend.Tx(ctx, func(context.Context) error {
			calls++
			cancel()
			return inTheWay[0]
		})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, calls)
	})
}

func TestOtherErrorsAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "1")
		calls := 0
		err := b.Tx(t.Context(), func(ctx context.Context) error {
			calls++
			_, err := b.Exec(ctx, putText, "a", "2")
			return err
		})
		require.True(t, b.IsUnique(err))
		assert.Equal(t, 1, calls)
	})
}

// A commit whose answer was lost may have happened: the same work again could do it twice.
func TestACommitOfUnknownOutcomeIsAnErrorAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		calls := 0
		add := func(ctx context.Context) error {
			calls++
			_, err := b.Row(ctx, count, []any{"k"})
			return err
		}
		db.Probe.LoseCommit(io.ErrUnexpectedEOF)
		require.ErrorIs(t, b.Tx(t.Context(), add), io.ErrUnexpectedEOF)
		assert.Equal(t, 1, calls)
		db.Probe.FailAtWith(commitStep(db)+1, io.ErrUnexpectedEOF)
		require.ErrorIs(t, b.Tx(t.Context(), add), io.ErrUnexpectedEOF)
		assert.Equal(t, 2, calls)
		var failures int
		_, err := b.Row(t.Context(), count, []any{"k"}, &failures)
		require.NoError(t, err)
		assert.Equal(t, 2, failures, "the first had happened, the second had not")
	})
}

// Fault at every step of a transaction: the error arrives, nothing is half written, and the database goes on.
func TestAFaultAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		work := func() error {
			return b.Tx(t.Context(), func(ctx context.Context) error {
				for _, key := range []string{"a", "b", "c"} {
					if _, err := b.Exec(ctx, putText, key, "1"); err != nil {
						return err
					}
				}
				_, err := store.Rows(ctx, b, allKeys, nil, store.Text)
				return err
			})
		}
		steps := 4 + commitStep(db)
		for n := 1; n <= steps; n++ {
			db.Probe.FailAt(n)
			require.ErrorIs(t, work(), storetest.ErrInjected, "step %d", n)
			require.True(t, db.Probe.Failed())
			require.Empty(t, keys(t, b), "step %d", n)
		}
		db.Probe.FailAt(steps + 1)
		require.NoError(t, work())
		db.Probe.FailAt(0)
		assert.Equal(t, []string{"a", "b", "c"}, keys(t, b))
	})
}

// L-04: a caller who hangs up does not get an attempt back.
func TestACountSurvivesACancelledRequest(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "carried"))
		require.NoError(t, b.CountingTx(ctx, func(ctx context.Context) error {
			cancel()
			assert.Equal(t, "carried", ctx.Value(key{}))
			_, bounded := ctx.Deadline()
			assert.True(t, bounded)
			_, err := b.Row(ctx, count, []any{"k"})
			return err
		}))
		assert.Contains(t, db.Dump("limits"), "failures=1")

		calls := 0
		require.ErrorIs(t, b.CountingTx(ctx, func(context.Context) error { calls++; return nil }), context.Canceled)
		assert.Zero(t, calls, "who is gone before it begins is not counted")
	})
}

type key struct{}

// L-04: inside a transaction that may be rolled back a count is refused.
func TestACountIsRefusedInsideATransaction(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		never := func(context.Context) error { t.Error("called"); return nil }
		require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
			assert.ErrorIs(t, b.CountingTx(ctx, never), store.ErrInsideTx)
			return nil
		}))
		tx, err := db.Handle.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		ctx := b.WithTx(t.Context(), tx)
		assert.ErrorIs(t, b.CountingTx(ctx, never), store.ErrInsideTx)
		assert.ErrorIs(t, b.RefuseInTx(ctx), store.ErrInsideTx)
		assert.NoError(t, b.RefuseInTx(t.Context()))
	})
}

// On a single connection nothing but the transaction itself can take it: statements that it uses first are prepared when it has ended.
func TestATransactionThatHasTheOnlyConnectionUsesNewStatements(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		for range 3 {
			require.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
				_, err := b.Row(ctx, count, []any{"a"})
				require.NoError(t, err)
				_, err = b.Row(ctx, count, []any{"a"})
				return err
			}))
			assert.Equal(t, b.Dialect() == store.SQLite, store.Prepared(b, count))
		}
		var failures int
		_, err := b.Row(t.Context(), count, []any{"a"}, &failures)
		require.NoError(t, err)
		assert.Equal(t, 7, failures)
	})
}

// A row that was locked is not changed by anybody until the transaction ends, so what was computed from it is not lost.
func TestUpdatesUnderALockAreNotLost(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "0")
		hundred(t, func() error {
			return b.Tx(t.Context(), func(ctx context.Context) error {
				var value string
				if _, err := b.Row(ctx, lockRow, []any{"a"}, &value); err != nil {
					return err
				}
				n, err := strconv.Atoi(value)
				if err != nil {
					return err
				}
				_, err = b.Exec(ctx, setText, "a", strconv.Itoa(n+1))
				return err
			})
		})
		assert.Equal(t, "100", get(t, t.Context(), b, "a"))
	})
}

func TestACompareAndSetIsWonOnce(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "old")
		var won atomic.Int64
		hundred(t, func() error {
			n, err := b.Exec(t.Context(), swap, "a", "old", "new")
			won.Add(n)
			return err
		})
		assert.EqualValues(t, 1, won.Load())
	})
}

// A lock by name is held until the transaction ends: of a check and a write under it none comes between.
func TestALockByNameIsHeldUntilTheEnd(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		var wrote atomic.Int64
		hundred(t, func() error {
			return b.Tx(t.Context(), func(ctx context.Context) error {
				if err := b.LockName(ctx, "public email a@b.c"); err != nil {
					return err
				}
				if found, err := b.Row(ctx, getText, []any{"a"}); found || err != nil {
					return err
				}
				wrote.Add(1)
				_, err := b.Exec(ctx, putText, "a", "1")
				return err
			})
		})
		assert.EqualValues(t, 1, wrote.Load())
	})
}

// Two transactions that lock the same rows in opposite order stop each other; the database breaks one off, and it is tried again.
func TestADeadlockIsSolved(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		if db.Name == "memory" || db.Name == "sqlite" || db.Name == "sqlite-lent" {
			t.Skip("one writer at a time has no deadlocks")
		}
		b := db.Backend
		put(t, t.Context(), b, "a", "1")
		put(t, t.Context(), b, "b", "1")
		var wg, both sync.WaitGroup
		both.Add(2)
		var calls atomic.Int64
		for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
			wg.Go(func() {
				first := true
				assert.NoError(t, b.Tx(t.Context(), func(ctx context.Context) error {
					calls.Add(1)
					for i, key := range order {
						if _, err := b.Exec(ctx, setText, key, order[0]); err != nil {
							return err
						}
						if i == 0 && first {
							first = false
							both.Done()
							both.Wait() // each has one
						}
					}
					return nil
				}))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 3, calls.Load())
		assert.Equal(t, get(t, t.Context(), b, "a"), get(t, t.Context(), b, "b"), "one after the other")
	})
}

// hundred runs f a hundred times at once.
func hundred(t *testing.T, f func() error) {
	t.Helper()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { assert.NoError(t, f()) })
	}
	wg.Wait()
}

// A request that is cancelled, wherever it is, leaves nothing behind and takes nothing along: in memory the connection is the database.
func TestACancelledRequestLeavesTheDatabaseAsItWas(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		put(t, t.Context(), b, "a", "1")
		for step := range 4 { // each statement, then the commit
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			db.Probe.Before(func(string) {
				if n++; n == step+1 {
					cancel()
				}
			})
			err := b.Tx(ctx, func(ctx context.Context) error {
				for _, key := range []string{"b", "c", "d"} {
					if _, err := b.Exec(ctx, putText, key, "1"); err != nil {
						return err
					}
				}
				cancel()
				return nil
			})
			db.Probe.Before(nil)
			require.ErrorIs(t, err, context.Canceled, "step %d", step)
			require.Equal(t, []string{"a"}, keys(t, b), "step %d", step)
		}
		ctx, cancel := context.WithCancel(t.Context())
		db.Probe.Before(func(string) { cancel() })
		_, err := b.Exec(ctx, setText, "a", "2")
		require.Error(t, err)
		_, err = b.Row(ctx, getText, []any{"a"})
		require.ErrorIs(t, err, context.Canceled)
		db.Probe.Before(nil)
		assert.Equal(t, []string{"a"}, keys(t, b))
	})
}

// Whatever a hundred callers do who hang up at random: what was answered with success is there, and the database goes on.
func TestCallersWhoHangUpAtRandom(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		var done atomic.Int64
		var calls atomic.Int64
		hundred(t, func() error {
			i := calls.Add(1)
			ctx, cancel := context.WithCancel(t.Context())
			if i%2 == 0 {
				go cancel()
			}
			defer cancel()
			err := b.Tx(ctx, func(ctx context.Context) error {
				_, err := b.Row(ctx, count, []any{"k"})
				return err
			})
			if err == nil {
				done.Add(1)
			} else if ctx.Err() == nil {
				return err
			}
			return nil
		})
		var failures int64
		_, err := b.Row(t.Context(), count, []any{"k"}, &failures)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, failures-1, done.Load())
		assert.LessOrEqual(t, failures-1, int64(100))
		assert.GreaterOrEqual(t, done.Load(), int64(50))
	})
}
