package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

func Example() {
	db, err := sqlite.Open(context.Background(), "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func ExampleOpenInMemory() {
	db, err := sqlite.OpenInMemory(context.Background()) // for tests: each call is a database of its own
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	fmt.Println("ready")
	// Output: ready
}

// A host that keeps its own tables in the same file lends its handle. DSN has the settings that the library asks for.
func ExampleNew() {
	handle, err := sql.Open("sqlite", sqlite.DSN("acme.db"))
	if err != nil {
		log.Fatal(err)
	}
	db, err := sqlite.New(context.Background(), handle, storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close() // the handle stays open
}
