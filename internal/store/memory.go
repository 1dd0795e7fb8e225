package store

import (
	"context"
	"sync"
)

// Kind is a kind of thing that a request remembers.
type Kind int

// What is remembered. Writing one of a kind forgets all of that kind.
const (
	Users Kind = iota // a whole group, by the id of any of its members
	Lists             // users by account info
	Facts             // tenant, metadata, roles and verified devices
	kinds
)

type memoryKey struct{ b *Backend }

type memory struct {
	mu    sync.Mutex
	known [kinds]map[string]any
}

// Remember returns a ctx in which reads of this backend are remembered until something of their kind is written. It is made once per request.
func (b *Backend) Remember(ctx context.Context) context.Context {
	if _, ok := ctx.Value(memoryKey{b}).(*memory); ok {
		return ctx
	}
	return context.WithValue(ctx, memoryKey{b}, &memory{})
}

// Recall returns what was kept under kind and key. Inside a transaction nothing is known: what decides there is read there.
func Recall[T any](ctx context.Context, b *Backend, kind Kind, key string) (value T, ok bool) {
	m, _ := ctx.Value(memoryKey{b}).(*memory)
	if m == nil || b.InTx(ctx) {
		return value, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok = m.known[kind][key].(T)
	return value, ok
}

// Keep remembers a value for the rest of the request. Whoever gets it must not change it.
func (b *Backend) Keep(ctx context.Context, kind Kind, key string, value any) {
	m, _ := ctx.Value(memoryKey{b}).(*memory)
	if m == nil || b.InTx(ctx) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[kind] == nil {
		m.known[kind] = map[string]any{}
	}
	m.known[kind][key] = value
}

// Forget drops what was remembered of these kinds: it goes with every write of them, and once more when the transaction has ended, since
// something may have been read beside it.
func (b *Backend) Forget(ctx context.Context, kinds ...Kind) {
	m, _ := ctx.Value(memoryKey{b}).(*memory)
	if m == nil {
		return
	}
	drop := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, kind := range kinds {
			m.known[kind] = nil
		}
	}
	drop()
	if t := b.txOf(ctx); t != nil && !t.host {
		t.after = append(t.after, drop)
	}
}
