// An authenticator app for some users only: administrators, or users on the paid plan. Each is a policy of a few lines; -policy chooses one.
//
//	go run ./examples/totp-admins -policy admins     # or paid; GET /me shows a signed-in user's id
//	go run ./examples/totp-admins -admin <user id>   # give that user the role admin
//	go run ./examples/totp-admins -paid <user id>    # put that user on the paid plan
package main

import (
	"context"
	"encoding/json"
	"flag"
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

var policies = map[string]mfa.GetMFARequirementsForAuthFunc{"admins": admins, "paid": paidPlan}

func admins(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	roles, err := in.Roles(ctx) // those on the session's tenant
	if err != nil || !slices.Contains(roles, "admin") {
		return nil, err
	}
	return factor.Requirements{factor.TOTP}, nil
}

// paidPlan looks at the user's metadata. What the inputs do not hold comes through mfa.FromContext, or from the host's own tables.
func paidPlan(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
	user, err := in.User(ctx)
	if err != nil {
		return nil, err
	}
	metadata, err := mfa.FromContext(ctx).UserMetadata().GetUserMetadata(ctx, user.ID)
	if err != nil || metadata["plan"] != "paid" {
		return nil, err
	}
	return factor.Requirements{factor.TOTP}, nil
}

func newAuth(ctx context.Context, db *storage.DB, policy mfa.GetMFARequirementsForAuthFunc) (*mfa.MFA, error) {
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo:                   mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage:                   db,
		Factors:                   []mfa.Factor{emailpassword.New(emailpassword.Config{}), totp.New(totp.Config{})},
		FirstFactors:              []factor.ID{factor.EmailPassword},
		GetMFARequirementsForAuth: policy,
	})
	if err != nil {
		return nil, err
	}
	_, err = auth.UserRoles().CreateNewRoleOrAddPermissions(ctx, "admin")
	return auth, err
}

func routes(auth *mfa.MFA) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /me", auth.Sessions().Verify(http.HandlerFunc(me)))
	return auth.CORS(auth.Middleware(mux)) // the website has another origin than this API
}

func me(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"userId": s.UserID(), "tenantId": s.TenantID()})
}

// makeAdmin gives the role on every tenant of the user.
func makeAdmin(ctx context.Context, auth *mfa.MFA, userID string) error {
	user, err := auth.AccountLinking().GetUser(ctx, userID)
	if err != nil {
		return err
	}
	for _, tenantID := range user.TenantIDs {
		if _, err := auth.UserRoles().AddRoleToUser(ctx, tenantID, user.ID, "admin"); err != nil {
			return err
		}
	}
	return auth.ReevaluateSessionsOfUser(ctx, user.ID) // binds sessions that are open already
}

func setPaid(ctx context.Context, auth *mfa.MFA, userID string) error {
	user, err := auth.AccountLinking().GetUser(ctx, userID)
	if err != nil {
		return err
	}
	if _, err := auth.UserMetadata().UpdateUserMetadata(ctx, user.ID, map[string]any{"plan": "paid"}); err != nil {
		return err
	}
	return auth.ReevaluateSessionsOfUser(ctx, user.ID)
}

func main() {
	policy := flag.String("policy", "admins", "admins or paid")
	admin := flag.String("admin", "", "id of a user to make an administrator")
	paid := flag.String("paid", "", "id of a user to put on the paid plan")
	flag.Parse()
	if policies[*policy] == nil {
		log.Fatalf("no policy %q", *policy) // a nil policy would be the library's default
	}
	ctx := context.Background()
	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	auth, err := newAuth(ctx, db, policies[*policy])
	if err != nil {
		log.Fatal(err)
	}
	switch {
	case *admin != "":
		err = makeAdmin(ctx, auth, *admin)
	case *paid != "":
		err = setPaid(ctx, auth, *paid)
	default:
		err = http.ListenAndServe("localhost:3001", routes(auth))
	}
	if err != nil {
		log.Fatal(err)
	}
}
