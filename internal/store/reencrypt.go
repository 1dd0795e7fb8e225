package store

import (
	"context"
	"fmt"
	"strings"
)

// boxColumn is a column of secrets with its two statements.
type boxColumn struct {
	table     string
	key       []string // primary key
	identity  []string // the columns that bind a box to its row
	list, set *Statement
}

// boxes are all columns that hold a box.
var boxes = []boxColumn{
	newBoxColumn("totp_devices", "secret_box", []string{"device_id"}, []string{"user_id", "device_id"}),
	newBoxColumn("signing_keys", "private_box", []string{"kid"}, []string{"kid"}),
	newBoxColumn("refresh_keys", "key_box", []string{"key_id"}, []string{"key_id"}),
	newBoxColumn("tenant_provider_clients", "secret_box", []string{"tenant_id", "third_party_id", "client_type"},
		[]string{"tenant_id", "third_party_id", "client_type"}),
}

const boxPage = 500

func newBoxColumn(table, column string, key, identity []string) boxColumn {
	n := len(key)
	after, match := make([]string, n), make([]string, n)
	for i, k := range key {
		after[i] = fmt.Sprintf("$%d", i+1)
		match[i] = fmt.Sprintf("%s = $%d", k, i+1)
	}
	keys := strings.Join(key, ", ")
	return boxColumn{
		table: table, key: key, identity: identity,
		list: SQL("box.list", fmt.Sprintf(
			`SELECT %s, %s, %s FROM {p}%s WHERE (%s) > (%s) AND %s <> '' AND substr(%s, 1, CAST($%d AS INTEGER)) <> $%d ORDER BY %s LIMIT %d`,
			keys, strings.Join(identity, ", "), column, table, keys, strings.Join(after, ", "), column, column, n+1, n+2, keys,
			boxPage)),
		set: SQL("box.set", fmt.Sprintf(`UPDATE {p}%s SET %s = $%d WHERE %s AND %s = $%d`,
			table, column, n+2, strings.Join(match, " AND "), column, n+1)),
	}
}

// ReencryptSecrets moves every secret that can be opened to the first key; those that cannot stay as they are, and the error counts them. A row
// that is written meanwhile is left to its writer, which has the same first key once all processes have it.
func (b *Backend) ReencryptSecrets(ctx context.Context) error {
	var left unopened
	for _, c := range boxes {
		if err := b.reencrypt(ctx, c, &left); err != nil {
			return err
		}
	}
	if left.count > 0 {
		return fmt.Errorf("storage: %d secrets were left as they are, the first of them %w", left.count, left.first)
	}
	return nil
}

type unopened struct {
	count int
	first error
}

func (b *Backend) reencrypt(ctx context.Context, c boxColumn, left *unopened) error {
	current := b.keys.currentID() + "."
	after := make([]string, len(c.key))
	for {
		rows, err := Rows(ctx, b, c.list, append(values(after), len(current), current), func(scan func(...any) error) ([]string, error) {
			row := make([]string, len(c.key)+len(c.identity)+1)
			dest := make([]any, len(row))
			for i := range row {
				dest[i] = &row[i]
			}
			return row, scan(dest...)
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			key, identity, box := row[:len(c.key)], row[len(c.key):len(row)-1], row[len(row)-1]
			after = key
			secret, err := b.unseal(box, true, c.table, identity)
			if err != nil {
				if left.count++; left.first == nil {
					left.first = fmt.Errorf("in %s: %w", c.table, err)
				}
				continue
			}
			sealed, err := b.Seal(secret, c.table, identity...)
			clear(secret)
			if err != nil {
				return err
			}
			if _, err := b.Exec(ctx, c.set, append(values(key), box, sealed)...); err != nil {
				return err
			}
		}
		if len(rows) < boxPage {
			return nil
		}
	}
}

func values(texts []string) []any {
	out := make([]any, len(texts), len(texts)+2)
	for i := range texts {
		out[i] = texts[i]
	}
	return out
}
