package store

import "context"

// Steps is the number of versions that the schema has.
var Steps = len(steps)

// OpenNext is Open of a later release, with more steps.
func OpenNext(ctx context.Context, cfg Config, more ...string) (*Backend, error) {
	return open(ctx, cfg, append(steps[:len(steps):len(steps)], more...))
}

// Prepared reports whether the statement is kept prepared for transactions.
func Prepared(b *Backend, s *Statement) bool { return b.lookup(s).write.Load() != nil }
