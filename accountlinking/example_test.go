package accountlinking_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

// recipe stands for auth.AccountLinking() of an instance where somebody has signed up.
func recipe() *accountlinking.Recipe {
	ctx := context.Background()
	db, err := sqlite.OpenInMemory(ctx)
	if err != nil {
		log.Fatal(err)
	}
	e := &env.Env{Store: db.Backend(store.Key{}), Logger: slog.New(slog.DiscardHandler)}
	r, err := accountlinking.Attach(e, accountlinking.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.Insert(ctx, e.Store, users.Row{UserID: "user-1", RecipeID: "emailpassword", Email: "ada@example.com",
		TimeJoined: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), TenantIDs: []string{"public"}})
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func ExampleRecipe_GetUser() {
	ctx := context.Background()
	accounts := recipe() // auth.AccountLinking()
	user, err := accounts.GetUser(ctx, "user-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.Emails, user.LoginMethods[0].RecipeID)
	_, err = accounts.GetUser(ctx, "nobody")
	fmt.Println(errors.Is(err, accountlinking.ErrUnknownUserID))
	// Output:
	// [ada@example.com] emailpassword
	// true
}

func ExampleRecipe_ListUsersByAccountInfo() {
	ctx := context.Background()
	accounts := recipe() // auth.AccountLinking()
	found, err := accounts.ListUsersByAccountInfo(ctx, accountlinking.ListUsersByAccountInfoInput{
		TenantID: "public", AccountInfo: accountlinking.AccountInfo{Email: "Ada@Example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range found {
		text, _ := json.Marshal(user.LoginMethods)
		fmt.Println(user.ID, string(text))
	}
	// Output:
	// user-1 [{"recipeId":"emailpassword","recipeUserId":"user-1","tenantIds":["public"],"email":"ada@example.com","verified":false,"timeJoined":1772323200000}]
}

// An administrator's list: a page at a time, newest first.
func ExampleRecipe_GetUsers() {
	ctx := context.Background()
	accounts := recipe() // auth.AccountLinking()
	in := accountlinking.GetUsersInput{NewestFirst: true, Limit: 50}
	for {
		page, err := accounts.GetUsers(ctx, in)
		if err != nil {
			log.Fatal(err)
		}
		for _, user := range page.Users {
			fmt.Println(user.ID, user.Emails)
		}
		if page.NextPaginationToken == "" {
			break
		}
		in.PaginationToken = page.NextPaginationToken
	}
	// Output: user-1 [ada@example.com]
}
