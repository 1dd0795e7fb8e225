// SuperTokens' own front end, as it comes from npm, on this library: the pre-built pages of supertokens-auth-react for sign-up, sign-in, the
// authenticator app and the choice of a factor, and a settings page of the application's own on supertokens-web-js.
//
//	npm --prefix examples/react/web ci && npm --prefix examples/react/web run build
//	go run ./examples/react                            # then open http://localhost:3567: one origin, tokens in cookies
//	go run ./examples/react -website 127.0.0.1:3568    # then open http://127.0.0.1:3568: another site than the API, tokens in headers
//
// Everybody signs in with a password. Administrators must complete a second factor; everybody else chooses to, on the settings page. The route that
// makes the visitor an administrator is there so that one person can try everything, and must never leave loopback.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"

	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
)

func main() {
	listen := flag.String("listen", "localhost:3567", "where the API is served, and the website without -website")
	website := flag.String("website", "", "where the website is served, if it has an origin of its own")
	flag.Parse()

	ctx := context.Background()
	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	o := origins{API: "http://" + *listen, Website: "http://" + *listen}
	if *website != "" {
		o.Website = "http://" + *website
	}
	a, err := newApp(ctx, db, o, nil)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("open ", o.Website)
	if *website == "" {
		log.Fatal(http.ListenAndServe(*listen, a.together()))
	}
	go func() { log.Fatal(http.ListenAndServe(*website, a.website(site))) }()
	log.Fatal(http.ListenAndServe(*listen, a.api()))
}
