package emailpassword

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
)

// What is wrong with the form, in order, at both routes that have one. The program that sent it is told by a 400, the person by FIELD_ERROR.
func TestFormsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		for _, c := range []struct{ fields, problem string }{
			{``, "Missing input param: formFields"},
			{`"formfields":[]`, "Missing input param: formFields"},
			{`"formFields":null`, "formFields must be an array"},
			{`"formFields":{}`, "formFields must be an array"},
			{`"formFields":"x"`, "formFields must be an array"},
			{`"formFields":[1,2,3]`, "All elements of formFields must be an object"},
			{`"formFields":[null]`, "All elements of formFields must be an object"},
			{`"formFields":[{"id":"email","value":1},[]]`, "email value must be a string"},
			{`"formFields":[{}]`, "All elements of formFields must contain an 'id' and 'value' field"},
			{`"formFields":[{"id":1,"value":"x"}]`, "All elements of formFields must contain an 'id' and 'value' field"},
			{`"formFields":[{"ID":"email","value":"x"}]`, "All elements of formFields must contain an 'id' and 'value' field"},
			{`"formFields":[{"id":"email"}]`, "All elements of formFields must contain an 'id' and 'value' field"},
			{`"formFields":[{"id":"email","value":null}]`, "email value must be a string"},
			{`"formFields":[{"id":"password","value":["x"]}]`, "password value must be a string"},
			{`"formFields":[{"id":"email","value":"x"},{"id":"password","value":"x"},{"id":"name","value":"x"}]`, "Are you sending too many formFields?"},
			{`"formFields":[{"id":"email","value":"x"},{"id":"name","value":"x"}]`, "formFields must hold the configured fields only, each of them once"},
			{`"formFields":[{"id":"email","value":"x"},{"id":"email","value":"y"}]`, "formFields must hold the configured fields only, each of them once"},
		} {
			for _, path := range []string{"/signup", "/signin"} {
				text, err := json.Marshal(map[string]string{"message": c.problem})
				require.NoError(t, err)
				refusedWith(t, s.post(path, "{"+c.fields+"}"), 400, string(text), path, c.fields)
			}
		}

		const missing, invalid = "Field is not optional", "Email is invalid"
		for _, c := range []struct{ email, password, signUp, signIn string }{
			{"", "", fieldErrors("password", missing, "email", missing), ""},
			{" \t", "", fieldErrors("password", missing, "email", missing), ""},
			{"a@b.c", "x", fieldErrors("password", "Password must contain at least 8 characters, including a number", "email", invalid), fieldErrors("email", invalid)},
			{me, strings.Repeat("x1", 50), fieldErrors("password", "Password's length must be lesser than 100 characters"), wrongCredentials},
			{me, "12345678", fieldErrors("password", "Password must contain at least one alphabet"), wrongCredentials},
			{me, "abcdefgh", fieldErrors("password", "Password must contain at least one number"), wrongCredentials},
			{me, "abcdefg1\n", fieldErrors("password", "Password must contain at least one alphabet"), wrongCredentials},
			{`"quoted"@example.com`, password, fieldErrors("email", invalid), ""},
			{strings.Repeat("x", 243) + "@example.com", password, fieldErrors("email", invalid), ""},
		} {
			if c.signIn == "" {
				c.signIn = c.signUp
			}
			refusedWith(t, s.post("/signup", filled(c.email, c.password)), 200, c.signUp, c)
			refusedWith(t, s.post("/signin", filled(c.email, c.password)), 200, c.signIn, c)
		}
		require.Zero(t, db.Rows("recipe_users"))
		require.Zero(t, db.Rows("sessions"))

		// The order of the answer is that of the form, the order of what was sent does not matter.
		r := s.post("/signup", `{"formFields":[{"id":"password","value":"  d3    "},{"id":"email","value":" `+me+`\n"}]}`)
		require.True(t, r.Is("OK"), r.Body)
		require.True(t, s.post("/signin", filled(me, "  d3    ")).Is("OK"), "passwords are not trimmed")
		refusedWith(t, s.post("/signin", filled(me, "d3")), 200, wrongCredentials)
	})
}

// I-01: what is no JSON, or holds text that no database can keep, is a 400 and changes nothing.
func TestTextOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, Config{})
		before := db.Dump()
		db.Probe.Reset()
		for _, body := range []string{
			filled("a\x00b@example.com", password), filled(me, "right\x00password 1"),
			strings.Replace(filled(me, password), "right", "right\xff", 1), strings.Replace(filled(me, password), "me@", "\xc3\x28@", 1),
			strings.Replace(filled(me, password), "right", `\ud800`, 1),
			`{"formFields":[],"formFields":[]}`, `{"formFields":[{"id":"email","id":"password","value":"x"}]}`, `{`, `null`,
		} {
			for _, path := range []string{"/signup", "/signin"} {
				r := s.post(path, body)
				require.Equal(t, 400, r.Status, "%s %q: %s", path, body, r.Body)
				require.Contains(t, r.JSON["message"], "API input error: Please make sure to pass a valid JSON input in the request body")
			}
		}
		for query, message := range map[string]string{
			"?email=%ff": "Email must be valid UTF-8 without U+0000", "?email=a%00": "Email must be valid UTF-8 without U+0000",
		} {
			refusedWith(t, s.send("GET", "/auth/emailpassword/email/exists"+query, ""), 400, `{"message":"`+message+`"}`)
		}
		require.Zero(t, db.Probe.Count())
		require.Equal(t, before, db.Dump())
		require.Zero(t, s.hashes.Load())
	})
}

