package factor

import "slices"

// Requirement is one item of a list: an [ID], a [OneOf] or an [AllOfInAnyOrder]. Nothing else is ever satisfied, a nil and a pointer neither.
type Requirement interface {
	// IDs returns the factors that the item names, without duplicates, in order.
	IDs() []ID
	requirement()
}

// OneOf is satisfied by any one of its factors. An empty one is satisfied.
type OneOf []ID

// AllOfInAnyOrder is satisfied when all of its factors are completed. An empty one is satisfied.
type AllOfInAnyOrder []ID

// Requirements is satisfied when each of its items is, and asks for them in order. nil asks for nothing.
type Requirements []Requirement

// IDs returns the id itself.
func (id ID) IDs() []ID { return []ID{id} }

// IDs returns the factors of which one is enough.
func (o OneOf) IDs() []ID { return unique(o) }

// IDs returns the factors of which all are needed.
func (a AllOfInAnyOrder) IDs() []ID { return unique(a) }

func (ID) requirement()              {}
func (OneOf) requirement()           {}
func (AllOfInAnyOrder) requirement() {}

func unique(ids []ID) []ID {
	out := make([]ID, 0, len(ids))
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// Satisfied reports whether every item is satisfied: the v of the claim st-mfa. It allocates nothing.
func (r Requirements) Satisfied(c Completed) bool {
	for _, item := range r {
		if !satisfied(item, c) {
			return false
		}
	}
	return true
}

// satisfied names the types instead of calling a method of theirs, so that whatever else implements the interface (a pointer, a struct that
// embeds one) is never satisfied, and cannot panic.
func satisfied(item Requirement, c Completed) bool {
	switch item := item.(type) {
	case ID:
		return c.Has(item)
	case OneOf:
		return len(item) == 0 || slices.ContainsFunc(item, c.Has)
	case AllOfInAnyOrder:
		for _, id := range item {
			if !c.Has(id) {
				return false
			}
		}
		return true
	}
	return false
}

// Next returns what is open of the first item that is not satisfied, or nil: an ID, the whole OneOf, or an AllOfInAnyOrder of the factors still
// missing, without duplicates. Its type tells a front end how to ask. It allocates only when an AllOfInAnyOrder is not whole.
//
// A list with a nil item is a mistake in a policy and refused by package mfa. It is not satisfied, but Next has nothing to return for that item.
func (r Requirements) Next(c Completed) Requirement {
	for _, item := range r {
		if satisfied(item, c) {
			continue
		}
		if all, ok := item.(AllOfInAnyOrder); ok {
			return all.missing(c)
		}
		return item
	}
	return nil
}

func (a AllOfInAnyOrder) missing(c Completed) AllOfInAnyOrder {
	missing := make(AllOfInAnyOrder, 0, len(a))
	for _, id := range a {
		if !c.Has(id) && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing
}
