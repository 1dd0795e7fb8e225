package emailpassword

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/session"
)

// The library itself calls what an override put into the tables, each once for each request, with the instance in ctx and what an outer override put
// there.
func TestOverridesAreCalledOverHTTP(t *testing.T) {
	t.Parallel()
	type seenKey struct{}
	var calls []string
	var auth *mfa.MFA
	note := func(ctx context.Context, name string, inside bool) context.Context {
		require.Same(t, auth, mfa.FromContext(ctx))
		require.NotNil(t, session.RequestFromContext(ctx))
		require.Equal(t, inside, ctx.Value(seenKey{}) != nil, name)
		calls = append(calls, name)
		return context.WithValue(ctx, seenKey{}, true)
	}
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{
		Functions: func(original Functions, functions *Functions) {
			functions.SignUp = func(ctx context.Context, in SignUpInput) (SignInResult, error) {
				require.Equal(t, SignUpInput{Email: me, Password: password, TenantID: "public"}, in)
				return original.SignUp(note(ctx, "SignUp", true), in)
			}
			functions.CreateNewRecipeUser = func(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error) {
				require.Equal(t, []string{me, "", "public"}, []string{in.Email, in.Password, in.TenantID})
				return original.CreateNewRecipeUser(note(ctx, "CreateNewRecipeUser", true), in)
			}
			functions.SignIn = func(ctx context.Context, in SignInInput) (SignInResult, error) {
				require.Equal(t, SignInInput{Email: me, Password: password, TenantID: "public"}, in)
				return original.SignIn(note(ctx, "SignIn", true), in)
			}
			functions.VerifyCredentials = func(ctx context.Context, in VerifyCredentialsInput) (SignInResult, error) {
				require.Equal(t, me, in.Email)
				return original.VerifyCredentials(note(ctx, "VerifyCredentials", true), in)
			}
		},
		APIs: func(original APIs, apis *APIs) {
			apis.SignUpPOST = func(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error) {
				require.Equal(t, "public", in.TenantID)
				require.Nil(t, in.Session)
				return original.SignUpPOST(note(ctx, "SignUpPOST", false), in)
			}
			apis.SignInPOST = func(ctx context.Context, in SignInPOSTInput) (SignInPOSTResult, error) {
				require.Equal(t, []Field{{"email", "ME@example.com"}, {"password", password}}, in.FormFields)
				result, err := original.SignInPOST(note(ctx, "SignInPOST", false), in)
				if err == nil {
					require.Equal(t, result.Session.UserID(), result.User.ID)
				}
				return result, err
			}
			apis.EmailExistsGET = func(ctx context.Context, in EmailExistsGETInput) (ExistsResult, error) {
				return original.EmailExistsGET(note(ctx, "EmailExistsGET", false), in)
			}
		},
	}})
	auth = s.MFA
	called := func() []string {
		defer func() { calls = nil }()
		return calls
	}
	s.signUp("ME@example.com")
	require.Equal(t, []string{"SignUpPOST", "SignUp", "CreateNewRecipeUser"}, called())
	require.True(t, s.post("/signup", filled("ME@example.com", password)).Is("FIELD_ERROR"))
	require.Equal(t, []string{"SignUpPOST", "SignUp"}, called(), "an override may want to know of addresses that are taken")
	s.hashes.Store(0)
	require.True(t, s.post("/signin", filled("ME@example.com", password)).Is("OK"))
	require.Equal(t, []string{"SignInPOST", "VerifyCredentials", "SignIn"}, called())
	require.EqualValues(t, 1, s.hashes.Load())
	s.send("GET", "/auth/emailpassword/email/exists?email="+me, "")
	require.Equal(t, []string{"EmailExistsGET"}, called())
}

var errOfTheHost = errors.New("the password of the host's database is hunter2")

// failing makes a function that fails in a way of the host's.
func failing[In, Out any](how func() string, original func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		var nobody Out
		switch how() {
		case "error":
			return nobody, errOfTheHost
		case "panic":
			panic(errOfTheHost.Error())
		case "refusal":
			return nobody, session.NewRefusal("NOT_TODAY", "closed")
		case "general":
			return nobody, &session.GeneralError{Message: "Closed today"}
		case "field":
			return nobody, &FieldError{FormFields: []FieldProblem{{"email", "Not you"}}}
		case "late":
			if _, err := original(ctx, in); err != nil {
				return nobody, err
			}
			return nobody, errOfTheHost
		case "nobody":
			return nobody, nil
		}
		return original(ctx, in)
	}
}

