package limits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

var (
	usual = Attempts{Max: 5, Cooldown: 15 * time.Minute, Stop: 100}
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// attempt judges one attempt, as a factor does that compares under the lock: "OK", "INVALID n", "LIMIT ms" or "STOPPED ms".
func attempt(ctx context.Context, a Attempts, b *store.Backend, userID string, now time.Time, right bool) (answer string, err error) {
	err = b.CountingTx(ctx, func(ctx context.Context) error {
		budget, err := a.Lock(ctx, b, userID, now)
		if err != nil {
			return err
		}
		if err := budget.Spent(); err != nil {
			return err
		}
		if right {
			answer = "OK"
			return budget.Clear(ctx)
		}
		err = budget.Fail(ctx)
		answer = fmt.Sprintf("INVALID %d", budget.Failed())
		return err
	})
	if spent, ok := errors.AsType[*SpentError](err); ok {
		return describe(spent), nil
	}
	return answer, err
}

func describe(e *SpentError) string {
	if e.Stopped {
		return fmt.Sprintf("STOPPED %d", e.RetryAfter.Milliseconds())
	}
	return fmt.Sprintf("LIMIT %d", e.RetryAfter.Milliseconds())
}

func TestFiveWrongAttemptsSpendTheBudgetForACooldown(t *testing.T) { // L-01, L-07
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, step := range []struct {
			second int
			right  bool
			answer string
		}{
			{0, false, "INVALID 1"},
			{1, false, "INVALID 2"},
			{2, false, "INVALID 3"},
			{3, false, "INVALID 4"},
			{4, false, "INVALID 5"},
			{5, false, "LIMIT 899000"},
			{6, true, "LIMIT 898000"},
			{903, true, "LIMIT 1000"},
			{904, false, "INVALID 1"},
			{906, false, "INVALID 2"},
			{907, true, "OK"},
			{908, true, "OK"},
			{909, false, "INVALID 1"},
			{910, false, "INVALID 2"},
		} {
			answer, err := attempt(t.Context(), usual, db.Backend, "u", at(step.second), step.right)
			require.NoError(t, err)
			require.Equal(t, step.answer, answer, "at second %d", step.second)
		}
		day := start.UnixMilli() / 86_400_000
		assert.Equal(t, fmt.Sprintf("limits scope=factor key=u times=%d%d failures=2 blocked_until=0 expires_day=%d",
			at(910).UnixMilli(), at(909).UnixMilli(), day+400), db.Dump("limits"))
	})
}

func TestFailuresCountAgainstNowAndNotAgainstTheNewest(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for i := range 4 {
			answer, err := attempt(t.Context(), usual, db.Backend, "u", at(i), false)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("INVALID %d", i+1), answer)
		}
		answer, err := attempt(t.Context(), usual, db.Backend, "u", at(24*3600), false)
		require.NoError(t, err)
		assert.Equal(t, "INVALID 1", answer)
	})
}

func TestHundredFailuresInARowStopUntilReset(t *testing.T) { // L-01
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx, now := t.Context(), start
		for i := range 100 {
			answer, err := attempt(ctx, usual, db.Backend, "u", now, false)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(answer, "INVALID"), "failure %d: %s", i+1, answer)
			now = now.Add(15 * time.Minute)
		}
		now = now.AddDate(2, 0, 0)
		answer, err := attempt(ctx, usual, db.Backend, "u", now, true)
		require.NoError(t, err)
		assert.Equal(t, "STOPPED 900000", answer)

		require.NoError(t, Sweep(ctx, db.Backend, now))
		answer, err = attempt(ctx, usual, db.Backend, "u", now, true)
		require.NoError(t, err)
		assert.Equal(t, "STOPPED 900000", answer, "a sweep must not forget a stop")

		require.NoError(t, ResetAttempts(ctx, db.Backend, "u", now))
		answer, err = attempt(ctx, usual, db.Backend, "u", now, false)
		require.NoError(t, err)
		assert.Equal(t, "INVALID 1", answer)
	})
}

