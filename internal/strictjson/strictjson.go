// Package strictjson reads JSON that strangers send. Where encoding/json is lenient it refuses: a key that occurs twice in one object, nesting deeper
// than 32, text that is not UTF-8 or holds U+0000. And keys match the names in a struct's tags exactly, their case included, at every depth; others
// are ignored.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// MaxDepth of objects and arrays within each other.
const MaxDepth = 32

// Error is a fault of the input, not of the program; its text may be shown to who sent it.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

// ErrSyntax is text that is no JSON object.
var ErrSyntax = &Error{"it is no JSON object"}

// Object is a JSON object that passed all checks which need no type.
type Object struct{ text []byte }

// Parse checks a text, whose value must be an object.
func Parse(text []byte) (*Object, error) {
	if !utf8.Valid(text) {
		return nil, &Error{"it is not valid UTF-8"}
	}
	text = bytes.Trim(text, " \t\r\n")
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return nil, ErrSyntax
	}
	c := checker{text: text}
	if err := c.value(1); err != nil {
		return nil, err
	}
	return &Object{text}, nil
}

// Decode reads the object into v, a pointer. A value of another type than the field's is an *Error that names the field. Null counts as absent.
func (o *Object) Decode(v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)}
	}
	f := filter{text: o.text}
	f.value(target.Type().Elem())
	err := json.Unmarshal(f.out, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return &Error{"a value has the wrong type"}
		}
		return &Error{fmt.Sprintf("%s has the wrong type", wrong.Field)}
	}
	if err != nil {
		return &Error{err.Error()} // of an UnmarshalJSON
	}
	return nil
}

// checker walks over text that is valid JSON.
type checker struct {
	text []byte
	at   int
}

func (c *checker) value(depth int) error {
	c.space()
	switch c.text[c.at] {
	case '{':
		return c.object(depth)
	case '[':
		return c.array(depth)
	case '"':
		_, err := c.string()
		return err
	default:
		c.at = endOfLiteral(c.text, c.at)
		return nil
	}
}

var errDepth = &Error{fmt.Sprintf("it is nested deeper than %d", MaxDepth)}

func (c *checker) object(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	seen := map[string]bool{}
	for {
		c.at++ // { or ,
		c.space()
		if c.text[c.at] == '}' {
			c.at++
			return nil
		}
		key, err := c.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return &Error{fmt.Sprintf("the key %q occurs twice", key)}
		}
		seen[key] = true
		c.space()
		c.at++ // :
		if err := c.value(depth + 1); err != nil {
			return err
		}
		c.space()
		if c.text[c.at] == '}' {
			c.at++
			return nil
		}
	}
}

func (c *checker) array(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	for {
		c.at++ // [ or ,
		c.space()
		if c.text[c.at] == ']' {
			c.at++
			return nil
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
		c.space()
		if c.text[c.at] == ']' {
			c.at++
			return nil
		}
	}
}

func (c *checker) space() { c.at = skipSpace(c.text, c.at) }

// string reads a text, and refuses what no UTF-8 or no database can hold.
func (c *checker) string() (string, error) {
	end := endOfString(c.text, c.at)
	raw := c.text[c.at:end]
	c.at = end
	var s string
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	if loneSurrogate(raw) {
		return "", &Error{"a text holds half of a surrogate pair"}
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", ErrSyntax
	}
	if bytes.IndexByte([]byte(s), 0) >= 0 {
		return "", &Error{"a text holds U+0000"}
	}
	return s, nil
}

// loneSurrogate looks for an escape of one half of a pair without the other, which encoding/json replaces.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		unit := hex4(raw[i+1:])
		i += 4
		switch {
		case unit >= 0xdc00 && unit <= 0xdfff:
			return true
		case unit >= 0xd800 && unit <= 0xdbff:
			if i+6 >= len(raw) || raw[i+1] != '\\' || raw[i+2] != 'u' {
				return true
			}
			if low := hex4(raw[i+3:]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 6
		}
	}
	return false
}

func hex4(digits []byte) (n int) {
	for _, d := range digits[:4] {
		switch {
		case d >= 'a':
			n = n<<4 | int(d-'a'+10)
		case d >= 'A':
			n = n<<4 | int(d-'A'+10)
		default:
			n = n<<4 | int(d-'0')
		}
	}
	return n
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
		at++
	}
	return at
}

// endOfString is the index behind the closing quote.
func endOfString(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// endOfLiteral is the index behind a number, true, false or null.
func endOfLiteral(text []byte, at int) int {
	for at < len(text) {
		switch text[at] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return at
		}
		at++
	}
	return at
}
