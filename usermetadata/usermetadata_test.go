package usermetadata_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/metadata"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/usermetadata"
)

func attach(t testing.TB, db *storetest.DB, cfg usermetadata.Config) *usermetadata.Recipe {
	t.Helper()
	e := &env.Env{Store: db.Backend, Logger: slog.New(slog.DiscardHandler), Clock: time.Now, Random: rand.Reader}
	r, err := usermetadata.Attach(e, cfg)
	require.NoError(t, err)
	return r
}

// each gives every database a recipe without overrides.
func each(t *testing.T, test func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe)) {
	storetest.Each(t, func(t *testing.T, db *storetest.DB) { test(t, db, attach(t, db, usermetadata.Config{})) })
}

type object = map[string]any

// stored is the row of u1.
func stored(t *testing.T, db *storetest.DB) metadata.Row {
	t.Helper()
	row, err := metadata.Get(context.Background(), db.Backend, "u1")
	require.NoError(t, err)
	return row
}

func require400(t *testing.T, err error, message string) {
	t.Helper()
	var bad *session.BadInputError
	require.ErrorAs(t, err, &bad)
	require.Contains(t, bad.Message, message)
}

func TestUpdateMergesRootKeys(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		got, err := r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Equal(t, object{}, got)

		for _, step := range []struct {
			update, want object
			text         string
		}{
			{object{"a": object{"x": 1}, "b": object{"p": true}, "c": []any{1}},
				object{"a": object{"x": 1.0}, "b": object{"p": true}, "c": []any{1.0}}, `{"a":{"x":1},"b":{"p":true},"c":[1]}`},
			{object{"b": object{"q": true}, "c": nil, "unknown": nil},
				object{"a": object{"x": 1.0}, "b": object{"q": true}}, `{"a":{"x":1},"b":{"q":true}}`},
			{object{"a": object{"x": nil, "y": []any{nil}}},
				object{"a": object{"x": nil, "y": []any{nil}}, "b": object{"q": true}}, `{"a":{"x":null,"y":[null]},"b":{"q":true}}`},
			{object{"a": nil, "b": (*int)(nil)}, object{}, `{}`},
			{nil, object{}, `{}`},
			{object{"<&>": "<&>"}, object{"<&>": "<&>"}, `{"<&>":"<&>"}`},
		} {
			got, err := r.UpdateUserMetadata(ctx, "u1", step.update)
			require.NoError(t, err)
			require.Equal(t, step.want, got)
			require.Equal(t, metadata.Row{Text: step.text}, stored(t, db))
			got, err = r.GetUserMetadata(ctx, "u1")
			require.NoError(t, err)
			require.Equal(t, step.want, got)
		}
		require.Equal(t, 1, db.Rows("user_metadata"))
	})
}

func TestStatementsOfEachFunction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		set := func(m object) error { m["n"] = len(m); return nil }
		for _, c := range []struct {
			name string
			call func() error
			n    int
		}{
			{"get", func() error { _, err := r.GetUserMetadata(ctx, "u1"); return err }, 1},
			{"change, first write", func() error { _, err := r.ChangeUserMetadata(ctx, "u1", set); return err }, 2},
			{"change", func() error { _, err := r.ChangeUserMetadata(ctx, "u1", set); return err }, 2},
			{"change nothing", func() error { _, err := r.ChangeUserMetadata(ctx, "u1", func(object) error { return nil }); return err }, 1},
			{"update", func() error { _, err := r.UpdateUserMetadata(ctx, "u1", object{"a": 1}); return err }, 2},
			{"update nothing", func() error { _, err := r.UpdateUserMetadata(ctx, "u1", object{"a": 1}); return err }, 1},
			{"replace", func() error { return r.ReplaceUserMetadata(ctx, "u1", object{"a": 1}) }, 1},
			{"clear", func() error { return r.ClearUserMetadata(ctx, "u1") }, 1},
			{"clear nobody", func() error { return r.ClearUserMetadata(ctx, "u2") }, 1},
		} {
			db.Probe.Reset()
			require.NoError(t, c.call(), c.name)
			require.Equal(t, c.n, db.Probe.Count(), c.name)
		}
		require.Equal(t, 1, db.Rows("user_metadata"))
	})
}