// C-02, I-03: whatever an override does instead of its work, there is a clear answer, no session, and no half of a user; the cause is in the log only.
func TestOverridesThatFail(t *testing.T) {
	t.Parallel()
	var broken, how string // one function at a time
	on := func(name string) func() string {
		return func() string {
			if name == broken {
				return how
			}
			return ""
		}
	}
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{
		Functions: func(original Functions, functions *Functions) {
			functions.SignUp = failing(on("SignUp"), original.SignUp)
			functions.CreateNewRecipeUser = failing(on("CreateNewRecipeUser"), original.CreateNewRecipeUser)
			functions.SignIn = failing(on("SignIn"), original.SignIn)
			functions.VerifyCredentials = failing(on("VerifyCredentials"), original.VerifyCredentials)
		},
		APIs: func(original APIs, apis *APIs) {
			apis.SignUpPOST = failing(on("SignUpPOST"), original.SignUpPOST)
			apis.SignInPOST = failing(on("SignInPOST"), original.SignInPOST)
			apis.EmailExistsGET = failing(on("EmailExistsGET"), original.EmailExistsGET)
		},
	}})
	for way, want := range map[string]struct {
		status int
		body   string
	}{
		"error":   {500, internal},
		"panic":   {500, internal},
		"late":    {500, internal},
		"nobody":  {500, internal},
		"refusal": {200, `{"status":"NOT_TODAY"}`},
		"general": {200, `{"status":"GENERAL_ERROR","message":"Closed today"}`},
		"field":   {200, fieldErrors("email", "Not you")},
	} {
		for name, path := range map[string]string{
			"SignUp": "/signup", "CreateNewRecipeUser": "/signup", "SignUpPOST": "/signup",
			"SignIn": "/signin", "VerifyCredentials": "/signin", "SignInPOST": "/signin",
		} {
			s.reset()
			broken = ""
			if path == "/signin" {
				s.signUp(me)
				s.exec("DELETE FROM {p}sessions")
			}
			broken, how = name, way
			r := s.post(path, filled(me, password))
			refusedWith(t, r, want.status, want.body, name, way)
			if want.status == 500 && way != "nobody" {
				require.Contains(t, s.logged(), "hunter2", "%s %s", name, way)
			}
			require.NotContains(t, s.logged(), password, "G-02")
			sessions, users := 0, 1
			if way == "late" && strings.HasSuffix(name, "POST") {
				sessions = 1 // made before, and given to nobody
			}
			if name == "CreateNewRecipeUser" || path == "/signup" && way != "late" { // the first runs in the transaction of the sign-up
				users = 0
			}
			require.Equal(t, []int{sessions, users, users}, []int{
				s.db.Rows("sessions"), s.db.Rows("recipe_users"), s.db.Rows("emailpassword_credentials"),
			}, "%s %s", name, way)
		}

		broken, how = "EmailExistsGET", way
		if way == "nobody" {
			want.status, want.body = 200, `{"status":"OK","exists":false}`
		}
		refusedWith(t, s.send("GET", "/auth/emailpassword/email/exists?email="+me, ""), want.status, want.body, way)
	}
}

// The requirements of one user never open a session of another: a result whose login method is not the user's is a mistake.
func TestOverridesThatMixPeopleUp(t *testing.T) {
	t.Parallel()
	mistakes := map[string]func(ada, eve SignInResult) SignInResult{
		"another's login method": func(ada, eve SignInResult) SignInResult { return SignInResult{ada.User, eve.RecipeUserID} },
		"no login method":        func(ada, _ SignInResult) SignInResult { return SignInResult{User: ada.User} },
		"the id of nobody":       func(ada, _ SignInResult) SignInResult { return SignInResult{ada.User, "nobody"} },
		"a user without any": func(ada, _ SignInResult) SignInResult {
			return SignInResult{&accountlinking.User{ID: ada.User.ID}, ada.RecipeUserID}
		},
		"a user of no database": func(SignInResult, SignInResult) SignInResult {
			return SignInResult{&accountlinking.User{ID: "x", LoginMethods: []accountlinking.LoginMethod{{RecipeUserID: "x"}}}, "x"}
		},
		"another id": func(ada, eve SignInResult) SignInResult {
			forged := *ada.User
			forged.ID = eve.User.ID
			return SignInResult{&forged, ada.RecipeUserID}
		},
	}
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var returned SignInResult
		s := newSite(t, db, Config{Override: Override{Functions: func(_ Functions, functions *Functions) {
			functions.SignIn = func(context.Context, SignInInput) (SignInResult, error) { return returned, nil }
		}}})
		ada, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
		require.NoError(t, err)
		eve, err := s.recipe.SignUp(t.Context(), SignUpInput{Email: "eve@example.com", Password: password})
		require.NoError(t, err)
		for name, mix := range mistakes {
			returned = mix(ada, eve)
			r := s.post("/signin", filled(me, password))
			switch name {
			case "a user of no database":
				refusedWith(t, r, 200, wrongCredentials, name) // as if deleted
			case "another id":
				// What is stored is who it is, and the policy was asked about that one.
				require.True(t, r.Is("OK"), r.Body)
				require.Equal(t, ada.User.ID, r.JSON["user"].(map[string]any)["id"])
				require.Len(t, s.handles(me), 1)
				s.exec("DELETE FROM {p}sessions")
			default:
				refusedWith(t, r, 500, internal, name)
			}
			require.Zero(t, db.Rows("sessions"), name)
		}
	})
}

