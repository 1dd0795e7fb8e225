package emailpassword

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/session"
)

func TestDefaultPasswordPolicy(t *testing.T) {
	t.Parallel()
	for password, problem := range map[string]string{
		"password1":                      "",
		"  d3    ":                       "", // not trimmed
		"ÄÖÜäöü a1":                      "",
		"🔑🔑🔑a1":                          "", // 8 UTF-16 units
		strings.Repeat("a", 98) + "1":    "",
		"":                               "Password must contain at least 8 characters, including a number",
		"passwd1":                        "Password must contain at least 8 characters, including a number",
		"🔑🔑a12":                          "Password must contain at least 8 characters, including a number",
		strings.Repeat("a", 99) + "1":    "Password's length must be lesser than 100 characters",
		strings.Repeat("🔑", 49) + "a1":   "Password's length must be lesser than 100 characters",
		"12345678":                       "Password must contain at least one alphabet",
		"ÄÖÜÄÖÜÄÖÜ1":                     "Password must contain at least one alphabet",
		"password":                       "Password must contain at least one number",
		"passwort٣":                      "Password must contain at least one number", // a digit, but not of ASCII
		"password\n1":                    "Password must contain at least one alphabet",
		"password1\r":                    "Password must contain at least one alphabet",
		"\u2028password1":                "Password must contain at least one alphabet",
		"pass\u2029word1":                "Password must contain at least one alphabet",
		"password\u00851\v":              "", // ends no line
		"\n\n\n\n\n\n\n":                 "Password must contain at least 8 characters, including a number",
		"1234567\n":                      "Password must contain at least one alphabet",
		strings.Repeat("1", 100) + "\n":  "Password's length must be lesser than 100 characters",
		strings.Repeat("\u00e4", 7) + "": "Password must contain at least 8 characters, including a number",
	} {
		assert.Equal(t, problem, passwordProblem(password), "%q", password)
	}
}

func noBounds(string) string { return "" }

func newTestForm(t *testing.T, fields ...FormField) form {
	t.Helper()
	f, errs := newSignUpForm(fields, noBounds)
	require.Empty(t, errs)
	return f
}

func ids(f form) []string {
	var all []string
	for _, field := range f {
		all = append(all, field.ID)
	}
	return all
}

// The order of a form decides the order of its errors, and so which one is read first.
func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		configured, signUp, signIn []string
	}{
		{nil, []string{"password", "email"}, []string{"password", "email"}},
		{[]string{"name"}, []string{"name", "password", "email"}, []string{"password", "email"}},
		{[]string{"email", "name"}, []string{"email", "name", "password"}, []string{"email", "password"}},
		{[]string{"email", "age", "password"}, []string{"email", "age", "password"}, []string{"email", "password"}},
	} {
		var fields []FormField
		for _, id := range c.configured {
			fields = append(fields, FormField{ID: id, Optional: true})
		}
		f := newTestForm(t, fields...)
		assert.Equal(t, c.signUp, ids(f))
		assert.Equal(t, c.signIn, ids(f.signInForm()))
		for _, field := range f {
			assert.Equal(t, field.ID != "email" && field.ID != "password", field.Optional, "%s is never optional", field.ID)
		}
	}

	_, errs := newSignUpForm([]FormField{{ID: "age"}, {}, {ID: "email"}, {ID: "age"}, {ID: "email"}}, noBounds)
	assert.EqualError(t, errors.Join(errs...), strings.Join([]string{
		"emailpassword: Config.SignUpFormFields[1] has no ID",
		`emailpassword: Config.SignUpFormFields has "age" twice`,
		`emailpassword: Config.SignUpFormFields has "email" twice`,
	}, "\n"))
}

