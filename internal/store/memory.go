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
	off   [kinds]bool // written in a transaction of the host, of which nobody tells us when it commits
}

// Remember returns a ctx in which reads of this backend are remembered until something of their kind is written. It is made once per request.
func (b *Backend) Remember(ctx context.Context) context.Context {
	if _, ok := ctx.Value(memoryKey{b}).(*memory); ok {
		return ctx
	}
	return context.WithValue(ctx, memoryKey{b}, &memory{})
}

// memoryOf is nil inside a transaction: what decides there is read there.
func (b *Backend) memoryOf(ctx context.Context) *memory {
	if b.InTx(ctx) {
		return nil
	}
	m, _ := ctx.Value(memoryKey{b}).(*memory)
	return m
}

// Recall returns what was kept under kind and key. Inside a transaction nothing is known.
func Recall[T any](ctx context.Context, b *Backend, kind Kind, key string) (value T, ok bool) {
	m := b.memoryOf(ctx)
	if m == nil {
		return value, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok = m.known[kind][key].(T)
	return value, ok
}

// Keep remembers a value for the rest of the request. Whoever gets it must not change it. Inside a transaction nothing is kept.
func (b *Backend) Keep(ctx context.Context, kind Kind, key string, value any) {
	m := b.memoryOf(ctx)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off[kind] {
		return
	}
	if m.known[kind] == nil {
		m.known[kind] = map[string]any{}
	}
	m.known[kind][key] = value
}

// Forget drops what was remembered of these kinds: it goes with every write of them. In a transaction of ours it drops them once more at its end,
// since something may have been read beside it; after a write in a transaction of the host the request remembers nothing of these kinds any more.
func (b *Backend) Forget(ctx context.Context, kinds ...Kind) {
	m, _ := ctx.Value(memoryKey{b}).(*memory)
	if m == nil {
		return
	}
	t := b.txOf(ctx)
	m.drop(kinds, t != nil && t.host)
	if t != nil && !t.host {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended = append(t.ended, func() { m.drop(kinds, false) })
	}
}

func (m *memory) drop(kinds []Kind, forGood bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kind := range kinds {
		m.known[kind] = nil
		m.off[kind] = m.off[kind] || forGood
	}
}
