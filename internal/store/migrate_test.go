package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// fresh is an empty database and how to open it.
type fresh struct {
	name, driver, dsn string
	cfg               store.Config // without handle
}

// eachFresh runs the test on an empty file, on one that is lent, and in an empty corner of a PostgreSQL.
func eachFresh(t *testing.T, test func(t *testing.T, f fresh)) {
	for _, name := range []string{"sqlite", "lent", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fresh{name, "sqlite", sqlite.DSN(filepath.Join(t.TempDir(), "test.db")), store.Config{Dialect: store.SQLite, Prefix: "st_"}}
			if name == "lent" { // a file whose transactions begin deferred
				f.dsn = strings.Replace(f.dsn, "_txlock=immediate&", "", 1)
				f.cfg.Lent = true
			}
			if name == "postgres" {
				f = fresh{name, "pgx", storetest.PostgresDSN(t), store.Config{Dialect: store.Postgres, Prefix: storetest.NewPrefix()}}
			}
			test(t, f)
		})
	}
}

func (f fresh) handle(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open(f.driver, f.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func (f fresh) config(t *testing.T) store.Config {
	cfg := f.cfg
	cfg.Write = f.handle(t)
	return cfg
}

func (f fresh) open(t *testing.T, more ...string) (*store.Backend, error) {
	t.Helper()
	return store.OpenNext(t.Context(), f.config(t), more...)
}

// versions of the schema that the database says it has.
func (f fresh) versions(t *testing.T) []int {
	t.Helper()
	rows, err := f.handle(t).QueryContext(t.Context(), "SELECT version FROM "+f.cfg.Prefix+"migrations ORDER BY version")
	require.NoError(t, err)
	defer rows.Close()
	var all []int
	for rows.Next() {
		var version int
		require.NoError(t, rows.Scan(&version))
		all = append(all, version)
	}
	require.NoError(t, rows.Err())
	return all
}

func released() []int {
	var all []int
	for version := 1; version <= store.Steps; version++ {
		all = append(all, version)
	}
	return all
}

func TestAFreshDatabaseHoldsTheTenantPublic(t *testing.T) {
	t.Parallel()
	storetest.EachVariant(t, func(t *testing.T, db *storetest.DB) {
		require.Len(t, storetest.Tables(), 22)
		assert.Equal(t, "tenants tenant_id=public first_factors=<nil> required_secondary_factors=<nil> core_config={} created_at=0",
			db.Dump("tenants"))
		assert.Equal(t, store.Steps, db.Rows("migrations"))
		for _, table := range storetest.Tables() {
			if table != "tenants" && table != "migrations" {
				assert.Zero(t, db.Rows(table), table)
			}
		}
	})
}

func TestOpeningAgainChangesNothing(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		put(t, t.Context(), db.Backend, "a", "1")
		before := db.Dump()
		assert.Equal(t, before, db.Again(storetest.Keys(t, "k1")).Dump())
	})
}

func TestManyStartAtOnce(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		if f.name == "postgres" { // as a server may be set up
			f.dsn += " options='-c default_transaction_isolation=serializable'"
		}
		var wg sync.WaitGroup
		for range 10 {
			cfg := f.config(t)
			wg.Go(func() {
				_, err := store.Open(t.Context(), cfg)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, released(), f.versions(t))
	})
}

// A step of a later release is made by one of many that start at once, on a database that has data.
func TestManyUpgradeAtOnce(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		b, err := f.open(t)
		require.NoError(t, err)
		put(t, t.Context(), b, "a", "1")
		var wg sync.WaitGroup
		for range 10 {
			cfg := f.config(t)
			wg.Go(func() {
				_, err := store.OpenNext(t.Context(), cfg, `CREATE TABLE {p}next (id {int} PRIMARY KEY){plain};
					INSERT INTO {p}next (id) VALUES (1);`, `INSERT INTO {p}next (id) VALUES (2)`)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, append(released(), store.Steps+1, store.Steps+2), f.versions(t))
		rows, err := b.Query(t.Context(), `SELECT id FROM {p}next`)
		require.NoError(t, err)
		assert.Len(t, rows, 2)
		assert.Equal(t, "1", get(t, t.Context(), b, "a"))
	})
}

