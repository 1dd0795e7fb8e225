package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/strictjson"
)

type inner struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

type Embedded struct {
	Flag bool `json:"flag"`
}

type body struct {
	Embedded
	DeviceName string           `json:"deviceName"`
	Fields     []inner          `json:"formFields"`
	Of         map[string]inner `json:"of"`
	Pointer    *inner           `json:"pointer,omitempty"`
	Own        ownFormat        `json:"own"`
	Raw        json.RawMessage  `json:"raw"`
	Count      *int             `json:"count"`
	Hidden     string           `json:"-"`
	Untagged   string
	private    string
}

// ownFormat reads itself.
type ownFormat struct{ text string }

func (o *ownFormat) UnmarshalJSON(b []byte) error {
	if string(b) == `"bad"` {
		return errors.New("bad is not allowed")
	}
	o.text = string(b)
	return nil
}

func decode(text string, v any) error {
	o, err := strictjson.Parse([]byte(text))
	if err != nil {
		return err
	}
	return o.Decode(v)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var got body
	require.NoError(t, decode(` {
		"flag": true, "deviceName":"a\"b\\", "DEVICENAME": "no", "formFields":[ {"id":"email","ID":"no","value":{"ID":1,"id":2}} , {"Id":"no"} ],
		"of": {"x":{"id":"1","Value":2}, "y" : {}}, "pointer": {"id":"p","iD":"no"}, "own": {"Anything": [ 1 , 2 ]}, "raw": {"A":1},
		"Hidden":"no", "Untagged":"yes", "untagged":"no", "private":"no", "unknown":{"deep":[[],{}]}, "count": 3 } `, &got))
	assert.Equal(t, body{
		Embedded: Embedded{true}, DeviceName: `a"b\`,
		Fields:  []inner{{ID: "email", Value: map[string]any{"ID": 1.0, "id": 2.0}}, {}},
		Of:      map[string]inner{"x": {ID: "1"}, "y": {}},
		Pointer: &inner{ID: "p"}, Own: ownFormat{`{"Anything":[1,2]}`}, Raw: json.RawMessage(`{"A":1}`), Count: new(3), Untagged: "yes",
	}, got)
	assert.Empty(t, got.private)
}

// I-01: exact names, no key twice, a depth, no text that a database cannot hold, the right types.
func TestRefused(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	for name, text := range map[string]string{
		"empty": "", "no JSON": "{", "null": "null", "a list": "[]", "a text": `"a"`, "a number": "1", "two values": "{}{}", "a comment": "{}//",
		"a key twice":              `{"deviceName":"a","deviceName":"b"}`,
		"a key twice, escaped":     `{"deviceName":"a","device\u004eame":"b"}`,
		"a key twice, unknown":     `{"x":1,"x":1}`,
		"a key twice, deep":        `{"x":[{"y":{"z":1,"z":2}}]}`,
		"too deep":                 deep(33),
		"far too deep":             deep(9000),
		"invalid UTF-8":            "{\"deviceName\":\"\xff\"}",
		"invalid UTF-8 in a key":   "{\"\xc3\x28\":1}",
		"U+0000":                   `{"deviceName":"a\u0000"}`,
		"U+0000 in a key":          `{"\u0000":1}`,
		"U+0000 that nobody reads": `{"x":["\u0000"]}`,
		"a lone high surrogate":    `{"deviceName":"\ud83d"}`,
		"a high one before text":   `{"deviceName":"\ud83dabcdef"}`,
		"two high ones":            `{"deviceName":"\ud83d\ud83d"}`,
		"a lone low surrogate":     `{"deviceName":"\ude00"}`,
		"a number for a text":      `{"deviceName":1}`,
		"an object for a text":     `{"deviceName":{}}`,
		"a text for a list":        `{"formFields":"x"}`,
		"a list for an object":     `{"formFields":[[]]}`,
		"a fraction for a count":   `{"count":1.5}`,
		"a huge number":            `{"formFields":[{"value":1e400}]}`,
		"what the type refuses":    `{"own":"bad"}`,
	} {
		var v body
		err := decode(text, &v)
		var refused *strictjson.Error
		assert.ErrorAs(t, err, &refused, name)
	}
	require.NoError(t, decode(deep(32), &body{}))
	require.NoError(t, decode(`{"deviceName":"\ud83d\ude00 \\ud83d"}`, &body{}))
	require.NoError(t, decode(`{"deviceName":null,"formFields":null,"pointer":null}`, &body{}))

	var wrong *json.InvalidUnmarshalError
	require.ErrorAs(t, decode(`{}`, body{}), &wrong, "a mistake of the program")
	require.ErrorAs(t, decode(`{}`, (*body)(nil)), &wrong)
	require.ErrorContains(t, decode(`{"formFields":[{"id":1}]}`, &body{}), "formFields.id")
}

// Recursive embeds and holds itself.
type Recursive struct {
	*Recursive
	Next *Recursive `json:"next"`
	ID   string     `json:"id"`
}

func TestRecursiveTypes(t *testing.T) {
	t.Parallel()
	var v Recursive
	require.NoError(t, decode(`{"id":"a","ID":"x","next":{"id":"b","Id":"x"}}`, &v))
	assert.Equal(t, "a", v.ID)
	assert.Equal(t, "b", v.Next.ID)
}

// I-01: whatever comes in, there is no panic, and what is accepted means the same to encoding/json.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"deviceName":"a","devicename":"b"}`, `{"formFields":[{"id":"a","value":[1,2,{"x":null}]}]}`, `{"a":"\ud83d\ude00\u0000"}`,
		"{\"\xff\":1}", ` { "of" : { "x" : { } } } `, `{"own":"bad"}`, `{"count":1e5}`, "{} \v",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := strictjson.Parse([]byte(text))
		if err != nil {
			return
		}
		var strict, lenient map[string]any
		errStrict, errLenient := o.Decode(&strict), json.Unmarshal([]byte(text), &lenient)
		require.Equal(t, errLenient == nil, errStrict == nil)
		if errStrict == nil {
			require.Equal(t, lenient, strict)
		}
		var v body
		if err := o.Decode(&v); err == nil {
			name, _ := lenient["deviceName"].(string)
			require.Equal(t, name, v.DeviceName)
		}
	})
}
