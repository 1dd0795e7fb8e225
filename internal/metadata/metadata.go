// Package metadata is the storage of user metadata: a JSON object of the host's, and apart from it the value of the root key _supertokens, in which
// the required secondary factors of a person stand. The texts are canonical JSON.
package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/store"
)

// Supertokens is the root key that has a column of its own.
const Supertokens = "_supertokens"

// Bounds of what is stored, for each of the two columns.
const (
	MaxBytes = 64 << 10
	MaxDepth = 32
)

// Row is what is stored for a person: Text is an object, Supertokens any value, or "" for none. Without a row it is Empty.
type Row struct{ Text, Supertokens string }

// Empty is what a person without a row has.
var Empty = Row{Text: "{}"}

// ErrTooLarge: the object would have more than MaxBytes, or be nested deeper than MaxDepth. Nothing was written.
var ErrTooLarge = errors.New("metadata too large or nested too deep")

func (r Row) check() error {
	// The value of the root key lies one level below the root.
	if len(r.Text) > MaxBytes || len(r.Supertokens) > MaxBytes {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	if canonical.Depth(json.RawMessage(r.Text)) > MaxDepth || canonical.Depth(json.RawMessage(r.Supertokens)) > MaxDepth-1 {
		return fmt.Errorf("%w: more than %d levels", ErrTooLarge, MaxDepth)
	}
	return nil
}

var (
	lockOrMake = store.SQL("metadata.lock", `INSERT INTO {p}user_metadata AS m (user_id, metadata, supertokens) VALUES ($1, '{}', '')
ON CONFLICT (user_id) DO UPDATE SET supertokens = m.supertokens RETURNING metadata, supertokens`)
	lockExisting = store.SQL("metadata.lock.existing",
		`UPDATE {p}user_metadata SET supertokens = supertokens WHERE user_id = $1 RETURNING metadata, supertokens`)
	setRow      = store.SQL("metadata.set", `UPDATE {p}user_metadata SET metadata = $2, supertokens = $3 WHERE user_id = $1`)
	replaceText = store.SQL("metadata.replace", `INSERT INTO {p}user_metadata (user_id, metadata, supertokens) VALUES ($1, $2, '')
ON CONFLICT (user_id) DO UPDATE SET metadata = excluded.metadata`)
	clearText = store.SQL("metadata.clear", `UPDATE {p}user_metadata SET metadata = '{}' WHERE user_id = $1`)
	swapText  = store.SQL("metadata.cas", `UPDATE {p}user_metadata SET metadata = $2 WHERE user_id = $1 AND metadata = $3`)
	newText   = store.SQL("metadata.new", `INSERT INTO {p}user_metadata (user_id, metadata, supertokens) VALUES ($1, $2, '')
ON CONFLICT (user_id) DO NOTHING`)
)

// Get reads the row, or what is remembered of it.
func Get(ctx context.Context, b *store.Backend, userID string) (Row, error) {
	m, err := facts.GetMetadata(ctx, b, userID)
	if err != nil || !m.HasMetadata {
		return Empty, err
	}
	return Row{m.Metadata, m.Supertokens}, nil
}

// errUnchanged rolls a transaction back that has nothing to write.
var errUnchanged = errors.New("unchanged")

// Update locks the row, or makes one, and writes what change makes of it; change only computes.
func Update(ctx context.Context, b *store.Backend, userID string, change func(Row) (Row, error)) error {
	return update(ctx, b, lockOrMake, userID, change)
}

// UpdateExisting is Update that does nothing where there is no row.
func UpdateExisting(ctx context.Context, b *store.Backend, userID string, change func(Row) (Row, error)) error {
	return update(ctx, b, lockExisting, userID, change)
}

func update(ctx context.Context, b *store.Backend, lock *store.Statement, userID string, change func(Row) (Row, error)) error {
	err := b.Tx(ctx, func(ctx context.Context) error {
		var row Row
		found, err := b.Row(ctx, lock, []any{userID}, &row.Text, &row.Supertokens)
		if err != nil {
			return err
		}
		if !found {
			return errUnchanged
		}
		changed, err := change(row)
		if err != nil {
			return err
		}
		if changed == row {
			return errUnchanged
		}
		if err := changed.check(); err != nil {
			return err
		}
		defer b.Forget(ctx, store.Facts)
		_, err = b.Exec(ctx, setRow, userID, changed.Text, changed.Supertokens)
		return err
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// Replace writes the host's object whole.
func Replace(ctx context.Context, b *store.Backend, userID, text string) error {
	if err := (Row{Text: text}).check(); err != nil {
		return err
	}
	defer b.Forget(ctx, store.Facts)
	_, err := b.Exec(ctx, replaceText, userID, text)
	return err
}

// Clear empties the host's object.
func Clear(ctx context.Context, b *store.Backend, userID string) error {
	defer b.Forget(ctx, store.Facts)
	_, err := b.Exec(ctx, clearText, userID)
	return err
}

// Swap writes the host's object if it still is what ReadMetadata read; false: it changed meanwhile.
func Swap(ctx context.Context, b *store.Backend, userID string, read facts.UserMetadata, text string) (bool, error) {
	if err := (Row{Text: text}).check(); err != nil {
		return false, err
	}
	defer b.Forget(ctx, store.Facts)
	var n int64
	var err error
	if read.HasMetadata {
		n, err = b.Exec(ctx, swapText, userID, text, read.Metadata)
	} else {
		n, err = b.Exec(ctx, newText, userID, text)
	}
	return n == 1, err
}