func TestAStepThatFailsLeavesTheSchemaAsItWas(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		_, err := f.open(t)
		require.NoError(t, err)
		before := f.schema(t)
		_, err = f.open(t, `CREATE TABLE {p}next (id {int} PRIMARY KEY){plain}`, `INSERT INTO {p}missing (id) VALUES (1)`)
		require.ErrorContains(t, err, fmt.Sprintf("storage: migration to version %d: ", store.Steps+2))
		assert.Equal(t, released(), f.versions(t))
		assert.Equal(t, before, f.schema(t))
	})
}

func TestADatabaseOfANewerReleaseIsRefused(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		_, err := f.open(t, `CREATE TABLE {p}next (id {int} PRIMARY KEY){plain}`)
		require.NoError(t, err)
		for _, skip := range []bool{false, true} {
			cfg := f.config(t)
			cfg.SkipMigrations = skip
			_, err := store.Open(t.Context(), cfg)
			require.EqualError(t, err, fmt.Sprintf("storage: the database has version %d, made by a newer release; this one knows %d",
				store.Steps+1, store.Steps))
		}
		assert.Equal(t, append(released(), store.Steps+1), f.versions(t))
	})
}

func TestSkippedMigrationsAreChecked(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		check := func(more ...string) error {
			cfg := f.config(t)
			cfg.SkipMigrations = true
			_, err := store.OpenNext(t.Context(), cfg, more...)
			return err
		}
		require.ErrorContains(t, check(), "storage: the tables are missing, or not readable; run the text of Schema: ")
		require.Empty(t, f.schema(t), "nothing was made")

		_, err := f.open(t)
		require.NoError(t, err)
		require.NoError(t, check())
		require.EqualError(t, check(`CREATE TABLE {p}next (id {int} PRIMARY KEY){plain}`),
			fmt.Sprintf("storage: the database has version %d, this release needs %d; run the newer steps of Schema", store.Steps, store.Steps+1))
	})
}

// The text that a host's own tool runs makes what Open makes.
func TestTheSchemaTextMakesTheSameSchema(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		_, err := f.open(t)
		require.NoError(t, err)
		other := f
		if f.name != "postgres" {
			other.dsn = sqlite.DSN(filepath.Join(t.TempDir(), "other.db"))
		} else {
			other.cfg.Prefix = storetest.NewPrefix()
		}
		text := store.SchemaText(f.cfg.Dialect, other.cfg.Prefix)
		for version := range released() {
			assert.Contains(t, text, fmt.Sprintf("-- version %d\n", version+1))
		}
		_, err = other.handle(t).ExecContext(t.Context(), text)
		require.NoError(t, err)

		require.NotEmpty(t, f.schema(t))
		assert.Equal(t, f.schema(t), other.schema(t))
		assert.Equal(t, released(), other.versions(t))
		cfg := other.config(t)
		cfg.SkipMigrations = true
		b, err := store.Open(t.Context(), cfg)
		require.NoError(t, err)
		rows, err := b.Query(t.Context(), `SELECT tenant_id FROM {p}tenants`)
		require.NoError(t, err)
		assert.Len(t, rows, 1)
		b, err = store.Open(t.Context(), other.config(t))
		require.NoError(t, err, "and it can be opened without skipping")
		assert.NotNil(t, b)
	})
}

// schema is what the database says of the tables that have the prefix, with their columns, keys and indexes, a line each. The prefix is left out.
func (f fresh) schema(t *testing.T) []string {
	t.Helper()
	queries := []string{`SELECT type || ' ' || name || ': ' || COALESCE(sql, '') FROM sqlite_master WHERE name LIKE $1 OR tbl_name LIKE $1`}
	if f.name == "postgres" {
		queries = []string{
			`SELECT concat_ws(' ', 'column', table_name, ordinal_position, column_name, data_type, collation_name, is_nullable, column_default)
				FROM information_schema.columns WHERE table_name LIKE $1`,
			`SELECT indexdef FROM pg_indexes WHERE tablename LIKE $1`,
			`SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE $1`,
			`SELECT 'options ' || relname || ' ' || COALESCE(reloptions::text, '') FROM pg_class WHERE relname LIKE $1`,
		}
	}
	db := f.handle(t)
	var lines []string
	for _, query := range queries {
		rows, err := db.QueryContext(t.Context(), query, f.cfg.Prefix+"%")
		require.NoError(t, err)
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			if f.ours(line) {
				lines = append(lines, strings.ReplaceAll(line, f.cfg.Prefix, ""))
			}
		}
		require.NoError(t, rows.Close())
	}
	slices.Sort(lines)
	return lines
}

