package store_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

func recall(ctx context.Context, b *store.Backend, kind store.Kind) string {
	value, ok := store.Recall[string](ctx, b, kind, "k")
	if !ok {
		return "(nothing)"
	}
	return value
}

func TestARequestRemembersUntilItWrites(t *testing.T) {
	t.Parallel()
	b := storetest.Open(t, "memory").Backend
	ctx := b.Remember(t.Context())
	assert.Equal(t, "(nothing)", recall(ctx, b, store.Users))
	for _, kind := range []store.Kind{store.Users, store.Lists, store.Facts} {
		b.Keep(ctx, kind, "k", "known")
		assert.Equal(t, "known", recall(ctx, b, kind))
	}
	b.Forget(ctx, store.Users, store.Lists)
	assert.Equal(t, "(nothing)", recall(ctx, b, store.Users))
	assert.Equal(t, "(nothing)", recall(ctx, b, store.Lists))
	assert.Equal(t, "known", recall(ctx, b, store.Facts), "another kind")

	_, ok := store.Recall[int](ctx, b, store.Facts, "k")
	assert.False(t, ok, "of another type")
	_, ok = store.Recall[string](ctx, b, store.Facts, "another key")
	assert.False(t, ok)
	assert.Equal(t, ctx, b.Remember(ctx), "once per request")
}

func TestNothingIsRememberedWithoutARequest(t *testing.T) {
	t.Parallel()
	one, two := storetest.Open(t, "memory").Backend, storetest.Open(t, "memory").Backend
	one.Keep(t.Context(), store.Users, "k", "known")
	one.Forget(t.Context(), store.Users)
	assert.Equal(t, "(nothing)", recall(t.Context(), one, store.Users))

	ctx := one.Remember(t.Context())
	one.Keep(ctx, store.Users, "k", "known")
	assert.Equal(t, "(nothing)", recall(one.Remember(t.Context()), one, store.Users), "another request")
	assert.Equal(t, "(nothing)", recall(two.Remember(ctx), two, store.Users), "another database")
}

// What decides inside a transaction is read there, and what is read there may never be.
func TestATransactionRemembersNothing(t *testing.T) {
	t.Parallel()
	b := storetest.Open(t, "memory").Backend
	request := b.Remember(t.Context())
	b.Keep(request, store.Users, "k", "before")
	require.NoError(t, b.Tx(request, func(ctx context.Context) error {
		assert.Equal(t, "(nothing)", recall(ctx, b, store.Users))
		b.Keep(ctx, store.Lists, "k", "inside")
		assert.Equal(t, "(nothing)", recall(ctx, b, store.Lists))
		return nil
	}))
	assert.Equal(t, "before", recall(request, b, store.Users), "it wrote no user")
	assert.Equal(t, "(nothing)", recall(request, b, store.Lists))
}

// Beside an open transaction the state of before can be read: that is forgotten at its end, known or unknown.
func TestWhatIsReadBesideAWriteIsForgotten(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		for name, lost := range map[string]error{"committed": nil, "unknown": io.ErrUnexpectedEOF} {
			request := b.Remember(t.Context())
			db.Probe.LoseCommit(lost)
			b.Keep(request, store.Users, "k", "before")
			err := b.Tx(request, func(ctx context.Context) error {
				b.Forget(ctx, store.Users)
				assert.Equal(t, "(nothing)", recall(request, b, store.Users), "at once")
				b.Keep(request, store.Users, "k", "beside")
				return nil
			})
			require.ErrorIs(t, err, lost)
			assert.Equal(t, "(nothing)", recall(request, b, store.Users), name)
			b.Keep(request, store.Users, "k", "after")
			assert.Equal(t, "after", recall(request, b, store.Users), name)
		}
	})
}

// When the host commits nobody tells us.
func TestAWriteInATransactionOfTheHostEndsTheMemory(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		b := db.Backend
		request := b.Remember(t.Context())
		tx, err := db.Handle.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		b.Keep(request, store.Users, "k", "before")
		b.Forget(b.WithTx(request, tx), store.Users)
		assert.Equal(t, "(nothing)", recall(request, b, store.Users))
		b.Keep(request, store.Users, "k", "beside")
		b.Keep(request, store.Facts, "k", "known")
		require.NoError(t, tx.Commit())
		assert.Equal(t, "(nothing)", recall(request, b, store.Users))
		assert.Equal(t, "known", recall(request, b, store.Facts), "another kind")
	})
}