func TestSuccessEndsARowOfFailures(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	stops := Attempts{Max: 5, Cooldown: time.Minute, Stop: 7}
	now := start
	for _, right := range []bool{false, false, false, false, true, false, false, false, false, false} {
		answer, err := attempt(t.Context(), stops, db.Backend, "u", now, right)
		require.NoError(t, err)
		require.NotContains(t, answer, "STOPPED")
		now = now.Add(30 * time.Second)
	}
	endless := stops
	endless.Stop = 0
	for range 10 {
		now = now.Add(2 * time.Minute)
		answer, err := attempt(t.Context(), endless, db.Backend, "u", now, false)
		require.NoError(t, err)
		require.Equal(t, "INVALID 1", answer)
	}
	answer, err := attempt(t.Context(), stops, db.Backend, "u", now, true)
	require.NoError(t, err)
	assert.Equal(t, "STOPPED 60000", answer)
}

func TestClockThatGoesBackOpensNothing(t *testing.T) { // I-05
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := t.Context()
		steps := []struct {
			second int
			answer string
		}{
			{1000, "INVALID 1"}, {1001, "INVALID 2"}, {1002, "INVALID 3"},
			{0, "INVALID 4"},    // the three of later count as now
			{1003, "INVALID 4"}, // and are still young when the clock is right again, while that of second 0 is not
			{0, "LIMIT 900000"}, // now there are five, and the newest counts as now
			{-5000, "LIMIT 900000"},
			{1004, "INVALID 5"},
			{1005, "LIMIT 899000"},
		}
		for _, step := range steps {
			answer, err := attempt(ctx, usual, db.Backend, "u", at(step.second), false)
			require.NoError(t, err)
			require.Equal(t, step.answer, answer, "at second %d", step.second)
		}
	})
}

func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ max, kept int }{{1, 20}, {5, 20}, {20, 20}, {21, 21}, {100, 100}} {
		a := Attempts{Max: test.max, Cooldown: time.Second}
		var f failures
		for i := range 300 {
			f = a.add(f, int64(i)*1000)
		}
		require.Len(t, f.times, test.kept)
		assert.EqualValues(t, 299_000, f.times[0])
		assert.Equal(t, 300, f.inARow)

		text := formatTimes(f.times)
		assert.Len(t, text, 13*test.kept)
		back, err := parseTimes(text)
		require.NoError(t, err)
		assert.Equal(t, f.times, back)
		assert.True(t, slices.IsSortedFunc(f.times, func(a, b int64) int { return int(b - a) }))
	}
}

// The counts of the two rules agree: the attempt that is the last of a budget is told so, and the next one is refused.
func TestLastAttemptIsToldSo(t *testing.T) {
	t.Parallel()
	a := Attempts{Max: 3, Cooldown: 10 * time.Millisecond}
	for _, times := range [][]int64{{0, 5, 9}, {0, 5, 10}, {0, 0, 0}, {0, 9, 9}, {0, 10, 10}} {
		var f failures
		for _, now := range times {
			require.Nil(t, a.spent(f, now))
			f = a.add(f, now)
		}
		last := times[2]
		assert.Equal(t, a.failed(f, last) == a.Max, a.spent(f, last) != nil, "%v", times)
	}
}

func TestTimesBeyondTheirDigits(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "0000000000000", formatTimes([]int64{milliseconds(time.Unix(-5, 0))}))
	assert.Equal(t, "9999999999999", formatTimes([]int64{milliseconds(time.Unix(20_000_000_000, 0))}))
}

func TestDamagedRowLetsNobodyThrough(t *testing.T) { // L-05
	t.Parallel()
	for _, text := range []string{"1", "12345678901234", "-000000000001", "abcdefghijklm", strings.Repeat("0", 13*101)} {
		_, err := parseTimes(text)
		assert.Error(t, err, "%q", text)
	}
	db := storetest.Open(t, "memory")
	_, err := db.Backend.Exec(t.Context(), store.SQL("damage", `INSERT INTO {p}limits VALUES ('factor', 'u', 'x', 0, 0, 0)`))
	require.NoError(t, err)
	_, err = attempt(t.Context(), usual, db.Backend, "u", start, true)
	assert.ErrorContains(t, err, "damaged")
}

func TestLimitThatIsNoneIsAnError(t *testing.T) { // L-05
	t.Parallel()
	db := storetest.Open(t, "memory")
	for _, a := range []Attempts{{}, {Max: 5}, {Cooldown: time.Minute}, {Max: 101, Cooldown: time.Minute}, {Max: 5, Cooldown: time.Minute, Stop: -1}} {
		_, err := attempt(t.Context(), a, db.Backend, "u", start, true)
		assert.ErrorContains(t, err, "no limit", "%+v", a)
	}
	_, err := usual.Lock(t.Context(), db.Backend, "u", start)
	assert.ErrorContains(t, err, "in a transaction")
}

