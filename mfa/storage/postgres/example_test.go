package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/postgres"
)

func Example() {
	db, err := postgres.Open(context.Background(), "postgres://acme@db.internal/acme", storage.Options{
		Keys: storage.KeyFile("/run/secrets/acme.key"), // on every machine the same file
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A host that has a pool already lends it. The library's tables stand beside the host's.
func ExampleNew() {
	pool, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	db, err := postgres.New(context.Background(), pool, storage.Options{Keys: storage.KeyFile("/run/secrets/acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close() // the pool stays open
}

// A host that migrates its database with a tool of its own puts this text into a file for it, and sets SkipMigrations.
func ExampleSchema() {
	first, _, _ := strings.Cut(postgres.Schema("auth_"), ";")
	fmt.Println(first)
	// Output:
	// -- version 1
	// CREATE TABLE IF NOT EXISTS auth_migrations (version INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL)
}
