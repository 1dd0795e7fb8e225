package metadata

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/factor"
)

const requiredSecondaryFactors = "requiredSecondaryFactors"

// RequiredFactors lists the secondary factors that a person must complete. What stands there and is no text is passed over.
func RequiredFactors(ctx context.Context, b *store.Backend, userID string) ([]factor.ID, error) {
	row, err := Get(ctx, b, userID)
	if err != nil {
		return nil, err
	}
	list, _, err := parseRequired(row.Supertokens)
	if err != nil {
		return nil, err
	}
	ids := []factor.ID{}
	for _, raw := range list {
		if id, ok := text(raw); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// AddRequiredFactor appends id to the list unless it stands there: one atomic change, which touches only that list. The form of id and userID was
// checked by the caller. A list that would grow beyond MaxBytes is ErrTooLarge.
func AddRequiredFactor(ctx context.Context, b *store.Backend, userID string, id factor.ID) (added bool, err error) {
	err = Update(ctx, b, userID, func(row Row) (Row, error) {
		added = false // of an earlier try
		list, object, err := parseRequired(row.Supertokens)
		if err != nil || slices.ContainsFunc(list, is(id)) {
			return row, err
		}
		raw, err := canonical.Value(id)
		if err != nil {
			return row, err
		}
		added = true
		row.Supertokens, err = withRequired(object, append(list, raw))
		return row, err
	})
	return added && err == nil, err
}

// RemoveRequiredFactor takes id out of the list: one atomic change, which touches only that list. An empty list stays.
func RemoveRequiredFactor(ctx context.Context, b *store.Backend, userID string, id factor.ID) (removed bool, err error) {
	err = UpdateExisting(ctx, b, userID, func(row Row) (Row, error) {
		removed = false // of an earlier try
		list, object, err := parseRequired(row.Supertokens)
		if err != nil || !slices.ContainsFunc(list, is(id)) {
			return row, err
		}
		removed = true
		row.Supertokens, err = withRequired(object, slices.DeleteFunc(list, is(id)))
		return row, err
	})
	return removed && err == nil, err
}

// parseRequired finds the list in the value of _supertokens, which the host may have filled in as it likes: where no list is, there is none.
func parseRequired(supertokens string) (list []json.RawMessage, object canonical.Object, err error) {
	if supertokens == "" {
		return nil, canonical.Object{}, nil
	}
	if !json.Valid([]byte(supertokens)) {
		return nil, nil, fmt.Errorf("storage: the metadata under %s is no JSON", Supertokens)
	}
	object, err = canonical.Parse(supertokens)
	if err != nil {
		return nil, canonical.Object{}, nil // a value of another kind
	}
	if json.Unmarshal(object[requiredSecondaryFactors], &list) != nil {
		list = nil
	}
	return list, object, nil
}

func withRequired(object canonical.Object, list []json.RawMessage) (string, error) {
	raw, err := canonical.Value(list)
	if err != nil {
		return "", fmt.Errorf("storage: the metadata under %s: %w", Supertokens, err)
	}
	object[requiredSecondaryFactors] = raw
	return object.Text(), nil
}

func text(raw json.RawMessage) (factor.ID, bool) {
	var id *factor.ID
	if json.Unmarshal(raw, &id) != nil || id == nil {
		return "", false
	}
	return *id, true
}

func is(id factor.ID) func(json.RawMessage) bool {
	return func(raw json.RawMessage) bool {
		present, ok := text(raw)
		return ok && present == id
	}
}
