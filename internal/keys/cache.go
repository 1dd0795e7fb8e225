// Package keys keeps the keys of tokens: those that sign access tokens and those that authenticate refresh tokens. They stand in the database,
// encrypted, are made and replaced when their time has come, by whichever process is first, and are read again by every process after five minutes
// at the latest.
package keys

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reread is how long a process trusts what it has read.
	reread = 5 * time.Minute
	// Overlap is how long a key is known before it is used, so that no process and no cache of the published keys meets one that it cannot know yet.
	Overlap = 15 * time.Minute
	// unknownPause is the time between two readings on account of unknown ids, which anybody can send.
	unknownPause = 500 * time.Millisecond
	// failurePause is the time before a reading that failed is tried again, where the keys at hand will do.
	failurePause = time.Second
)

// cache holds what was read last, the newest key first.
type cache[K any] struct {
	read func(ctx context.Context) ([]K, error)
	log  *slog.Logger

	reading sync.Mutex // held by the one who reads anew while the others go on with what is there
	current atomic.Pointer[snapshot[K]]
	unknown atomic.Int64 // milliseconds: the last reading on account of an unknown id
}

type snapshot[K any] struct {
	keys     []K
	from, to time.Time // in which it is trusted; a clock that jumps back ends that, too
}

// get returns the keys. tolerant goes on with old ones when the database does not answer.
func (c *cache[K]) get(ctx context.Context, now time.Time, tolerant bool) ([]K, error) {
	s := c.current.Load()
	if s != nil && !now.Before(s.from) && now.Before(s.to) {
		return s.keys, nil
	}
	if s != nil {
		if !c.reading.TryLock() {
			return s.keys, nil
		}
		defer c.reading.Unlock()
	}
	keys, err := c.reload(ctx, now)
	if err != nil && s != nil && tolerant {
		c.log.WarnContext(ctx, "the keys of sessions could not be read again; going on with those at hand", "error", err)
		c.current.CompareAndSwap(s, &snapshot[K]{s.keys, now, now.Add(failurePause)})
		return s.keys, nil
	}
	return keys, err
}

func (c *cache[K]) reload(ctx context.Context, now time.Time) ([]K, error) {
	keys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	c.current.Store(&snapshot[K]{keys, now, now.Add(reread)})
	return keys, nil
}

// find returns the key that is wanted; when it is not there it reads them again, now and then.
func (c *cache[K]) find(ctx context.Context, now time.Time, wanted func(K) bool) (key K, ok bool, err error) {
	keys, err := c.get(ctx, now, true)
	if err != nil {
		return key, false, err
	}
	if key, ok = first(keys, wanted); ok {
		return key, true, nil
	}
	last := c.unknown.Load()
	if pause := now.UnixMilli() - last; pause >= 0 && pause < unknownPause.Milliseconds() || !c.unknown.CompareAndSwap(last, now.UnixMilli()) {
		return key, false, nil
	}
	if keys, err = c.reload(ctx, now); err != nil {
		return key, false, err
	}
	key, ok = first(keys, wanted)
	return key, ok, nil
}

func first[K any](keys []K, wanted func(K) bool) (key K, ok bool) {
	for _, k := range keys {
		if wanted(k) {
			return k, true
		}
	}
	return key, false
}

// next chooses among the times at which keys were made, the newest first, the one to use. It is the newest; but one that not everybody can know yet
// lets its predecessor go on, unless that is older than longest. due: a new one must be made, since there is none or the newest ends soon.
func next(created []time.Time, now time.Time, interval, longest time.Duration) (use int, due bool) {
	if len(created) == 0 || now.Add(Overlap).After(created[0].Add(interval)) {
		due = true
	}
	if len(created) > 1 && now.Before(created[0].Add(Overlap)) && now.Before(created[1].Add(longest)) {
		use = 1
	}
	return use, due
}
