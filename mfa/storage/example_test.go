package storage_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// The file is made with one random key when it is missing, and is yours to back up and to edit.
func ExampleKeyFile() {
	dir, err := os.MkdirTemp("", "acme")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(context.Background(), filepath.Join(dir, "acme.db"), storage.Options{
		Keys: storage.KeyFile(filepath.Join(dir, "acme.key")),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	info, err := os.Stat(filepath.Join(dir, "acme.key"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Mode())
	// Output: -rw-------
}

// Keys come from wherever the application keeps its secrets. They are never printed.
func ExampleNewKeys() {
	var fromVault [32]byte
	copy(fromVault[:], "32 random bytes, kept in a vault")
	key := storage.Key{ID: "2026-05", Secret: fromVault}
	fmt.Printf("%+v\n", key)
	fmt.Printf("%+v\n", storage.Options{Keys: storage.NewKeys(key)})
	// Output:
	// key 2026-05 [redacted]
	// {Keys:keys [redacted] TablePrefix: SkipMigrations:false}
}

// A new key goes first. When every process has it, all secrets are moved to it, and the old one can go.
func ExampleDB_ReencryptSecrets() {
	var old, current storage.Key // from wherever the application keeps its secrets
	ctx := context.Background()
	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.NewKeys(current, old)})
	if err != nil {
		log.Fatal(err)
	}
	if err := db.ReencryptSecrets(ctx); err != nil {
		log.Fatal(err) // counts the secrets that none of the keys opens
	}
}

// What the library writes commits together with the host's own rows, or not at all.
func ExampleDB_WithTx() {
	var handle *sql.DB // of the host
	var db *storage.DB // made from it by sqlite.New or postgres.New

	register := func(ctx context.Context, id string, addRole func(ctx context.Context, userID, role string) error) error {
		tx, err := handle.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO customers (id, since) VALUES ($1, $2)", id, time.Now()); err != nil {
			return err
		}
		if err := addRole(db.WithTx(ctx, tx), id, "customer"); err != nil { // any call of the library
			return err
		}
		return tx.Commit()
	}
	_ = register
}
