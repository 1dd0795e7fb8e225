package tenant_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/mfa/tenant"
)

// recipe stands for auth.Tenants() of an instance.
func recipe() *tenant.Recipe {
	db, err := sqlite.OpenInMemory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	e := &env.Env{Store: db.Backend(store.Key{}), Logger: slog.New(slog.DiscardHandler), Clock: time.Now}
	r, err := tenant.Attach(e, nil, tenant.Config{})
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func Example() {
	ctx := context.Background()
	tenants := recipe() // auth.Tenants()
	for _, update := range []tenant.Update{
		{FirstFactors: tenant.Only(factor.EmailPassword), RequiredSecondaryFactors: tenant.Only(factor.TOTP, factor.OTPEmail)},
		{FirstFactors: tenant.Unset()}, // those of the configuration; the required ones stay
	} {
		result, err := tenants.CreateOrUpdateTenant(ctx, "customer1", update)
		if err != nil {
			log.Fatal(err)
		}
		t, err := tenants.GetTenant(ctx, "customer1")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.CreatedNew, t.FirstFactors, t.RequiredSecondaryFactors)
	}
	// Output:
	// true [emailpassword] [totp otp-email]
	// false [] [totp otp-email]
}
