package factor_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepup-auth/stepup/mfa/factor"
)

func TestRequirementsAreWritten(t *testing.T) {
	t.Parallel()
	for want, list := range map[string]factor.Requirements{
		`[]`: nil,
		`["totp",{"oneOf":["otp-email","otp-phone"]},{"allOfInAnyOrder":["badge"]}]`: {
			factor.TOTP, factor.OneOf{factor.OTPEmail, factor.OTPPhone}, factor.AllOfInAnyOrder{"badge"}},
		`[{"oneOf":[]},{"allOfInAnyOrder":[]}]`: {factor.OneOf(nil), factor.AllOfInAnyOrder(nil)},
		`["ü\"",{"oneOf":["a","a"]}]`:           {factor.ID(`ü"`), factor.OneOf{"a", "a"}},
	} {
		text, err := json.Marshal(list)
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
}

func TestRequirementsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`null`, `{}`, `"totp"`, `1`, `{"oneOf":["a"]}`, ``, `[`, `["a"] x`, // no list
		`[null]`, `[1]`, `[true]`, `[["a"]]`, `[{}]`, // no item
		`[{"oneOf":null}]`, `[{"oneOf":"a"}]`, `[{"oneOf":{}}]`, `[{"oneOf":[null]}]`, `[{"oneOf":[1]}]`, `[{"oneOf":[["a"]]}]`, `[{"oneOf":[{}]}]`,
		`[{"oneof":["a"]}]`, `[{"OneOf":["a"]}]`, `[{"one_of":["a"]}]`, `[{"":["a"]}]`, `[{"oneOf ":["a"]}]`, `[{"allofinanyorder":["a"]}]`, // other keys
		`[{"oneOf":["a"],"x":1}]`, `[{"x":1,"oneOf":["a"]}]`, `[{"oneOf":["a"],"allOfInAnyOrder":["b"]}]`, // more keys
		`[{"oneOf":["a"],"oneOf":["b"]}]`, `[{"oneOf":["a"],"allOfInAnyOrder":null}]`, `[{"oneOf":["a"],"oneof":["a"]}]`,
		`["a",{"oneOf":[]},{}]`, // the last of several
	} {
		before := factor.Requirements{factor.TOTP}
		list := before
		assert.Error(t, json.Unmarshal([]byte(text), &list), text)
		assert.Equal(t, before, list, "%s: an error changes nothing", text)
	}
}

func TestRequirementsAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]factor.Requirements{
		`[]`:                               {},
		` [ "a" , {"oneOf" : [ ] } ] `:     {factor.ID("a"), factor.OneOf{}},
		`[{"oneOf":["a","a"]},""]`:         {factor.OneOf{"a", "a"}, factor.ID("")},
		`[{"allOfInAnyOrder":["\u00fc"]}]`: {factor.AllOfInAnyOrder{"ü"}},
		`[{"\u006fneOf":["a"]}]`:           {factor.OneOf{"a"}},
	} {
		var list factor.Requirements
		require.NoError(t, json.Unmarshal([]byte(text), &list), text)
		assert.Equal(t, want, list, text)
	}
	var list factor.Requirements
	err := json.Unmarshal([]byte(`["a",{"oneof":["b"]}]`), &list)
	require.EqualError(t, err, "factor: requirements: item 1: want an id, or a list of ids under oneOf or allOfInAnyOrder")
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := requirements(t)
		text, err := json.Marshal(list)
		require.NoError(t, err)
		var back factor.Requirements
		require.NoError(t, json.Unmarshal(text, &back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
		c := completed(t)
		require.Equal(t, list.Satisfied(c), back.Satisfied(c))
	})
}

// Whatever is read, is read as what it says: it can be written, and is then read the same. An item that was not understood would ask for nothing.
func FuzzDecode(f *testing.F) {
	for _, c := range worked {
		f.Add([]byte(c.requirements))
	}
	f.Add([]byte(`[{"oneOf":["a"],"oneOf":[]},null,{"x":[]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var list factor.Requirements
		if json.Unmarshal(text, &list) != nil {
			return
		}
		var loose []any
		require.NoError(t, json.Unmarshal(text, &loose), "what is read is a list")
		require.Len(t, list, len(loose))
		for i, item := range list {
			switch item := item.(type) {
			case factor.ID:
				require.Equal(t, loose[i], string(item))
			case factor.OneOf:
				require.Equal(t, loose[i], map[string]any{"oneOf": anys(item)})
			case factor.AllOfInAnyOrder:
				require.Equal(t, loose[i], map[string]any{"allOfInAnyOrder": anys(item)})
			default:
				t.Fatalf("item %d is %T", i, item)
			}
		}
		written, err := json.Marshal(list)
		require.NoError(t, err)
		var back factor.Requirements
		require.NoError(t, json.Unmarshal(written, &back))
		require.Equal(t, list, back)
		list.Next(nil)
	})
}

func anys(ids []factor.ID) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