// Only an update that names the root key touches the required factors.
func TestTheRequiredFactorsAreApart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		_, err := metadata.AddRequiredFactor(ctx, db.Backend, "u1", factor.TOTP)
		require.NoError(t, err)
		const required = `{"requiredSecondaryFactors":["totp"]}`
		whole := object{"_supertokens": object{"requiredSecondaryFactors": []any{"totp"}}, "a": 1.0}

		got, err := r.UpdateUserMetadata(ctx, "u1", object{"a": 1})
		require.NoError(t, err)
		require.Equal(t, whole, got)
		got, err = r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Equal(t, whole, got)

		got["b"] = 2 // what was got can be put back
		require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", got))
		require.Equal(t, metadata.Row{Text: `{"a":1,"b":2}`, Supertokens: required}, stored(t, db))
		require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", object{"c": nil, "_supertokens": nil}))
		require.Equal(t, metadata.Row{Text: `{}`, Supertokens: required}, stored(t, db))

		got, err = r.ChangeUserMetadata(ctx, "u1", func(m object) error {
			require.Equal(t, object{}, m, "never seen")
			m["_supertokens"], m["d"], m["e"] = "gone", 4, nil
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, object{"d": 4.0}, got)
		require.Equal(t, metadata.Row{Text: `{"d":4}`, Supertokens: required}, stored(t, db))

		require.NoError(t, r.ClearUserMetadata(ctx, "u1"))
		require.Equal(t, metadata.Row{Text: `{}`, Supertokens: required}, stored(t, db))
		got, err = r.GetUserMetadata(ctx, "u1")
		require.NoError(t, err)
		require.Equal(t, object{"_supertokens": object{"requiredSecondaryFactors": []any{"totp"}}}, got)

		got, err = r.UpdateUserMetadata(ctx, "u1", object{"_supertokens": object{"mine": 1}})
		require.NoError(t, err)
		require.Equal(t, object{"_supertokens": object{"mine": 1.0}}, got, "replaced whole")
		got, err = r.UpdateUserMetadata(ctx, "u1", object{"_supertokens": nil, "a": 1})
		require.NoError(t, err)
		require.Equal(t, object{"a": 1.0}, got)
		require.Equal(t, metadata.Row{Text: `{"a":1}`}, stored(t, db))
	})
}

func TestStorageKeepsDigits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		got, err := r.UpdateUserMetadata(ctx, "u1", object{"price": json.Number("1.50"), "big": uint64(math.MaxUint64), "n": object{"m": json.RawMessage("1e2")}})
		require.NoError(t, err)
		require.Equal(t, object{"price": 1.5, "big": float64(math.MaxUint64), "n": object{"m": 100.0}}, got)
		const text = `"big":18446744073709551615,"n":{"m":1e2},"price":1.50`
		require.Equal(t, "{"+text+"}", stored(t, db).Text)

		_, err = r.ChangeUserMetadata(ctx, "u1", func(m object) error {
			m["a"] = 1
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, `{"a":1,`+text+"}", stored(t, db).Text, "what nobody changed")
		_, err = r.ChangeUserMetadata(ctx, "u1", func(m object) error {
			m["n"].(object)["k"] = true
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, `{"a":1,"big":18446744073709551615,"n":{"k":true,"m":100},"price":1.50}`, stored(t, db).Text)
	})
}

func nested(depth int) any {
	var v any = "x"
	for range depth {
		v = []any{v}
	}
	return v
}

func TestBounds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		fits := strings.Repeat("x", 64<<10-len(`{"a":""}`))
		writes := map[string]func(m object) error{
			"update":  func(m object) error { _, err := r.UpdateUserMetadata(ctx, "u1", m); return err },
			"replace": func(m object) error { return r.ReplaceUserMetadata(ctx, "u1", m) },
			"change": func(m object) error {
				_, err := r.ChangeUserMetadata(ctx, "u1", func(present object) error {
					clear(present)
					for key, value := range m {
						present[key] = value
					}
					return nil
				})
				return err
			},
		}
		for name, write := range writes {
			require.NoError(t, r.ClearUserMetadata(ctx, "u1"))
			require.NoError(t, write(object{"a": fits}), name)
			before := db.Dump()
			require400(t, write(object{"a": fits + "x"}), "more than 65536 bytes")
			require400(t, write(object{"a": nested(32)}), "more than 32 levels")
			for problem, value := range map[string]any{
				"NaN": math.NaN(), "unsupported type": func() {}, "U+0000": "\x00", "UTF-8": []string{"\xff"}, "out of range": json.Number("1e999"),
			} {
				require400(t, write(object{"b": value}), problem)
			}
			require400(t, write(object{"\xff": 1}), "UTF-8")
			require.Equal(t, before, db.Dump(), name)
			require.NoError(t, write(object{"a": nested(31)}), name)
		}
		before := db.Dump()
		_, err := r.UpdateUserMetadata(ctx, "u1", object{"_supertokens": strings.Repeat("x", 64<<10-1)})
		require400(t, err, "more than 65536 bytes")
		_, err = r.UpdateUserMetadata(ctx, "u1", object{"_supertokens": nested(32)})
		require400(t, err, "more than 32 levels")
		require.Equal(t, before, db.Dump())
		_, err = r.UpdateUserMetadata(ctx, "u1", object{"_supertokens": nested(31)})
		require.NoError(t, err)
	})
}

