package factor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepup-auth/stepup/mfa/factor"
)

func TestIDsHaveNoDuplicatesAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	ids := []factor.ID{"c", "a", "c", "b", "a"}
	assert.Equal(t, []factor.ID{"c", "a", "b"}, factor.OneOf(ids).IDs())
	assert.Equal(t, []factor.ID{"c", "a", "b"}, factor.AllOfInAnyOrder(ids).IDs())
	assert.Equal(t, []factor.ID{"a"}, factor.ID("a").IDs())
	assert.Equal(t, []factor.ID{}, factor.OneOf(nil).IDs())
	assert.Equal(t, []factor.ID{"c", "a", "c", "b", "a"}, ids)
}

func TestNilAsksForNothing(t *testing.T) {
	t.Parallel()
	assert.True(t, factor.Requirements(nil).Satisfied(nil))
	assert.Nil(t, factor.Requirements(nil).Next(nil))
	assert.False(t, factor.Requirements{factor.TOTP}.Satisfied(nil))
	assert.True(t, factor.Requirements{factor.OneOf(nil), factor.AllOfInAnyOrder(nil)}.Satisfied(nil))
}

// What Next returns may be changed without changing the policy's list.
func TestNextDoesNotLendWhatItComputed(t *testing.T) {
	t.Parallel()
	list := factor.Requirements{factor.AllOfInAnyOrder{"a", "b", "c"}}
	next := list.Next(done("a")).(factor.AllOfInAnyOrder)
	next[0] = "x"
	assert.Equal(t, factor.Requirements{factor.AllOfInAnyOrder{"a", "b", "c"}}, list)
}

type dressed struct{ factor.ID }

// C-01, C-02: whatever else stands in a list is not satisfied, and nothing panics.
func TestWhatIsNoRequirementIsNeverSatisfied(t *testing.T) {
	t.Parallel()
	id, one, all := factor.TOTP, factor.OneOf{}, factor.AllOfInAnyOrder{}
	for _, item := range []factor.Requirement{nil, &id, (*factor.ID)(nil), &one, (*factor.OneOf)(nil), &all, dressed{factor.TOTP}, &dressed{}} {
		list := factor.Requirements{item}
		assert.False(t, list.Satisfied(done(factor.TOTP)), "%T", item)
		assert.Equal(t, item, list.Next(done(factor.TOTP)), "%T", item)
		_, err := list.MarshalJSON()
		assert.ErrorContains(t, err, "want an ID, OneOf or AllOfInAnyOrder")
	}
	assert.Equal(t, factor.TOTP, factor.Requirements{factor.TOTP, nil}.Next(nil))
}

// C-01: the claim's v is true exactly when every item of the list is satisfied, and the next set comes from the first that is not: as a model says
// that follows the words of the rule and nothing else.
func TestRequirementsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, completed := requirements(t), completed(t)
		wantSatisfied, wantNext, wantKind := model(list, completed)
		require.Equal(t, wantSatisfied, list.Satisfied(completed))
		next := list.Next(completed)
		require.Equal(t, wantNext, ids(next))
		require.Equal(t, wantKind, kind(next))
		require.Equal(t, wantSatisfied, next == nil)
	})
}

// C-01: factors that are completed in any order end in a satisfied list, each step asking only for what is open; nothing that is completed besides
// takes anything back.
func TestFollowingNextSatisfiesTheList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list, completed := requirements(t), completed(t)
		for steps := 0; ; steps++ {
			require.Less(t, steps, 200)
			next := list.Next(completed)
			if next == nil {
				break
			}
			open := ids(next)
			require.NotEmpty(t, open)
			id := rapid.SampledFrom(open).Draw(t, "completed now")
			require.False(t, completed.Has(id), "never asked for again")
			completed[id] = time.Time{}
		}
		require.True(t, list.Satisfied(completed))
		completed[anID.Draw(t, "another")] = time.Time{}
		require.True(t, list.Satisfied(completed))
	})
}

var anID = rapid.SampledFrom([]factor.ID{"a", "b", "c", "d", "e", factor.TOTP, factor.OTPEmail, ""})

func requirements(t *rapid.T) factor.Requirements {
	list := rapid.SliceOfN(anID, 0, 5)
	item := rapid.OneOf(
		rapid.Map(anID, func(id factor.ID) factor.Requirement { return id }),
		rapid.Map(list, func(ids []factor.ID) factor.Requirement { return factor.OneOf(ids) }),
		rapid.Map(list, func(ids []factor.ID) factor.Requirement { return factor.AllOfInAnyOrder(ids) }),
	)
	return rapid.SliceOfN(item, 0, 6).Draw(t, "requirements")
}

func completed(t *rapid.T) factor.Completed {
	return done(rapid.SliceOfDistinct(anID, rapid.ID[factor.ID]).Draw(t, "completed")...)
}

func ids(r factor.Requirement) []factor.ID {
	if r == nil {
		return nil
	}
	return r.IDs()
}

// model computes the open ids of every item, as sets, and takes the first that has some.
func model(list factor.Requirements, completed factor.Completed) (satisfied bool, next []factor.ID, kind string) {
	for _, item := range list {
		var named []factor.ID
		needed := 0
		kind = "string"
		switch item := item.(type) {
		case factor.ID:
			named, needed = []factor.ID{item}, 1
		case factor.OneOf:
			named, needed, kind = item, min(1, len(item)), "oneOf"
		case factor.AllOfInAnyOrder:
			named, kind = item, "allOfInAnyOrder"
			needed = len(item)
		}
		var open []factor.ID
		have := 0
		for _, id := range named {
			if _, ok := completed[id]; ok {
				have++
			} else if !slices.Contains(open, id) {
				open = append(open, id)
			}
		}
		if have < needed {
			return false, open, kind
		}
	}
	return true, nil, "string"
}

var three = factor.Requirements{factor.OneOf{"f1", "f2"}, factor.AllOfInAnyOrder{"f3", "f4"}, factor.ID("f5")}

// states of three items: open at the first, in the middle, at the last, and satisfied. Only a half-done AllOfInAnyOrder is a new list.
var states = []struct {
	name      string
	completed factor.Completed
	allocates float64 // of Next
}{
	{"first open", done(factor.EmailPassword), 0},
	{"half of the second", done(factor.EmailPassword, "f1", "f3"), 2},
	{"last open", done(factor.EmailPassword, "f2", "f3", "f4"), 0},
	{"satisfied", done(factor.EmailPassword, "f1", "f3", "f4", "f5"), 0},
}

func TestEvaluationAllocatesNothing(t *testing.T) {
	for _, s := range states {
		assert.Zero(t, testing.AllocsPerRun(100, func() { three.Satisfied(s.completed) }), s.name)
		assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { three.Next(s.completed) }), s.allocates, s.name)
	}
}

func BenchmarkSatisfied(b *testing.B) {
	for _, s := range states {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				three.Satisfied(s.completed)
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, s := range states {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				three.Next(s.completed)
			}
		})
	}
}
