package usermetadata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/metadata"
	"github.com/stepup-auth/stepup/session"
)

// maxTries ends a change whose function keeps the metadata moving by itself; with a hundred others at once a few dozen tries were needed.
const maxTries = 1000

func checkUserID(id string) error {
	if p := input.UserID("userId", id); p != "" {
		return &session.BadInputError{Message: p}
	}
	return nil
}

// members makes canonical JSON of what the host gave.
func members(m map[string]any) (canonical.Object, error) {
	o, err := canonical.Of(m)
	if err != nil {
		return nil, &session.BadInputError{Message: "metadata: " + err.Error()}
	}
	return o, nil
}

// refuse makes what the host can mend of an error.
func refuse(err error) error {
	if errors.Is(err, metadata.ErrTooLarge) {
		return &session.BadInputError{Message: err.Error()}
	}
	return err
}

func (r *Recipe) get(ctx context.Context, in GetUserMetadataInput) (map[string]any, error) {
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	row, err := metadata.Get(ctx, r.env.Store, in.UserID)
	if err != nil {
		return nil, err
	}
	return whole(row)
}

// whole puts _supertokens where hosts see it.
func whole(row metadata.Row) (map[string]any, error) {
	object, err := parse(row.Text)
	if err != nil {
		return nil, err
	}
	if row.Supertokens != "" {
		object[metadata.Supertokens] = json.RawMessage(row.Supertokens)
	}
	return decode(object)
}

func parse(text string) (canonical.Object, error) {
	object, err := canonical.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("usermetadata: the stored object is unreadable: %w", err)
	}
	return object, nil
}

func decode(object canonical.Object) (map[string]any, error) {
	m, err := object.Map()
	if err != nil {
		return nil, fmt.Errorf("usermetadata: the stored object is unreadable: %w", err)
	}
	return m, nil
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(raw, []byte("null")) }

func (r *Recipe) update(ctx context.Context, in UpdateUserMetadataInput) (map[string]any, error) {
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	update, err := members(in.MetadataUpdate)
	if err != nil {
		return nil, err
	}
	var merged metadata.Row
	err = metadata.Update(ctx, r.env.Store, in.UserID, func(row metadata.Row) (metadata.Row, error) {
		object, err := parse(row.Text)
		if err != nil {
			return row, err
		}
		for key, raw := range update {
			switch {
			case key == metadata.Supertokens && isNull(raw):
				row.Supertokens = ""
			case key == metadata.Supertokens:
				row.Supertokens = string(raw)
			case isNull(raw):
				delete(object, key)
			default:
				object[key] = raw
			}
		}
		row.Text = object.Text()
		merged = row
		return row, nil
	})
	if err != nil {
		return nil, refuse(err)
	}
	return whole(merged)
}

// hosts leaves out what the host's object does not hold.
func hosts(object canonical.Object) canonical.Object {
	maps.DeleteFunc(object, func(key string, raw json.RawMessage) bool { return key == metadata.Supertokens || isNull(raw) })
	return object
}

func (r *Recipe) replace(ctx context.Context, in ReplaceUserMetadataInput) error {
	if err := checkUserID(in.UserID); err != nil {
		return err
	}
	object, err := members(in.Metadata)
	if err != nil {
		return err
	}
	return refuse(metadata.Replace(ctx, r.env.Store, in.UserID, hosts(object).Text()))
}

func (r *Recipe) clear(ctx context.Context, in ClearUserMetadataInput) error {
	if err := checkUserID(in.UserID); err != nil {
		return err
	}
	return metadata.Clear(ctx, r.env.Store, in.UserID)
}

func (r *Recipe) change(ctx context.Context, in ChangeUserMetadataInput) (map[string]any, error) {
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	if in.Change == nil {
		return nil, &session.BadInputError{Message: "change must be a function"}
	}
	for range maxTries {
		row, err := facts.ReadMetadata(ctx, r.env.Store, in.UserID)
		if err != nil {
			return nil, err
		}
		changed, err := apply(in.Change, row)
		if err != nil {
			return nil, err
		}
		if text := changed.Text(); !row.HasMetadata && text != "{}" || row.HasMetadata && text != row.Metadata {
			done, err := metadata.Swap(ctx, r.env.Store, in.UserID, row, text)
			if err != nil {
				return nil, refuse(err)
			}
			if !done {
				continue
			}
		}
		return decode(changed)
	}
	return nil, fmt.Errorf("usermetadata: the metadata changed %d times while it was being changed", maxTries)
}

// apply runs the host's function on the object that was read. What it left alone keeps its digits.
func apply(change func(map[string]any) error, read facts.UserMetadata) (canonical.Object, error) {
	stored := canonical.Object{}
	if read.HasMetadata {
		var err error
		if stored, err = parse(read.Metadata); err != nil {
			return nil, err
		}
	}
	m, err := decode(stored)
	if err != nil {
		return nil, err
	}
	before, err := members(m)
	if err != nil {
		return nil, err
	}
	if err := change(m); err != nil {
		return nil, err
	}
	after, err := members(m)
	if err != nil {
		return nil, err
	}
	for key, raw := range after {
		if original, ok := stored[key]; ok && bytes.Equal(raw, before[key]) {
			after[key] = original
		}
	}
	return hosts(after), nil
}
