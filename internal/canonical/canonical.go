// Package canonical is the form in which JSON stands in the database: that of encoding/json, with keys sorted at every level, no escaping for
// HTML, and numbers with the digits they came with. Equal objects so have equal texts, and a text as read can be compared instead of its value.
package canonical

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Object is a JSON object whose members are canonical texts, each of which can be replaced without touching the others.
type Object map[string]json.RawMessage

// Parse reads an object from its text.
func Parse(text string) (Object, error) {
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("null is no object")
	}
	return o, nil
}

// Of makes the members of m canonical.
func Of(m map[string]any) (Object, error) {
	o := make(Object, len(m))
	for key, value := range m {
		if err := checkText(key); err != nil {
			return nil, err
		}
		raw, err := Value(value)
		if err != nil {
			return nil, err
		}
		o[key] = raw
	}
	return o, nil
}

// Text is the canonical text of the object.
func (o Object) Text() string {
	if o == nil {
		return "{}"
	}
	text, err := encode(o)
	if err != nil {
		panic("canonical: a member is no JSON: " + err.Error()) // members come from Parse, Of and Value
	}
	return string(text)
}

// Map decodes the object; numbers are float64.
func (o Object) Map() (map[string]any, error) {
	m := make(map[string]any, len(o))
	for key, raw := range o {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, err
		}
		m[key] = value
	}
	return m, nil
}

// Value is the canonical text of any value that encoding/json takes. Text that is not valid UTF-8 or holds U+0000, and numbers that a float64
// cannot hold, are errors.
func Value(v any) (json.RawMessage, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(raw) || !validUTF8(reflect.ValueOf(v), 0) {
		return nil, errText
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var decoded any
	if err := d.Decode(&decoded); err != nil {
		return nil, err
	}
	if err := check(decoded); err != nil {
		return nil, err
	}
	return encode(decoded)
}

func encode(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

var errText = errors.New("text must be valid UTF-8 without U+0000")

func checkText(s string) error {
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		return errText
	}
	return nil
}

func check(v any) error {
	switch v := v.(type) {
	case string:
		return checkText(v)
	case json.Number:
		if _, err := strconv.ParseFloat(v.String(), 64); err != nil {
			return fmt.Errorf("the number %s is out of range", v)
		}
	case []any:
		for _, item := range v {
			if err := check(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range v {
			if err := checkText(key); err != nil {
				return err
			}
			if err := check(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxSteps ends the search for invalid UTF-8: a value that encoding/json has encoded goes round in a circle only where that did not look.
const maxSteps = 1000

// validUTF8 looks at the texts of a value before it is encoded, since encoding/json replaces what is invalid without a word.
func validUTF8(v reflect.Value, depth int) bool {
	if depth > maxSteps {
		return true
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return v.IsNil() || validUTF8(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !validUTF8(v.Index(i), depth+1) {
				return false
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if !validUTF8(entries.Key(), depth+1) || !validUTF8(entries.Value(), depth+1) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && !validUTF8(v.Field(i), depth+1) {
				return false
			}
		}
	}
	return true
}

// Depth counts how deep arrays and objects lie in each other: 0 for a text or number, 1 for {} and for {"a":1}.
func Depth(raw json.RawMessage) int {
	depth, deepest := 0, 0
	d := json.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.Token()
		if err != nil { // the end
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}