// I-01: what a program sends wrongly is a 400 with a text that says what.
func TestMalformedFormFields(t *testing.T) {
	t.Parallel()
	signUp := newTestForm(t, FormField{ID: "age", Optional: true})
	const email, password = `{"id":"email","value":"a@b.co"}`, `{"id":"password","value":"password1"}`
	const unexpected = "formFields must hold the configured fields only, each of them once"
	for body, message := range map[string]string{
		"":                                      "Missing input param: formFields",
		`null`:                                  "formFields must be an array",
		`"email"`:                               "formFields must be an array",
		`{"id":"email"}`:                        "formFields must be an array",
		`7`:                                     "formFields must be an array",
		`["email"]`:                             "All elements of formFields must be an object",
		`[null]`:                                "All elements of formFields must be an object",
		`[[]]`:                                  "All elements of formFields must be an object",
		`[` + email + `,7]`:                     "All elements of formFields must be an object",
		`[{}]`:                                  "All elements of formFields must contain an 'id' and 'value' field",
		`[{"id":"email"}]`:                      "All elements of formFields must contain an 'id' and 'value' field",
		`[{"value":"a@b.co"}]`:                  "All elements of formFields must contain an 'id' and 'value' field",
		`[{"id":7,"value":"a@b.co"}]`:           "All elements of formFields must contain an 'id' and 'value' field",
		`[{"id":null,"value":"a@b.co"}]`:        "All elements of formFields must contain an 'id' and 'value' field",
		`[{"Id":"email","value":"a@b.co"}]`:     "All elements of formFields must contain an 'id' and 'value' field",
		`[{"id":"email","VALUE":"a@b.co"}]`:     "All elements of formFields must contain an 'id' and 'value' field",
		`[{"id":"email","value":7}]`:            "email value must be a string",
		`[{"id":"email","value":null}]`:         "email value must be a string",
		`[{"id":"password","value":["p"]}]`:     "password value must be a string",
		`[{"id":"password","value":{"a":1}},7]`: "password value must be a string", // the first element that is wrong
		`[` + strings.Repeat(email+",", 3) + `7]`:                                         "All elements of formFields must be an object",
		`[` + email + `,` + password + `,{"id":"age","value":"7"},{"id":"x","value":""}]`: "Are you sending too many formFields?",
		`[` + email + `,` + email + `,` + email + `,` + email + `]`:                       "Are you sending too many formFields?",
		`[` + email + `,` + password + `,{"id":"x","value":"y"}]`:                         unexpected,
		`[` + email + `,` + password + `,` + password + `]`:                               unexpected,
		`[{"id":"","value":""}]`:                                                          unexpected,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			var raw json.RawMessage
			if body != "" {
				raw = json.RawMessage(body)
			}
			_, err := signUp.check(t.Context(), "public", raw)
			var bad *session.BadInputError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, message, bad.Message)
		})
	}

	_, err := signUp.signInForm().check(t.Context(), "public", json.RawMessage(`[`+email+`,`+password+`,{"id":"age","value":"7"}]`))
	assert.EqualError(t, err, "Are you sending too many formFields?")
}

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	custom := func(ctx context.Context, value, tenantID string) (string, error) {
		if value == "refused" {
			return "refused on " + tenantID, nil
		}
		return "", nil
	}
	form := newTestForm(t, FormField{ID: "name", Validate: custom}, FormField{ID: "email"}, FormField{ID: "age", Validate: custom, Optional: true})
	for _, c := range []struct {
		name, body string
		problems   []FieldProblem
		fields     []Field
	}{
		{"nothing", `[]`, []FieldProblem{{"name", "Field is not optional"}, {"email", "Field is not optional"}, {"password", "Field is not optional"}}, nil},
		{"empty", `[{"id":"name","value":null},{"id":"email","value":"  "},{"id":"age","value":""},{"id":"password","value":""}]`,
			[]FieldProblem{{"name", "Field is not optional"}, {"email", "Field is not optional"}, {"password", "Field is not optional"}}, nil},
		{"each of them wrong", `[{"id":"age","value":"refused"},{"id":"password","value":"short"},{"id":"email","value":"a@b"},{"id":"name","value":"refused"}]`,
			[]FieldProblem{{"name", "refused on acme"}, {"email", "Email is invalid"}, {"age", "refused on acme"},
				{"password", "Password must contain at least 8 characters, including a number"}}, nil},
		{"right", `[{"id":"password","value":" password1 "},{"id":"email","value":"\t Me@B.co\n"},{"id":"name","value":" n "}]`, nil,
			[]Field{{"password", " password1 "}, {"email", "Me@B.co"}, {"name", " n "}}},
		{"values that are no texts", `[{"id":"email","value":"a@b.co"},{"id":"password","value":"password1"},{"id":"name","value":{"first": "A"}},{"id":"age","value":42.0}]`,
			nil, []Field{{"email", "a@b.co"}, {"password", "password1"}, {"name", `{"first": "A"}`}, {"age", "42.0"}}},
		{"unknown members of an element", `[{"id":"email","value":"a@b.co","Value":7},{"id":"password","value":"password1"},{"id":"name","value":true}]`,
			nil, []Field{{"email", "a@b.co"}, {"password", "password1"}, {"name", "true"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fields, err := form.check(t.Context(), "acme", json.RawMessage(c.body))
			if c.problems == nil {
				require.NoError(t, err)
				assert.Equal(t, c.fields, fields)
				return
			}
			var fieldError *FieldError
			require.ErrorAs(t, err, &fieldError)
			assert.Equal(t, c.problems, fieldError.FormFields)
			assert.Nil(t, fields)
		})
	}
}

