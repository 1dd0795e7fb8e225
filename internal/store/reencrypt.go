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
			`SELECT %s, %s, %s FROM {p}%s WHERE (%s) > (%s) AND substr(%s, 1, CAST($%d AS INTEGER)) <> $%d ORDER BY %s LIMIT %d`,
			keys, strings.Join(identity, ", "), column, table, keys, strings.Join(after, ", "), column, n+1, n+2, keys, boxPage)),
		set: SQL("box.set", fmt.Sprintf(`UPDATE {p}%s SET %s = $%d WHERE %s AND %s = $%d`,
			table, column, n+2, strings.Join(match, " AND "), column, n+1)),
	}
}

// ReencryptSecrets moves every secret to the first key. A row that is written meanwhile is left to its writer, which has the same first key once
// all processes have it.
func (b *Backend) ReencryptSecrets(ctx context.Context) error {
	for _, c := range boxes {
		if err := b.reencrypt(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) reencrypt(ctx context.Context, c boxColumn) error {
	current := b.keys.currentID() + "."
	after := make([]string, len(c.key))
	for {
		args := append(texts(after), len(current), current)
		rows, err := Rows(ctx, b, c.list, args, func(scan func(...any) error) ([]string, error) {
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
			secret, err := b.unseal(box, true, c.table, identity)
			if err != nil {
				return fmt.Errorf("storage: a secret in %s: %w", c.table, err)
			}
			sealed, err := b.Seal(secret, c.table, identity...)
			clear(secret)
			if err != nil {
				return err
			}
			if _, err := b.Exec(ctx, c.set, append(texts(key), box, sealed)...); err != nil {
				return err
			}
			after = key
		}
		if len(rows) < boxPage {
			return nil
		}
	}
}

func texts(s []string) []any {
	out := make([]any, len(s), len(s)+2)
	for i := range s {
		out[i] = s[i]
	}
	return out
}
