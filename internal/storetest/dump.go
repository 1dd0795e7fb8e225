package storetest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
)

var createTable = regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?\{p\}(\w+)`)

// Tables are the names of all tables, without prefix.
func Tables() []string {
	var names []string
	for _, m := range createTable.FindAllStringSubmatch(store.RawSchema(), -1) {
		names = append(names, m[1])
	}
	return names
}

// Dump writes every row of the given tables, or of all, a line each, sorted: "table column=value ...". Bytes are hexadecimal.
func (db *DB) Dump(tables ...string) string {
	db.t.Helper()
	if len(tables) == 0 {
		tables = Tables()
	}
	var lines []string
	for _, table := range tables {
		rows, err := db.Backend.Query(context.Background(), "SELECT * FROM {p}"+table)
		require.NoError(db.t, err)
		for _, row := range rows {
			var line strings.Builder
			line.WriteString(table)
			for _, column := range row {
				value := column.Value
				if b, ok := value.([]byte); ok {
					value = fmt.Sprintf("%x", b)
				}
				fmt.Fprintf(&line, " %s=%v", column.Name, value)
			}
			lines = append(lines, line.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Rows counts the rows of a table.
func (db *DB) Rows(table string) int {
	db.t.Helper()
	rows, err := db.Backend.Query(context.Background(), "SELECT * FROM {p}"+table)
	require.NoError(db.t, err)
	return len(rows)
}
