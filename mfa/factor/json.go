package factor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Keys of the JSON form of an item.
const (
	oneOf           = "oneOf"
	allOfInAnyOrder = "allOfInAnyOrder"
)

// MarshalJSON gives the form that front ends and configurations use: ["totp", {"oneOf": ["otp-email", "otp-phone"]}, {"allOfInAnyOrder": [..]}].
// An item that is no requirement, a nil too, is an error.
func (r Requirements) MarshalJSON() ([]byte, error) {
	items := make([]any, len(r))
	for i, item := range r {
		switch item := item.(type) {
		case ID:
			items[i] = item
		case OneOf:
			items[i] = map[string][]ID{oneOf: append([]ID{}, item...)} // no list is null
		case AllOfInAnyOrder:
			items[i] = map[string][]ID{allOfInAnyOrder: append([]ID{}, item...)}
		default:
			return nil, fmt.Errorf("factor: item %d is %T: want an ID, OneOf or AllOfInAnyOrder", i, item)
		}
	}
	return json.Marshal(items)
}

// UnmarshalJSON reads that form, and nothing that resembles it: null in any place, an unknown key, a key in another case, and any number of keys but
// one are errors. Read loosely, each of them would be an item that asks for nothing.
func (r *Requirements) UnmarshalJSON(text []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return fmt.Errorf("factor: requirements: %w", err)
	}
	if items == nil {
		return errors.New("factor: requirements: null is no list")
	}
	out := make(Requirements, len(items))
	for i, text := range items {
		item, ok := decode(text)
		if !ok {
			return fmt.Errorf("factor: requirements: item %d: want an id, or a list of ids under oneOf or allOfInAnyOrder", i)
		}
		out[i] = item
	}
	*r = out
	return nil
}

// decode reads an object token by token, since encoding/json folds the case of keys and takes the last of two.
func decode(text json.RawMessage) (Requirement, bool) {
	var id *ID
	if json.Unmarshal(text, &id) == nil {
		if id == nil {
			return nil, false
		}
		return *id, true
	}
	d := json.NewDecoder(bytes.NewReader(text))
	begin, _ := d.Token()
	key, _ := d.Token()
	var list []*ID
	if begin != json.Delim('{') || d.Decode(&list) != nil || list == nil || slices.Contains(list, nil) {
		return nil, false
	}
	if end, _ := d.Token(); end != json.Delim('}') {
		return nil, false
	}
	ids := make([]ID, len(list))
	for i, id := range list {
		ids[i] = *id
	}
	switch key {
	case oneOf:
		return OneOf(ids), true
	case allOfInAnyOrder:
		return AllOfInAnyOrder(ids), true
	}
	return nil, false
}