// Fields of the host's own reach the API as they were sent, each judged in the order of the configuration, on sign-up alone.
func TestFormFieldsOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		var got []Field
		var tenants []string
		s := newSite(t, db, Config{
			SignUpFormFields: []FormField{
				{ID: "name"},
				{ID: "email", Validate: func(_ context.Context, value, tenantID string) (string, error) {
					tenants = append(tenants, tenantID)
					if !strings.HasSuffix(strings.ToLower(value), "@acme.example") {
						return "Only for Acme", nil
					}
					return "", nil
				}},
				{ID: "nickname", Optional: true, Validate: func(_ context.Context, value, _ string) (string, error) {
					if value == "broken" {
						return "", fmt.Errorf("no dictionary")
					}
					return map[bool]string{true: "Too rude"}[value == "rude"], nil
				}},
				{ID: "terms"},
			},
			Override: Override{APIs: func(original APIs, apis *APIs) {
				apis.SignUpPOST = func(ctx context.Context, in SignUpPOSTInput) (SignInPOSTResult, error) {
					got = in.FormFields
					return original.SignUpPOST(ctx, in)
				}
			}},
		})
		fields := func(pairs ...string) string {
			var list []string
			for i := 0; i < len(pairs); i += 2 {
				list = append(list, fmt.Sprintf(`{"id":%q,"value":%s}`, pairs[i], pairs[i+1]))
			}
			return `{"formFields":[` + strings.Join(list, ",") + `]}`
		}
		refusedWith(t, s.post("/signup", fields("nickname", `"rude"`, "email", `"x@example.com"`, "terms", `""`, "name", `null`)), 200, fieldErrors(
			"name", "Field is not optional", "email", "Only for Acme", "nickname", "Too rude", "terms", "Field is not optional", "password", "Field is not optional"))
		whole := func(nickname string) string {
			return fields("email", `" X@Acme.example "`, "password", `"`+password+`"`, "terms", `true`, "name", `{"first":"Ada", "last":null}`, "nickname", nickname)
		}
		refusedWith(t, s.post("/signup", whole(`"broken"`)), 500, internal)
		require.Contains(t, s.logged(), "no dictionary")
		require.Zero(t, db.Rows("recipe_users"))
		require.Nil(t, got, "the API is not asked about a form that is refused")

		require.True(t, s.post("/signup", whole(`""`)).Is("OK"))
		require.Equal(t, []Field{
			{"email", "X@Acme.example"}, {"password", password}, {"terms", "true"}, {"name", `{"first":"Ada","last":null}`}, {"nickname", ""},
		}, got)
		require.Equal(t, []string{"public", "public", "public"}, tenants)

		require.True(t, s.post("/signin", filled("x@acme.example", password)).Is("OK"))
		refusedWith(t, s.post("/signin", filled("x@example.com", password)), 200, fieldErrors("email", "Only for Acme"))
		refusedWith(t, s.post("/signin", fields("email", `"x@acme.example"`, "name", `"x"`)), 400,
			`{"message":"formFields must hold the configured fields only, each of them once"}`)
	})
}

// The hook on new passwords: its words are those of the field; it is not asked about a form that is refused, nor at a sign-in.
func TestCheckPasswordOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		asked := 0
		s := newSite(t, db, Config{CheckPassword: func(ctx context.Context, tenantID, email, password string) (string, error) {
			asked++
			assert.NotNil(t, mfa.FromContext(ctx))
			assert.Equal(t, []string{"public", me}, []string{tenantID, email})
			switch password {
			case "password1":
				return "This password has leaked", nil
			case "password2":
				return "", fmt.Errorf("list unavailable")
			case "password3":
				panic("list broken")
			}
			return "", nil
		}})
		refusedWith(t, s.post("/signup", filled("Me@Example.com", "password1")), 200, fieldErrors("password", "This password has leaked"))
		refusedWith(t, s.post("/signup", filled(me, "password2")), 500, internal)
		refusedWith(t, s.post("/signup", filled(me, "password3")), 500, internal)
		require.Equal(t, 3, asked)
		refusedWith(t, s.post("/signup", filled("nonsense", "password1")), 200, fieldErrors("email", "Email is invalid"))
		require.Equal(t, 3, asked)
		require.Zero(t, s.hashes.Load())
		require.Zero(t, db.Rows("recipe_users"))
		s.signUp(me)
		require.Equal(t, 4, asked)
		refusedWith(t, s.post("/signin", filled(me, "password1")), 200, wrongCredentials)
		require.Equal(t, 4, asked)
		require.NotContains(t, s.logged(), "password1")
	})
}

// A password that only hashing refuses is the person's to mend, too.
func TestPasswordTooLongForTheHash(t *testing.T) {
	t.Parallel()
	hashing := cheap
	hashing.Algorithm = Bcrypt
	anything := FormField{ID: passwordField, Validate: func(context.Context, string, string) (string, error) { return "", nil }}
	s := newSite(t, storetest.Open(t, "memory"), Config{Hashing: hashing, SignUpFormFields: []FormField{anything}})
	long := strings.Repeat("ü", 37)
	refusedWith(t, s.post("/signup", filled(me, long)), 200, fieldErrors("password", "Password must not be longer than 72 bytes"))
	refusedWith(t, s.post("/signin", filled(me, long)), 200, wrongCredentials)
	require.True(t, s.post("/signup", filled(me, "x")).Is("OK"), "a validator of the host's replaces the default one")
	require.True(t, s.post("/signin", filled(me, "x")).Is("OK"))
	refusedWith(t, s.post("/signin", filled(me, strings.Repeat("x", 1025))), 200, wrongCredentials)
}