func TestUserIDs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		for _, id := range []string{"", strings.Repeat("x", 129), "\x00", "\xff"} {
			_, err := r.GetUserMetadata(ctx, id)
			require400(t, err, "userId")
			_, err = r.UpdateUserMetadata(ctx, id, object{"a": 1})
			require400(t, err, "userId")
			require400(t, r.ReplaceUserMetadata(ctx, id, object{"a": 1}), "userId")
			_, err = r.ChangeUserMetadata(ctx, id, func(object) error { return nil })
			require400(t, err, "userId")
			require400(t, r.ClearUserMetadata(ctx, id), "userId")
		}
		_, err := r.ChangeUserMetadata(ctx, "u1", nil)
		require400(t, err, "change must be a function")
		require.Zero(t, db.Rows("user_metadata"))
	})
}

// I-02
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		for _, text := range storetest.Hostile {
			id := "u" + text
			want := object{"k" + text: text}
			_, err := r.UpdateUserMetadata(ctx, id, want)
			require.NoError(t, err, "%q", text)
			got, err := r.GetUserMetadata(ctx, id)
			require.NoError(t, err)
			require.Equal(t, want, got)
			_, err = r.ChangeUserMetadata(ctx, id, func(m object) error {
				require.Equal(t, want, m)
				m["more"+text] = text
				return nil
			})
			require.NoError(t, err, "%q", text)
			require.NoError(t, r.ReplaceUserMetadata(ctx, id, want))
		}
		require.Equal(t, len(storetest.Hostile), db.Rows("user_metadata"))
	})
}

func TestChangeStartsOverWhenSomebodyElseWrote(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		var seen []object
		got, err := r.ChangeUserMetadata(ctx, "u1", func(m object) error {
			seen = append(seen, object{"others": m["others"]})
			if n := len(seen); n <= 3 { // the first time there is no row yet
				_, err := r.UpdateUserMetadata(ctx, "u1", object{"others": n})
				require.NoError(t, err)
			}
			m["mine"] = true
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []object{{"others": nil}, {"others": 1.0}, {"others": 2.0}, {"others": 3.0}}, seen)
		require.Equal(t, object{"others": 3.0, "mine": true}, got)
		require.Equal(t, `{"mine":true,"others":3}`, stored(t, db).Text)
	})
}

func TestChangeEnds(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	r := attach(t, db, usermetadata.Config{})
	n := 0
	_, err := r.ChangeUserMetadata(context.Background(), "u1", func(m object) error {
		n++
		m["mine"] = true
		_, err := r.UpdateUserMetadata(context.Background(), "u1", object{"others": n})
		return err
	})
	require.EqualError(t, err, "usermetadata: the metadata changed 1000 times while it was being changed")
	require.Equal(t, `{"others":1000}`, stored(t, db).Text)
}

func TestAChangeThatFailsWritesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *usermetadata.Recipe) {
		ctx := context.Background()
		require.NoError(t, r.ReplaceUserMetadata(ctx, "u1", object{"a": 1}))
		before := db.Dump()
		refusal := errors.New("no")
		_, err := r.ChangeUserMetadata(ctx, "u1", func(m object) error { m["a"] = 2; return refusal })
		require.ErrorIs(t, err, refusal)
		require.PanicsWithValue(t, "change", func() {
			r.ChangeUserMetadata(ctx, "u1", func(m object) error { m["a"] = 2; panic("change") })
		})
		require.Equal(t, before, db.Dump())
		_, err = r.UpdateUserMetadata(ctx, "u1", object{"a": 3})
		require.NoError(t, err, "nothing is locked")
	})
}