// An override of SignIn may decide who it is; the session is that user's, with that user's requirements.
func TestAnOverrideSignsInSomebodyElse(t *testing.T) {
	t.Parallel()
	var eve SignInResult
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{Functions: func(original Functions, functions *Functions) {
		functions.SignIn = func(ctx context.Context, in SignInInput) (SignInResult, error) {
			if _, err := original.SignIn(ctx, in); err != nil {
				return SignInResult{}, err
			}
			return eve, nil
		}
	}}})
	var err error
	eve, err = s.recipe.SignUp(t.Context(), SignUpInput{Email: "eve@example.com", Password: password})
	require.NoError(t, err)
	s.signUp(me)
	require.NoError(t, s.AddToRequiredSecondaryFactorsForUser(t.Context(), eve.User.ID, "my-factor"))
	c := s.client()
	require.True(t, c.SignIn(me, password).Is("OK"))
	require.Equal(t, eve.User.ID, c.UserID())
	require.False(t, c.V())
}

// An API that answers by itself has answered.
func TestAnAPIThatAnswersByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{APIs: func(_ APIs, apis *APIs) {
		apis.SignInPOST = func(_ context.Context, in SignInPOSTInput) (SignInPOSTResult, error) {
			in.Options.Response.WriteHeader(http.StatusTeapot)
			io.WriteString(in.Options.Response, "short and stout")
			return SignInPOSTResult{}, nil
		}
	}}})
	r := s.post("/signin", filled(me, password))
	require.Equal(t, []any{http.StatusTeapot, "short and stout"}, []any{r.Status, r.Body})
	require.NotContains(t, s.logged(), "level=ERROR")
}

// An override may call the original with an input of its own, with the tenant in any form.
func TestAnAPIWithAnInputOfItsOwn(t *testing.T) {
	t.Parallel()
	tenantID, email, secret := "", me, password
	change := func(in *SignInPOSTInput) {
		in.TenantID = tenantID
		in.FormFields = []Field{{"email", email}, {"password", secret}}
	}
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{APIs: func(original APIs, apis *APIs) {
		apis.SignUpPOST = func(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error) {
			changed := SignInPOSTInput(in)
			change(&changed)
			return original.SignUpPOST(ctx, SignUpPOSTInput(changed))
		}
		apis.SignInPOST = func(ctx context.Context, in SignInPOSTInput) (SignInPOSTResult, error) {
			change(&in)
			return original.SignInPOST(ctx, in)
		}
	}}})
	s.exec(`INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('acme', '{}', 0)`)
	for given, want := range map[string]string{"": "public", " Acme ": "acme"} {
		tenantID = given
		for _, path := range []string{"/signup", "/signin"} {
			r := s.post(path, filled("typed@example.com", "typed password 1"))
			require.True(t, r.Is("OK"), r.Body)
			user := r.JSON["user"].(map[string]any)
			require.Equal(t, []any{[]any{want}, []any{me}}, []any{user["tenantIds"], user["emails"]})
		}
	}
	for _, path := range []string{"/signup", "/signin"} {
		tenantID = "no tenant"
		refusedWith(t, s.post(path, filled(me, password)), 400, tenantNotFound)
		tenantID, email = "public", "a\xff"
		refusedWith(t, s.post(path, filled(me, password)), 400, `{"message":"Email must be valid UTF-8 without U+0000"}`)
		email = me
	}
	email, secret = "you@example.com", strings.Repeat("x", 1025)
	refusedWith(t, s.post("/signup", filled(me, password)), 200, fieldErrors("password", "Password must not be longer than 1024 bytes"))
	refusedWith(t, s.post("/signin", filled(me, password)), 200, wrongCredentials)
}

// A nil field switches its routes off: the host answers, or a mounted handler's 404.
func TestAPIsThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{APIs: func(_ APIs, apis *APIs) { *apis = APIs{} }}})
	for _, route := range []string{"POST /signup", "POST /signin", "GET /emailpassword/email/exists", "GET /signup/email/exists"} {
		for _, tenant := range []string{"", "/public"} {
			method, path := route[:4], route[5:]
			if method[3] == ' ' {
				method, path = route[:3], route[4:]
			}
			r := s.send(method, "/auth"+tenant+path+"?email="+me, filled(me, password))
			require.Equal(t, []any{404, "404 page not found\n"}, []any{r.Status, r.Body}, route)
		}
	}
	require.Zero(t, s.db.Rows("recipe_users"))

	only := newSite(t, storetest.Open(t, "memory"), Config{Override: Override{APIs: func(_ APIs, apis *APIs) { apis.SignUpPOST = nil }}})
	require.Equal(t, 404, only.post("/signup", filled(me, password)).Status)
	refusedWith(t, only.post("/signin", filled(me, password)), 200, wrongCredentials)
}
