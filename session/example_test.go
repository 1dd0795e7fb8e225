package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
)

func open() (*storage.DB, session.App) {
	db, err := sqlite.OpenInMemory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return db, session.App{
		AppInfo: session.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage: db,
	}
}

// A host that checks passwords by itself, and leaves the rest to the sessions.
func Example() {
	db, app := open()
	defer db.Close()
	sessions, err := session.New(context.Background(), app, session.Config{})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// ... after it was checked who it is:
		if _, err := sessions.CreateNewSession(w, r, session.NewSession{RecipeUserID: "user-1", RevokeReplaced: true}); err != nil {
			sessions.HandleError(w, r, err)
		}
	})
	mux.Handle("GET /me", sessions.Verify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "You are", session.FromContext(r.Context()).UserID())
	})))
	handler := sessions.CORS(sessions.Middleware(mux))

	// What a front end sends.
	call := func(method, path, access string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("st-auth-mode", "header")
		if access != "" {
			r.Header.Set("Authorization", "Bearer "+access)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	fmt.Print(call("GET", "/me", "").Body, "\n")
	access := call("POST", "/login", "").Header().Get("st-access-token")
	fmt.Print(call("GET", "/me", access).Body)
	fmt.Print(call("POST", "/auth/signout", access).Body, "\n")
	// Output:
	// {"message":"unauthorised"}
	// You are user-1
	// {"status":"OK"}
}

// A claim of the application's own is in every access token, so a route that insists on it reads no database; here it is fetched anew as soon as it
// fails, so that who has just paid gets in.
func ExampleNewBooleanClaim() {
	paid := map[string]bool{}
	paying := session.NewBooleanClaim("paying", func(_ context.Context, in session.FetchValueInput) (bool, bool, error) {
		return paid[in.UserID], true, nil
	})
	db, app := open()
	defer db.Close()
	ctx := context.Background()
	sessions, err := session.New(ctx, app, session.Config{Claims: []session.Claim{paying}})
	if err != nil {
		log.Fatal(err)
	}
	s, err := sessions.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: "user-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.AssertClaims(ctx, paying.IsTrue()))
	paid["user-1"] = true
	fmt.Println(s.AssertClaims(ctx, paying.IsTrue(session.RefetchFailedAfter(0))))
	// Output:
	// invalid claim [paying]
	// <nil>
}

// What a route asks of a session, beyond the validators of all routes.
func ExampleRecipe_VerifySession() {
	db, app := open()
	defer db.Close()
	sessions, err := session.New(context.Background(), app, session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	roles := session.NewArrayClaim("roles", func(context.Context, session.FetchValueInput) ([]string, bool, error) {
		return []string{"staff"}, true, nil
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") })

	mux := http.NewServeMux()
	mux.Handle("GET /admin", sessions.Verify(page, roles.Includes("admin", session.MaxAge(time.Minute))))
	mux.Handle("GET /staff", sessions.Verify(page, roles.IncludesAny([]string{"admin", "staff"})))
	mux.Handle("POST /pay", sessions.VerifySession(session.VerifyOptions{CheckDatabase: true})(page))
	mux.Handle("GET /shop", sessions.VerifySession(session.VerifyOptions{SessionOptional: true})(page))

	s, err := sessions.CreateNewSessionWithoutRequestResponse(context.Background(), session.NewSession{RecipeUserID: "user-1"})
	if err != nil {
		log.Fatal(err)
	}
	for _, route := range []string{"GET /admin", "GET /staff", "POST /pay", "GET /shop"} {
		var method, path string
		fmt.Sscan(route, &method, &path)
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer "+s.AccessToken())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, path)
	}
	// Output:
	// 403 /admin
	// 200 /staff
	// 200 /pay
	// 200 /shop
}

// An override decorates what the recipe does: here whoever signs in gets the plan of their account into the access token.
func ExampleOverride() {
	db, app := open()
	defer db.Close()
	ctx := context.Background()
	sessions, err := session.New(ctx, app, session.Config{Override: session.Override{
		Functions: func(original session.Functions, functions *session.Functions) {
			functions.CreateNewSession = func(ctx context.Context, in session.CreateNewSessionInput) (*session.Session, error) {
				in.AccessTokenPayload["plan"] = "free"
				return original.CreateNewSession(ctx, in)
			}
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	s, err := sessions.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{RecipeUserID: "user-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.AccessTokenPayload()["plan"])
	// Output: free
}

// Small things that front ends want to read can stand in the access token; what only the server needs, beside it.
func ExampleSession_MergeIntoAccessTokenPayload() {
	db, app := open()
	defer db.Close()
	ctx := context.Background()
	sessions, err := session.New(ctx, app, session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	s, err := sessions.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{
		RecipeUserID: "user-1", AccessTokenPayload: map[string]any{"theme": "dark", "beta": true},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.MergeIntoAccessTokenPayload(ctx, map[string]any{"theme": "light", "beta": nil}); err != nil {
		log.Fatal(err)
	}
	info, err := sessions.GetSessionInformation(ctx, s.Handle())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.CustomClaimsInAccessTokenPayload)
	var protected *session.ProtectedClaimError
	fmt.Println(errors.As(s.MergeIntoAccessTokenPayload(ctx, map[string]any{"sub": "somebody"}), &protected))
	// Output:
	// map[theme:light]
	// true
}

// A settings page that lists where somebody is signed in, and ends all of it.
func ExampleRecipe_GetAllSessionsForUser() {
	db, app := open()
	defer db.Close()
	ctx := context.Background()
	sessions, err := session.New(ctx, app, session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range []string{"phone", "laptop"} {
		if _, err := sessions.CreateNewSessionWithoutRequestResponse(ctx, session.NewSession{
			RecipeUserID: "user-1", SessionDataInDatabase: map[string]any{"device": device},
		}); err != nil {
			log.Fatal(err)
		}
	}
	all, err := sessions.GetAllSessionsForUser(ctx, session.GetAllSessionHandlesForUserInput{UserID: "user-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(all))
	ended, err := sessions.RevokeAllSessionsForUser(ctx, session.RevokeAllSessionsForUserInput{UserID: "user-1"})
	fmt.Println(len(ended), err)
	// Output:
	// 2
	// 2 <nil>
}

// Another service verifies a token of CreateJWT by the key set at /auth/jwt/jwks.json.
func ExampleRecipe_CreateJWT() {
	db, app := open()
	defer db.Close()
	app.Now = func() time.Time { return time.Unix(1772366400, 0) }
	ctx := context.Background()
	sessions, err := session.New(ctx, app, session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	token, err := sessions.CreateJWT(ctx, session.CreateJWTInput{Payload: map[string]any{"job": 7}, Validity: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	_, err = sessions.GetSessionWithoutRequestResponse(ctx, session.GetSessionInput{AccessToken: token})
	fmt.Println("as a session:", err)
	set, err := sessions.GetJWKS(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("keys:", len(set.Keys))
	// Output:
	// as a session: the request carries no session
	// keys: 2
}

// An override of an API can read members of the body that the library does not know.
func ExampleAPIOptions_Decode() {
	r := httptest.NewRequest("POST", "/auth/signup", nil)
	r.Body = http.NoBody
	var extra struct {
		InviteCode string `json:"inviteCode"`
	}
	err := session.APIOptions{Request: r}.Decode(&extra)
	raw, _ := json.Marshal(extra)
	fmt.Println(string(raw), err)
	// Output: {"inviteCode":""} <nil>
}
