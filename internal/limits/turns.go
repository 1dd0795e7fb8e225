package limits

import (
	"context"
	"sync"
)

// turns lets those who want the same key in one after the other. It holds one entry for each key that somebody has or waits for, so it is never
// larger than the number of calls that run.
type turns struct {
	mu    sync.Mutex
	queue map[string]*turn
}

type turn struct {
	free  chan struct{} // holds one token while nobody has the key
	users int           // who has it, and who waits
}

// take waits until the key is free, or ctx ends. The caller must call release, once.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	entry := t.join(key)
	select {
	case <-entry.free:
		return func() {
			entry.free <- struct{}{}
			t.leave(key, entry)
		}, nil
	case <-ctx.Done():
		t.leave(key, entry)
		return nil, ctx.Err()
	}
}

func (t *turns) join(key string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.queue[key]
	if entry == nil {
		if t.queue == nil {
			t.queue = map[string]*turn{}
		}
		entry = &turn{free: make(chan struct{}, 1)}
		entry.free <- struct{}{}
		t.queue[key] = entry
	}
	entry.users++
	return entry
}

func (t *turns) leave(key string, entry *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if entry.users--; entry.users == 0 {
		delete(t.queue, key)
	}
}
