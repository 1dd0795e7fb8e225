package emailpassword_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
)

// handler serves the routes of an instance with the recipe as its only factor.
func handler(recipe *emailpassword.Recipe) http.Handler {
	ctx := context.Background()
	db, err := sqlite.OpenInMemory(ctx)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo: mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage: db,
		Factors: []mfa.Factor{recipe},
	})
	if err != nil {
		log.Fatal(err)
	}
	return auth.Handler()
}

// send is a front end that prints the answer to a form.
func send(h http.Handler, path, body string) {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer struct {
		Status string
		User   struct{ Emails []string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	if answer.Status == "OK" {
		fmt.Println(path, "OK", answer.User.Emails)
		return
	}
	fmt.Println(path, w.Code, w.Body)
}

// Sign-up and sign-in as front ends see them.
func Example() {
	h := handler(emailpassword.New(emailpassword.Config{}))
	form := func(email, password string) string {
		return fmt.Sprintf(`{"formFields": [{"id": "email", "value": %q}, {"id": "password", "value": %q}]}`, email, password)
	}
	send(h, "/auth/signup", form("Ada@example.com", "short"))
	send(h, "/auth/signup", form("Ada@example.com", "analytical engine 1"))
	send(h, "/auth/signup", form("ada@example.com", "analytical engine 2"))
	send(h, "/auth/signin", form("ada@example.com", "analytical engine 2"))
	send(h, "/auth/signin", form("ada@example.com", "analytical engine 1"))
	// Output:
	// /auth/signup 200 {"status":"FIELD_ERROR","formFields":[{"id":"password","error":"Password must contain at least 8 characters, including a number"}]}
	// /auth/signup OK [ada@example.com]
	// /auth/signup 200 {"status":"FIELD_ERROR","formFields":[{"id":"email","error":"This email already exists. Please sign in instead."}]}
	// /auth/signin 200 {"status":"WRONG_CREDENTIALS_ERROR"}
	// /auth/signin OK [ada@example.com]
}

// A form that also asks for a name, lets only one company in, and wants longer passwords. What was sent reaches overrides of SignUpPOST.
func ExampleFormField() {
	recipe := emailpassword.New(emailpassword.Config{
		SignUpFormFields: []emailpassword.FormField{
			{ID: "name", Validate: func(_ context.Context, name, _ string) (problem string, err error) {
				if len(name) > 100 {
					return "We cannot remember that much", nil
				}
				return "", nil
			}},
			{ID: "nickname", Optional: true},
			{ID: "email", Validate: func(_ context.Context, email, _ string) (problem string, err error) {
				if !strings.HasSuffix(strings.ToLower(email), "@acme.example") {
					return "Please use your address at Acme", nil
				}
				return "", nil
			}},
			{ID: "password", Validate: func(_ context.Context, password, _ string) (problem string, err error) {
				if len([]rune(password)) < 15 {
					return "Please take at least 15 characters, whichever you like", nil
				}
				return "", nil
			}},
		},
		Override: emailpassword.Override{APIs: func(original emailpassword.APIs, apis *emailpassword.APIs) {
			apis.SignUpPOST = func(ctx context.Context, in emailpassword.SignUpPOSTInput) (emailpassword.SignInPOSTResult, error) {
				result, err := original.SignUpPOST(ctx, in)
				if err != nil {
					return result, err
				}
				for _, field := range in.FormFields {
					if field.ID != "name" {
						continue
					}
					metadata := map[string]any{"name": field.Value}
					if _, err := mfa.FromContext(ctx).UserMetadata().UpdateUserMetadata(ctx, result.User.ID, metadata); err != nil {
						return result, err
					}
					fmt.Println("welcome,", field.Value)
				}
				return result, nil
			}
		}},
	})
	h := handler(recipe)
	send(h, "/auth/signup", `{"formFields": [{"id": "email", "value": "ada@example.com"}, {"id": "password", "value": "engine"}]}`)
	send(h, "/auth/signup", `{"formFields": [
		{"id": "name", "value": "Ada"}, {"id": "email", "value": "ada@acme.example"}, {"id": "password", "value": "notes by the translator"}]}`)
	// Output:
	// /auth/signup 200 {"status":"FIELD_ERROR","formFields":[{"id":"name","error":"Field is not optional"},{"id":"email","error":"Please use your address at Acme"},{"id":"password","error":"Please take at least 15 characters, whichever you like"}]}
	// welcome, Ada
	// /auth/signup OK [ada@acme.example]
}

// Passwords that everybody tries first are refused. The list may as well be a service that is asked over the network.
func ExampleConfig_checkPassword() {
	leaked := map[string]bool{"password1": true, "qwerty123": true}
	h := handler(emailpassword.New(emailpassword.Config{
		CheckPassword: func(_ context.Context, _, email, password string) (problem string, err error) {
			name, _, _ := strings.Cut(email, "@")
			switch {
			case leaked[strings.ToLower(password)]:
				return "This password is on a list of stolen ones. Please take another", nil
			case strings.Contains(strings.ToLower(password), name):
				return "Please keep your name out of it", nil
			}
			return "", nil
		},
	}))
	for _, password := range []string{"Password1", "lovelace1815", "analytical engine 1"} {
		send(h, "/auth/signup", fmt.Sprintf(`{"formFields": [{"id": "email", "value": "lovelace@example.com"}, {"id": "password", "value": %q}]}`, password))
	}
	// Output:
	// /auth/signup 200 {"status":"FIELD_ERROR","formFields":[{"id":"password","error":"This password is on a list of stolen ones. Please take another"}]}
	// /auth/signup 200 {"status":"FIELD_ERROR","formFields":[{"id":"password","error":"Please keep your name out of it"}]}
	// /auth/signup OK [lovelace@example.com]
}

// Only who was invited may sign up. The code is a member of the body that the library does not know; a *session.GeneralError is shown to the user.
func ExampleAPIs() {
	invited := map[string]bool{"spring-2030": true}
	h := handler(emailpassword.New(emailpassword.Config{
		Override: emailpassword.Override{APIs: func(original emailpassword.APIs, apis *emailpassword.APIs) {
			apis.SignUpPOST = func(ctx context.Context, in emailpassword.SignUpPOSTInput) (emailpassword.SignInPOSTResult, error) {
				var body struct {
					InviteCode string `json:"inviteCode"`
				}
				if err := in.Options.Decode(&body); err != nil {
					return emailpassword.SignInPOSTResult{}, err // a 400
				}
				if !invited[body.InviteCode] {
					return emailpassword.SignInPOSTResult{}, &session.GeneralError{Message: "Please ask us for an invite code"}
				}
				return original.SignUpPOST(ctx, in)
			}
			apis.EmailExistsGET = nil // and nobody may ask who is in
		}},
	}))
	const fields = `"formFields": [{"id": "email", "value": "ada@example.com"}, {"id": "password", "value": "analytical engine 1"}]`
	send(h, "/auth/signup", `{`+fields+`}`)
	send(h, "/auth/signup", `{`+fields+`, "inviteCode": 7}`)
	send(h, "/auth/signup", `{`+fields+`, "inviteCode": "spring-2030"}`)
	// Output:
	// /auth/signup 200 {"status":"GENERAL_ERROR","message":"Please ask us for an invite code"}
	// /auth/signup 400 {"message":"API input error: Please make sure to pass a valid JSON input in the request body: inviteCode has the wrong type"}
	// /auth/signup OK [ada@example.com]
}

// The host refuses people by a rule of its own, once their password has proved to be right.
func ExampleFunctions() {
	suspended := map[string]bool{"mallory@example.com": true}
	recipe := emailpassword.New(emailpassword.Config{
		Override: emailpassword.Override{Functions: func(original emailpassword.Functions, functions *emailpassword.Functions) {
			functions.SignIn = func(ctx context.Context, in emailpassword.SignInInput) (emailpassword.SignInResult, error) {
				result, err := original.SignIn(ctx, in)
				if err == nil && suspended[result.User.Emails[0]] {
					return emailpassword.SignInResult{}, &session.GeneralError{Message: "Your account is suspended"}
				}
				return result, err
			}
		}},
	})
	h := handler(recipe)
	const form = `{"formFields": [{"id": "email", "value": "mallory@example.com"}, {"id": "password", "value": "analytical engine %d"}]}`
	send(h, "/auth/signup", fmt.Sprintf(form, 1))
	send(h, "/auth/signin", fmt.Sprintf(form, 1))
	send(h, "/auth/signin", fmt.Sprintf(form, 2))
	// Output:
	// /auth/signup OK [mallory@example.com]
	// /auth/signin 200 {"status":"GENERAL_ERROR","message":"Your account is suspended"}
	// /auth/signin 200 {"status":"WRONG_CREDENTIALS_ERROR"}
}

// A stronger hash than the default, two at a time. A user who comes from an old system with a bcrypt hash signs in with the old password, whose hash is
// then made anew.
func ExampleHashing() {
	ctx := context.Background()
	recipe := emailpassword.New(emailpassword.Config{
		Hashing: emailpassword.Hashing{
			Argon2id:      emailpassword.Argon2idCost{MemoryKiB: 46 * 1024, Passes: 1},
			MaxConcurrent: 2, // no more than 92 MiB, however many sign in at once
		},
	})
	h := handler(recipe)
	_, err := recipe.CreateNewRecipeUser(ctx, emailpassword.CreateNewRecipeUserInput{
		Email: "ada@example.com", PasswordHash: "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
	})
	if err != nil {
		log.Fatal(err)
	}
	send(h, "/auth/signin", `{"formFields": [{"id": "email", "value": "ada@example.com"}, {"id": "password", "value": "abc"}]}`)
	// Output: /auth/signin OK [ada@example.com]
}

// A host asks a user who is signed in for the password once more, before something that cannot be undone.
func ExampleRecipe_VerifyCredentials() {
	ctx := context.Background()
	recipe := emailpassword.New(emailpassword.Config{})
	handler(recipe)
	user, err := recipe.SignUp(ctx, emailpassword.SignUpInput{Email: "ada@example.com", Password: "analytical engine 1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.User.Emails)
	for _, password := range []string{"difference engine", "analytical engine 1"} {
		err = recipe.VerifyCredentials(ctx, "public", "ada@example.com", password)
		var wait *session.GeneralError // too many guesses
		switch {
		case err == nil:
			fmt.Println("right")
		case errors.Is(err, emailpassword.ErrWrongCredentials):
			fmt.Println("wrong")
		case errors.As(err, &wait):
			fmt.Println(wait.Message)
		default:
			log.Fatal(err)
		}
	}
	// Output:
	// [ada@example.com]
	// wrong
	// right
}
