package limits

import (
	"context"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

const sweepPage = 500

var sweep = store.SQL("clean.limits", `DELETE FROM {p}limits WHERE (scope, key) IN
	(SELECT scope, key FROM {p}limits WHERE expires_day < $1 ORDER BY expires_day LIMIT 500 {skip})`)

// Sweep deletes the rows that have outlived their use, in pages, each in a transaction of its own.
func Sweep(ctx context.Context, b *store.Backend, now time.Time) error {
	for {
		n, err := b.Exec(ctx, sweep, dayOf(now))
		if err != nil || n < sweepPage {
			return err
		}
	}
}
