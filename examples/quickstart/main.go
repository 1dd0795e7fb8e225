// The program of the README: a password for everybody, and for administrators an authenticator app after it.
//
//	go run ./examples/quickstart    # then open http://localhost:3567
//
// It also serves a page, with a route that makes the visitor an administrator and one that draws QR codes (page.go). They are no part of the
// library, are there so that one person can try everything, and must never leave loopback.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"slices"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

func main() {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	auth, err := newAuth(ctx, db, "http://localhost:3567")
	if err != nil {
		log.Fatal(err) // every mistake in the configuration, at once, each naming its field
	}
	log.Print("open http://localhost:3567")
	log.Fatal(http.ListenAndServe("localhost:3567", routes(auth)))
}

func newAuth(ctx context.Context, db *storage.DB, origin string) (*mfa.MFA, error) {
	return mfa.New(ctx, mfa.Config{
		AppInfo:      mfa.AppInfo{AppName: "Acme", APIDomain: origin, WebsiteDomain: origin},
		Storage:      db,
		FirstFactors: []factor.ID{factor.EmailPassword},
		Factors: []mfa.Factor{
			emailpassword.New(emailpassword.Config{}),
			totp.New(totp.Config{Issuer: "Acme"}),
		},
		GetMFARequirementsForAuth: func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
			roles, err := in.Roles(ctx) // lazy: nothing is read that the policy does not ask for
			if err != nil || !slices.Contains(roles, "admin") {
				return nil, err // no second factor
			}
			return factor.Requirements{factor.TOTP}, nil
		},
	})
}

func routes(auth *mfa.MFA) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Sessions().Verify(http.HandlerFunc(me))) // 403 with claimValidationErrors until v is true
	page(mux, auth)
	return auth.Middleware(mux)
}

func me(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, session.FromContext(r.Context()).UserID())
}
