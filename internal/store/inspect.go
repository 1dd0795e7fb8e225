package store

import (
	"context"
	"strings"
)

// Column is a value of a row that was read by a text of the caller's.
type Column struct {
	Name  string
	Value any
}

// Query runs a text of the caller's outside of any transaction: for tests and tools that look into the tables.
func (b *Backend) Query(ctx context.Context, text string, args ...any) ([][]Column, error) {
	rows, err := b.write.QueryContext(ctx, b.render(text), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]Column
	for rows.Next() {
		row, dest := make([]Column, len(names)), make([]any, len(names))
		for i, name := range names {
			row[i].Name = name
			dest[i] = &row[i].Value
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// RawSchema is the text of all steps before a dialect has filled it in.
func RawSchema() string { return createMigrations + ";\n" + strings.Join(steps, "\n") }
