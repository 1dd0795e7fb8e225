package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// migrate makes the missing steps in one transaction under a lock, so that any number of processes may start at once.
func (b *Backend) migrate(ctx context.Context) error {
	return b.retry(ctx, func() error {
		return b.migrateOnce(ctx)
	})
}

func (b *Backend) migrateOnce(ctx context.Context) error {
	// In an isolation level that a server may have for default, what is read after the wait for the lock would be the state of before it.
	tx, err := b.write.BeginTx(ctx, &sql.TxOptions{Isolation: b.dialect.isolation})
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	defer tx.Rollback()
	if b.dialect.lockName != nil {
		if _, err := tx.ExecContext(ctx, b.render(b.dialect.lockName.text), b.prefix); err != nil {
			return fmt.Errorf("storage: locking for migrations: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, b.render(createMigrations)); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	var version int
	if err := tx.QueryRowContext(ctx, b.render(`SELECT COALESCE(max(version), 0) FROM {p}migrations`)).Scan(&version); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if version > len(b.steps) {
		return b.newer(version)
	}
	for ; version < len(b.steps); version++ {
		if _, err := tx.ExecContext(ctx, b.render(b.steps[version])); err != nil {
			return fmt.Errorf("storage: migration to version %d: %w", version+1, err)
		}
		_, err := tx.ExecContext(ctx, b.render(`INSERT INTO {p}migrations (version, applied_at) VALUES ($1, $2)`),
			version+1, time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("storage: migration to version %d: %w", version+1, err)
		}
	}
	return tx.Commit()
}

func (b *Backend) newer(version int) error {
	return fmt.Errorf("storage: the database has version %d, made by a newer release; this one knows %d", version, len(b.steps))
}

var currentVersion = SQL("migrations.version", `SELECT COALESCE(max(version), 0) FROM {p}migrations`)

// checkVersion refuses every schema but the one of this release.
func (b *Backend) checkVersion(ctx context.Context) error {
	var version int
	if _, err := b.Row(ctx, currentVersion, nil, &version); err != nil {
		return fmt.Errorf("storage: the tables are missing, or not readable; run the text of Schema: %w", err)
	}
	switch {
	case version > len(b.steps):
		return b.newer(version)
	case version < len(b.steps):
		return fmt.Errorf("storage: the database has version %d, this release needs %d; run the newer steps of Schema", version, len(b.steps))
	}
	return nil
}
