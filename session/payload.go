package session

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"reflect"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/token"
)

func isProtected(name string) bool { return token.IsProtected(name) }

// texts are what the host gave to a call, before the table got it as maps: in these every number is a float64.
type texts struct{ payload, data canonical.Object }

type textsKey struct{}

func withTexts(ctx context.Context, t texts) context.Context {
	return context.WithValue(ctx, textsKey{}, t)
}

// restored gives numbers back the digits that the host wrote, where no override has changed the value.
func restored(given map[string]any, texts canonical.Object) map[string]any {
	digits := maps.Clone(given)
	for key, value := range given {
		if text, ok := texts[key]; ok && sameAnswer(text, value) {
			digits[key] = text
		}
	}
	return digits
}

func originalPayload(ctx context.Context, given map[string]any) map[string]any {
	t, _ := ctx.Value(textsKey{}).(texts)
	return restored(given, t.payload)
}

func originalData(ctx context.Context, given map[string]any) map[string]any {
	t, _ := ctx.Value(textsKey{}).(texts)
	return restored(given, t.data)
}

// privateCopy is a map of the host's as it will come back from JSON, and its texts.
func privateCopy(field string, m map[string]any) (map[string]any, canonical.Object, error) {
	object, err := canonical.Of(m)
	if err != nil {
		return nil, nil, &BadInputError{Message: field + ": " + err.Error()}
	}
	private, err := object.Map()
	return private, object, err
}

// customObject is a payload of the application's, which names none of the token's own claims.
func customObject(payload map[string]any) (canonical.Object, error) {
	if err := refuseProtected(payload); err != nil {
		return nil, err
	}
	object, err := canonical.Of(payload)
	if err != nil {
		return nil, &BadInputError{Message: "AccessTokenPayload: " + err.Error()}
	}
	return object, nil
}

func refuseProtected(payload map[string]any) error {
	for _, name := range token.Protected { // in one order, for one message
		if _, found := payload[name]; found {
			return &ProtectedClaimError{Name: name}
		}
	}
	return nil
}

// apply sets the keys of an update, and deletes those whose value is nil. All other members keep their texts.
func apply(object canonical.Object, update map[string]any) (canonical.Object, error) {
	changed := maps.Clone(object)
	if changed == nil {
		changed = canonical.Object{}
	}
	set := make(map[string]any, len(update))
	for key, value := range update {
		if value == nil {
			delete(changed, key)
			continue
		}
		set[key] = value
	}
	members, err := canonical.Of(set)
	if err != nil {
		return nil, &BadInputError{Message: "AccessTokenPayload: " + err.Error()}
	}
	for key, raw := range members {
		if isNull(raw) { // a nil that JSON makes of a typed value
			delete(changed, key)
			continue
		}
		changed[key] = raw
	}
	return changed, nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// difference is the update that leads from one payload to another.
func difference(from, to canonical.Object) map[string]any {
	update := map[string]any{}
	for key := range from {
		if _, kept := to[key]; !kept {
			update[key] = nil
		}
	}
	for key, raw := range to {
		if !sameValue(from[key], raw) {
			update[key] = raw
		}
	}
	return update
}

// sameValue compares two texts by what they mean: an application sees numbers as float64 and writes them back in other digits.
func sameValue(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// updateBetween is the update that leads from a payload to what claims and validators made of it; the token's own claims are left alone.
func updateBetween(from, to map[string]any) (map[string]any, error) {
	update := map[string]any{}
	for key := range from {
		if _, kept := to[key]; !kept && !isProtected(key) {
			update[key] = nil
		}
	}
	for key, value := range to {
		before, known := from[key]
		if isProtected(key) || known && reflect.DeepEqual(before, value) {
			continue
		}
		raw, err := canonical.Value(value)
		if err != nil {
			return nil, err
		}
		if known {
			earlier, err := canonical.Value(before)
			if err != nil {
				return nil, err
			}
			if bytes.Equal(raw, earlier) {
				continue
			}
		}
		update[key] = raw
	}
	return update, nil
}

// fromJSON gives the values that a claim has changed the types that they will have when they come back from a token.
func fromJSON(before, after map[string]any) (map[string]any, error) {
	update, err := updateBetween(before, after)
	if err != nil {
		return nil, err
	}
	normal := maps.Clone(before)
	for key, raw := range update {
		if raw == nil {
			delete(normal, key)
			continue
		}
		var value any
		if err := json.Unmarshal(raw.(json.RawMessage), &value); err != nil {
			return nil, err
		}
		normal[key] = value
	}
	return normal, nil
}

// whole is a stored payload as claims see one: with the names of the token that say whose it is.
func whole(stored canonical.Object, userID, recipeUserID, tenantID, handle string) (map[string]any, error) {
	payload, err := stored.Map()
	if err != nil {
		return nil, err
	}
	payload[token.Subject], payload[token.RecipeUserID], payload[token.TenantID] = userID, recipeUserID, tenantID
	payload[token.SessionHandle] = handle
	return payload, nil
}

// question is asked about a payload: what is to change? It is asked again when the stored payload turns out to be another.
type question func(ctx context.Context, payload map[string]any) (update map[string]any, err error)

// change is a change of one session's payload on its way through the table: what the default needs to do it again.
type change struct {
	handle string
	ask    question
	asked  map[string]any   // the first answer
	base   canonical.Object // what it was asked about
	info   *Information

	stored canonical.Object // what was written
}

type changeKey struct{}

// changeOf returns the change of this session that ctx carries, or nil: then the call comes from the host.
func changeOf(ctx context.Context, handle string) *change {
	if c, ok := ctx.Value(changeKey{}).(*change); ok && c.handle == handle {
		return c
	}
	return nil
}

// again asks anew about what is stored now. given is what came out of the table for the first answer: what an override added or took away stays so.
func (c *change) again(ctx context.Context, s *row, stored canonical.Object, given map[string]any) (map[string]any, error) {
	payload, err := whole(stored, s.userID, s.recipeUserID, s.tenantID, s.handle)
	if err != nil {
		return nil, err
	}
	answer, err := c.ask(ctx, payload)
	if err != nil {
		return nil, err
	}
	if err := refuseProtected(answer); err != nil {
		return nil, err
	}
	update := maps.Clone(answer)
	if update == nil {
		update = map[string]any{}
	}
	for key := range c.asked {
		if _, passed := given[key]; !passed {
			delete(update, key)
		}
	}
	for key, value := range given {
		asked, known := c.asked[key]
		if !known || !sameAnswer(asked, value) {
			update[key] = value
		}
	}
	return update, nil
}

func sameAnswer(a, b any) bool {
	x, errX := canonical.Value(a)
	y, errY := canonical.Value(b)
	return errX == nil && errY == nil && sameValue(x, y)
}
