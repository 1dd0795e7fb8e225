package limits

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	var all turns
	running := map[string]*int{}
	for i := range 3 {
		running[fmt.Sprint(i)] = new(int) // the race detector sees it when two have one key
	}
	var wait sync.WaitGroup
	for i := range 300 {
		wait.Go(func() {
			key := fmt.Sprint(i % 3)
			release, err := all.take(context.Background(), key)
			if !assert.NoError(t, err) {
				return
			}
			defer release()
			*running[key]++
			assert.Equal(t, 1, *running[key])
			*running[key]--
		})
	}
	wait.Wait()
	assert.Empty(t, all.queue, "nothing is kept of who has gone")
}

func TestTurnThatIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	var all turns
	release, err := all.take(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		_, err := all.take(ctx, "a")
		gaveUp <- err
	}()
	cancel()
	require.ErrorIs(t, <-gaveUp, context.Canceled)
	other, err := all.take(t.Context(), "b")
	require.NoError(t, err, "another key is free")
	other()
	release()
	assert.Empty(t, all.queue)
}