func TestFieldErrorOnTheWire(t *testing.T) {
	t.Parallel()
	status, members := (&FieldError{FormFields: []FieldProblem{{"email", "Email is invalid"}}}).Refusal()
	assert.Equal(t, "FIELD_ERROR", status)
	text, err := json.Marshal(members)
	require.NoError(t, err)
	assert.JSONEq(t, `{"formFields":[{"id":"email","error":"Email is invalid"}]}`, string(text))

	_, members = (&FieldError{}).Refusal()
	text, err = json.Marshal(members)
	require.NoError(t, err)
	assert.JSONEq(t, `{"formFields":[]}`, string(text), "never null")
}

// A validator of the host replaces the default one, but not what storage and hashing cannot do.
func TestValidatorsOfTheHost(t *testing.T) {
	t.Parallel()
	anything := func(context.Context, string, string) (string, error) { return "", nil }
	tooLong := func(password string) string {
		if len(password) > 10 {
			return "too long"
		}
		return ""
	}
	form, errs := newSignUpForm([]FormField{{ID: "email", Validate: anything}, {ID: "password", Validate: anything}}, tooLong)
	require.Empty(t, errs)
	check := func(email, password string) error {
		body, err := json.Marshal([]Field{{"email", email}, {"password", password}})
		require.NoError(t, err)
		_, err = form.check(t.Context(), "public", body)
		return err
	}
	require.NoError(t, check("me", "p"))
	require.NoError(t, check(strings.Repeat("m", 254), "p"))
	assert.EqualError(t, check(strings.Repeat("m", 255), "p"), "field error: email: Email is invalid")
	assert.EqualError(t, check("me", strings.Repeat("p", 11)), "field error: password: too long")

	broken := errors.New("directory unavailable")
	form, errs = newSignUpForm([]FormField{{ID: "password", Validate: func(context.Context, string, string) (string, error) { return "x", broken }}}, tooLong)
	require.Empty(t, errs)
	require.ErrorIs(t, check("me@b.co", "p"), broken)

	t.Run("sign-in", func(t *testing.T) {
		t.Parallel()
		form := newTestForm(t, FormField{ID: "email", Validate: anything}).signInForm()
		fields, err := form.check(t.Context(), "public", json.RawMessage(`[{"id":"email","value":"me"},{"id":"password","value":"x"}]`))
		require.NoError(t, err)
		assert.Equal(t, []Field{{"email", "me"}, {"password", "x"}}, fields)
		_, err = newTestForm(t).signInForm().check(t.Context(), "public", json.RawMessage(`[{"id":"email","value":"me"},{"id":"password","value":""}]`))
		assert.EqualError(t, err, "field error: password: Field is not optional; email: Email is invalid")
	})
}