// L-03: the attempts are let through one after the other, whatever arrives at once, and no more than the budget has.
func TestParallelAttempts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		backends := []*store.Backend{db.Backend}
		if db.Name != "memory" {
			backends = append(backends, db.Again(storetest.Keys(t, "k1")).Backend)
		}
		for name, judge := range map[string]func(b *store.Backend) (counted bool, err error){
			"compared": func(b *store.Backend) (bool, error) {
				answer, err := attempt(t.Context(), usual, b, "compared", start, false)
				return strings.HasPrefix(answer, "INVALID"), err
			},
			"reserved": func(b *store.Backend) (bool, error) {
				_, err := usual.Reserve(t.Context(), b, "reserved", start)
				if _, spent := errors.AsType[*SpentError](err); spent {
					return false, nil
				}
				return true, err
			},
		} {
			var judged atomic.Int32
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					counted, err := judge(backends[i%len(backends)])
					assert.NoError(t, err)
					if counted {
						judged.Add(1)
					}
				})
			}
			all.Wait()
			assert.EqualValues(t, 5, judged.Load(), name)
		}
	})
}

func TestReserve(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := t.Context()
		for i := range 5 {
			db.Probe.Reset()
			failed, err := usual.Reserve(ctx, db.Backend, "u", at(i))
			require.NoError(t, err)
			assert.Equal(t, i+1, failed)
			assert.Equal(t, 2, db.Probe.Count())
		}
		db.Probe.Reset()
		_, err := usual.Reserve(ctx, db.Backend, "u", at(5))
		assert.Equal(t, &SpentError{RetryAfter: 899 * time.Second}, err)
		assert.Equal(t, 1, db.Probe.Count())

		db.Probe.Reset()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		require.NoError(t, ClearAttempts(ended, db.Backend, "u", at(6)), "a right attempt is cleared though the caller has hung up")
		assert.Equal(t, 1, db.Probe.Count())
		failed, err := usual.Reserve(ctx, db.Backend, "u", at(7))
		require.NoError(t, err)
		assert.Equal(t, 1, failed)
	})
}

func TestCountsSurviveARollback(t *testing.T) { // L-04
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		err := db.Backend.Tx(t.Context(), func(ctx context.Context) error {
			_, err := usual.Reserve(ctx, db.Backend, "u", start)
			assert.ErrorIs(t, err, store.ErrInsideTx)
			return nil
		})
		require.NoError(t, err)
		assert.Empty(t, db.Dump("limits"))

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = usual.Reserve(ended, db.Backend, "u", start)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, db.Dump("limits"))
	})
}

func TestFailingStorageCountsNothingHalf(t *testing.T) { // L-05
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		_, err := usual.Reserve(t.Context(), db.Backend, "u", start)
		require.NoError(t, err)
		before := db.Dump("limits")
		for n := 1; n <= 3; n++ { // two statements and the commit
			db.Probe.FailAt(n)
			_, err := usual.Reserve(t.Context(), db.Backend, "u", at(n))
			require.ErrorIs(t, err, storetest.ErrInjected)
			require.Equal(t, before, db.Dump("limits"))
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := t.Context()
		for i := range 501 {
			answer, err := attempt(ctx, usual, db.Backend, fmt.Sprintf("idle%d", i), start, true)
			require.NoError(t, err)
			require.Equal(t, "OK", answer)
		}
		_, err := usual.Reserve(ctx, db.Backend, "failed", start)
		require.NoError(t, err)

		require.NoError(t, Sweep(ctx, db.Backend, start.AddDate(0, 0, 2)))
		assert.Equal(t, 502, db.Rows("limits"))
		require.NoError(t, Sweep(ctx, db.Backend, start.AddDate(0, 0, 3)))
		assert.Contains(t, db.Dump("limits"), "key=failed")
		assert.Equal(t, 1, db.Rows("limits"))
		require.NoError(t, Sweep(ctx, db.Backend, start.AddDate(0, 0, 401)))
		assert.Equal(t, 0, db.Rows("limits"))
	})
}
