package strictjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// filter copies valid JSON without the members that no field of the type is named for, so that encoding/json cannot match them in another case.
type filter struct {
	text []byte
	at   int
	out  []byte
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value copies the next value as it is wanted by type t; nil: as it is.
func (f *filter) value(t reflect.Type) {
	f.at = skipSpace(f.text, f.at)
	for t != nil && t.Kind() == reflect.Pointer && !reads(t) {
		t = t.Elem()
	}
	if t != nil && (reads(t) || reads(reflect.PointerTo(t))) {
		t = nil // the type reads it by itself
	}
	switch f.text[f.at] {
	case '{':
		f.object(t)
	case '[':
		f.array(t)
	case '"':
		f.copyTo(endOfString(f.text, f.at))
	default:
		f.copyTo(endOfLiteral(f.text, f.at))
	}
}

func reads(t reflect.Type) bool {
	return t.Implements(jsonUnmarshaler) || t.Implements(textUnmarshaler)
}

func (f *filter) copyTo(end int) {
	f.out = append(f.out, f.text[f.at:end]...)
	f.at = end
}

func (f *filter) object(t reflect.Type) {
	var fields map[string]reflect.Type // nil: all are wanted
	var of reflect.Type
	if t != nil {
		switch t.Kind() {
		case reflect.Struct:
			fields = map[string]reflect.Type{}
			collect(t, fields, nil)
		case reflect.Map:
			of = t.Elem()
		}
	}
	f.out = append(f.out, '{')
	empty := true
	for {
		f.at = skipSpace(f.text, f.at+1) // behind { or ,
		if f.text[f.at] == '}' {
			break
		}
		key := f.text[f.at:endOfString(f.text, f.at)]
		f.at = skipSpace(f.text, f.at+len(key)) + 1
		member, wanted := of, true
		if fields != nil {
			member, wanted = fields[unquote(key)]
		}
		start := len(f.out)
		if wanted {
			if !empty {
				f.out = append(f.out, ',')
			}
			f.out = append(append(f.out, key...), ':')
		}
		f.value(member)
		if wanted {
			empty = false
		} else {
			f.out = f.out[:start]
		}
		f.at = skipSpace(f.text, f.at)
		if f.text[f.at] == '}' {
			break
		}
	}
	f.at++
	f.out = append(f.out, '}')
}

func unquote(key []byte) string {
	var s string
	if json.Unmarshal(key, &s) != nil {
		return ""
	}
	return s
}

func (f *filter) array(t reflect.Type) {
	var of reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		of = t.Elem()
	}
	f.out = append(f.out, '[')
	for first := true; ; first = false {
		f.at = skipSpace(f.text, f.at+1) // behind [ or ,
		if f.text[f.at] == ']' {
			break
		}
		if !first {
			f.out = append(f.out, ',')
		}
		f.value(of)
		f.at = skipSpace(f.text, f.at)
		if f.text[f.at] == ']' {
			break
		}
	}
	f.at++
	f.out = append(f.out, ']')
}

// collect gathers the names by which encoding/json knows the fields of a struct, those of embedded structs included.
func collect(t reflect.Type, fields map[string]reflect.Type, above []reflect.Type) {
	for _, a := range above {
		if a == t {
			return // embeds itself
		}
	}
	above = append(above, t)
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if field.Anonymous && name == "" {
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				embedded := map[string]reflect.Type{}
				collect(inner, embedded, above)
				for n, t := range embedded {
					if _, outer := fields[n]; !outer {
						fields[n] = t
					}
				}
				continue
			}
		}
		if !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		fields[name] = field.Type
	}
}
