package canonical_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/canonical"
)

func TestValue(t *testing.T) {
	t.Parallel()
	type nested struct {
		B string `json:"b"`
		A []int  `json:"a"`
	}
	for want, v := range map[string]any{
		`null`:                       nil,
		`"<b>&\u2028"`:               "<b>&\u2028",
		`{"a":[1,2],"b":"x"}`:        nested{"x", []int{1, 2}},
		`{"a":{"y":1,"z":2},"b":[]}`: map[string]any{"b": []any{}, "a": map[string]int{"z": 2, "y": 1}},
		`1.50`:                       json.Number("1.50"),
		`12345678901234567890`:       json.RawMessage("12345678901234567890"),
		`{"a":1.0,"b":null}`:         json.RawMessage(" { \"b\" : null, \"a\" : 1.0 } "),
		`1e+21`:                      1e21,
		"\"\ufffd\"":                 "\ufffd", // a real replacement character is text like any other
	} {
		raw, err := canonical.Value(v)
		require.NoError(t, err)
		require.Equal(t, want, string(raw))
	}
}

func TestValueRefuses(t *testing.T) {
	t.Parallel()
	cycle := map[string]any{}
	cycle["a"] = cycle
	text := "\xff"
	for name, v := range map[string]any{
		"invalid UTF-8":               "a\xff",
		"invalid UTF-8 in a list":     []string{"ok", "\xc3\x28"},
		"invalid UTF-8 in a key":      map[string]any{"a": map[string]any{"\xff": 1}},
		"invalid UTF-8 in a struct":   struct{ A any }{[]any{&text}},
		"invalid UTF-8 in raw JSON":   json.RawMessage("\"\xff\""),
		"U+0000":                      "a\x00b",
		"U+0000 in a list":            []any{"\x00"},
		"U+0000 in a key":             map[string]any{"a": map[string]any{"\x00": 1}},
		"U+0000 in raw JSON":          json.RawMessage(`{"a":"\u0000"}`),
		"a number that is none":       math.NaN(),
		"a number beyond any float64": json.Number("1e400"),
		"a channel":                   make(chan int),
		"no JSON":                     json.RawMessage("{"),
		"a circle":                    cycle,
	} {
		_, err := canonical.Value(v)
		require.Error(t, err, name)
	}
}

func TestObjectsKeepTheTextsOfTheirMembers(t *testing.T) {
	t.Parallel()
	o, err := canonical.Parse(`{"b":1.50,"a":{"n":12345678901234567890}}`)
	require.NoError(t, err)
	changed, err := canonical.Of(map[string]any{"c": "<", "d": 1})
	require.NoError(t, err)
	o["c"] = changed["c"]
	delete(o, "b")
	require.Equal(t, `{"a":{"n":12345678901234567890},"c":"<"}`, o.Text())

	m, err := o.Map()
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": map[string]any{"n": float64(12345678901234567890)}, "c": "<"}, m)

	require.Equal(t, "{}", canonical.Object(nil).Text())
	for _, text := range []string{"", "null", "[]", `"a"`, "{", `{"a":1}x`} {
		_, err := canonical.Parse(text)
		require.Error(t, err, text)
	}
	_, err = canonical.Of(map[string]any{"\xff": 1})
	require.Error(t, err)
	_, err = canonical.Of(map[string]any{"a": "\x00"})
	require.Error(t, err)
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for text, depth := range map[string]int{
		"": 0, "1": 0, `"{[["`: 0, "{}": 1, `{"a":1}`: 1, `{"a":[]}`: 2, `[[],[[{}]]]`: 4, strings.Repeat("[", 50) + strings.Repeat("]", 50): 50,
	} {
		require.Equal(t, depth, canonical.Depth(json.RawMessage(text)), text)
	}
}

// Whatever comes in, the canonical text is a fixed point and means the same.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`{"b":[1.0,"<"],"a":{}}`, `"\ud800"`, `1e400`, `{"a":1,"a":2}`, "\"\xff\"", `[null,true]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := canonical.Value(json.RawMessage(text))
		if err != nil {
			return
		}
		again, err := canonical.Value(raw)
		require.NoError(t, err)
		require.Equal(t, string(raw), string(again))
		require.JSONEq(t, text, string(raw))
	})
}
