package usermetadata_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/usermetadata"
)

// recipe stands for auth.UserMetadata() of an instance.
func recipe() *usermetadata.Recipe {
	db, err := sqlite.OpenInMemory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	r, err := usermetadata.Attach(&env.Env{Store: db.Backend(store.Key{}), Logger: slog.New(slog.DiscardHandler)}, usermetadata.Config{})
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func ExampleRecipe_UpdateUserMetadata() {
	ctx := context.Background()
	metadata := recipe() // auth.UserMetadata()
	if _, err := metadata.UpdateUserMetadata(ctx, "user-1", map[string]any{"plan": "trial", "days": 14}); err != nil {
		log.Fatal(err)
	}
	all, err := metadata.UpdateUserMetadata(ctx, "user-1", map[string]any{"plan": "paid", "days": nil})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(all)
	// Output: map[plan:paid]
}

func ExampleRecipe_ChangeUserMetadata() {
	ctx := context.Background()
	metadata := recipe() // auth.UserMetadata()
	for range 3 {
		_, err := metadata.ChangeUserMetadata(ctx, "user-1", func(m map[string]any) error {
			visits, _ := m["visits"].(float64)
			m["visits"] = visits + 1
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	all, err := metadata.GetUserMetadata(ctx, "user-1")
	fmt.Println(all, err)
	// Output: map[visits:3] <nil>
}