// ours leaves out what LIKE took for the prefix.
func (f fresh) ours(line string) bool {
	return regexp.MustCompile(`(^|[ ._])` + f.cfg.Prefix).MatchString(line)
}

func TestBusyTablesOfPostgresAreVacuumedEarly(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "postgres")
	rows, err := db.Backend.Query(t.Context(), `SELECT relname, reloptions::text FROM pg_class WHERE relname IN ('{p}sessions', '{p}limits')`)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	for _, row := range rows {
		assert.Equal(t, "{fillfactor=80,autovacuum_vacuum_scale_factor=0.02}", row[1].Value, row[0].Value)
	}
}

func TestPrefixesAreChecked(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"st_": "", "_": "", "x": "", "a1_": "", strings.Repeat("a", 24): "",
		strings.Repeat("a", 25): "more than 24 characters",
		"St_":                   "want a-z, 0-9 and _",
		"1a":                    "no digit at the beginning",
		"st-":                   "want a-z, 0-9 and _",
		"st.":                   "want a-z, 0-9 and _",
		`a"; DROP TABLE x; --`:  "want a-z, 0-9 and _",
		"ä_":                    "want a-z, 0-9 and _",
		"sqlite_":               "SQLite keeps such names for itself",
	} {
		_, err := store.Open(t.Context(), store.Config{Dialect: store.SQLite, Prefix: prefix, Write: fresh{driver: "sqlite", dsn: ":memory:"}.handle(t)})
		if want == "" {
			assert.NoError(t, err, prefix)
			assert.Contains(t, store.SchemaText(store.SQLite, prefix), "CREATE TABLE "+prefix+"tenants (")
		} else {
			assert.ErrorContains(t, err, want, prefix)
			assert.ErrorContains(t, err, fmt.Sprintf("TablePrefix %q", prefix))
			assert.Panics(t, func() { store.SchemaText(store.SQLite, prefix) }, prefix)
		}
	}
	assert.Equal(t, store.SchemaText(store.Postgres, "st_"), store.SchemaText(store.Postgres, ""))
}

// PostgreSQL cuts names at 63 bytes: with the longest prefix nothing is cut, and so nothing has another's name.
func TestNamesFitWithTheLongestPrefix(t *testing.T) {
	t.Parallel()
	prefix := strings.Repeat("p", 24)
	var names []string
	for _, m := range regexp.MustCompile(`(?:TABLE|INDEX)(?: IF NOT EXISTS)? (\w+)`).FindAllStringSubmatch(store.SchemaText(store.Postgres, prefix), -1) {
		names = append(names, m[1])
		assert.LessOrEqual(t, len(m[1]), 63, m[1])
	}
	assert.Greater(t, len(names), 35)

	cfg := fresh{name: "postgres", driver: "pgx", dsn: storetest.PostgresDSN(t), cfg: store.Config{Dialect: store.Postgres, Prefix: prefix}}.config(t)
	b, err := store.Open(t.Context(), cfg)
	require.NoError(t, err)
	rows, err := b.Query(t.Context(), `SELECT relname FROM pg_class WHERE relname LIKE '{p}%'`)
	require.NoError(t, err)
	found := map[string]bool{}
	for _, row := range rows {
		found[fmt.Sprint(row[0].Value)] = true
	}
	for _, name := range names {
		assert.True(t, found[name], name)
	}
}

func TestTwoPrefixesInOneDatabaseDoNotMeet(t *testing.T) {
	t.Parallel()
	eachFresh(t, func(t *testing.T, f fresh) {
		one, err := f.open(t)
		require.NoError(t, err)
		f.cfg.Prefix += "st_" // begins like the other
		two, err := f.open(t)
		require.NoError(t, err)
		put(t, t.Context(), one, "a", "one")
		put(t, t.Context(), two, "a", "two")
		assert.Equal(t, "one", get(t, t.Context(), one, "a"))
		require.NoError(t, one.Tx(t.Context(), func(ctx context.Context) error {
			assert.False(t, two.InTx(ctx))
			return one.LockName(ctx, "x")
		}))
		assert.Equal(t, "two", get(t, t.Context(), two, "a"))
	})
}
