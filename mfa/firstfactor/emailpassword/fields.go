package emailpassword

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stepup-auth/stepup/internal/email"
	"github.com/stepup-auth/stepup/session"
)

// Ids of the two fields that every form has.
const (
	emailField    = "email"
	passwordField = "password"
)

// Texts that front ends translate: each is a key of their tables.
const (
	invalidEmail     = "Email is invalid"
	emailIsTaken     = "This email already exists. Please sign in instead."
	missingField     = "Field is not optional"
	passwordTooShort = "Password must contain at least 8 characters, including a number"
	passwordTooLong  = "Password's length must be lesser than 100 characters"
	passwordNoLetter = "Password must contain at least one alphabet"
	passwordNoDigit  = "Password must contain at least one number"
)

// FormField is a field of the sign-up form.
type FormField struct {
	ID string
	// Validate returns what is wrong with a value, to be shown under the field, or "". An err is a 500. nil accepts anything, and for email and
	// password means the default checks. A value that is no JSON string is given as its JSON text.
	Validate func(ctx context.Context, value, tenantID string) (problem string, err error)
	Optional bool // for email and password it has no meaning: they never are
}

// Field is a value that was sent for a field of a form: the email trimmed, all others as they came. A value that is no JSON string is its JSON
// text, null is "".
type Field struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// FieldProblem says what is wrong with a field, in words for the user.
type FieldProblem struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// FieldError is FIELD_ERROR: front ends show each problem under its field. Overrides of SignUpPOST may return one of their own.
type FieldError struct{ FormFields []FieldProblem }

// Error is for logs; front ends get the problems.
func (e *FieldError) Error() string {
	problems := make([]string, len(e.FormFields))
	for i, p := range e.FormFields {
		problems[i] = p.ID + ": " + p.Error
	}
	return "field error: " + strings.Join(problems, "; ")
}

// Refusal is FIELD_ERROR with the problems.
func (e *FieldError) Refusal() (string, map[string]any) {
	return "FIELD_ERROR", map[string]any{"formFields": append([]FieldProblem{}, e.FormFields...)}
}

// form is the fields that a route takes.
type form []FormField

// newSignUpForm is the configured form with email and password in it. refuse adds what hashing demands of a password.
func newSignUpForm(configured []FormField, refuse func(password string) (problem string)) (form, []error) {
	f := slices.Clone(configured)
	for _, id := range []string{passwordField, emailField} {
		if !slices.ContainsFunc(f, func(field FormField) bool { return field.ID == id }) {
			f = append(f, FormField{ID: id})
		}
	}
	var errs []error
	seen := map[string]bool{}
	for i := range f {
		switch f[i].ID {
		case "":
			errs = append(errs, fmt.Errorf("emailpassword: Config.SignUpFormFields[%d] has no ID", i))
		case emailField:
			f[i] = FormField{ID: emailField, Validate: emailValidator(f[i].Validate)}
		case passwordField:
			f[i] = FormField{ID: passwordField, Validate: newPasswordValidator(f[i].Validate, refuse)}
		}
		if seen[f[i].ID] {
			errs = append(errs, fmt.Errorf("emailpassword: Config.SignUpFormFields has %q twice", f[i].ID))
		}
		seen[f[i].ID] = true
	}
	return f, errs
}

// signInForm is email and password, in the order of the sign-up form; any password that is not empty will do.
func (f form) signInForm() form {
	var fields form
	for _, field := range f {
		switch field.ID {
		case emailField:
			fields = append(fields, field)
		case passwordField:
			fields = append(fields, FormField{ID: passwordField})
		}
	}
	return fields
}

func emailValidator(validate func(ctx context.Context, value, tenantID string) (string, error)) func(context.Context, string, string) (string, error) {
	return func(ctx context.Context, value, tenantID string) (string, error) {
		switch {
		case len(value) > email.MaxBytes:
			return invalidEmail, nil
		case validate != nil:
			return validate(ctx, value, tenantID)
		case !email.Valid(value):
			return invalidEmail, nil
		}
		return "", nil
	}
}

func newPasswordValidator(
	validate func(ctx context.Context, value, tenantID string) (string, error), refuse func(string) string,
) func(context.Context, string, string) (string, error) {
	return func(ctx context.Context, value, tenantID string) (problem string, err error) {
		if validate != nil {
			problem, err = validate(ctx, value, tenantID)
		} else {
			problem = passwordProblem(value)
		}
		if problem == "" && err == nil {
			problem = refuse(value)
		}
		return problem, err
	}
}

// passwordProblem is the default policy, the one that the stock front ends check as well: lengths are UTF-16 units, as theirs, and their
// search for a letter or a digit stops at the end of a line.
func passwordProblem(password string) string {
	oneLine := !strings.ContainsAny(password, "\n\r\u2028\u2029")
	units := 0
	letter, digit := false, false
	for _, r := range password {
		units++
		if r > 0xFFFF {
			units++
		}
		letter = letter || oneLine && ('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
		digit = digit || oneLine && '0' <= r && r <= '9'
	}
	switch {
	case units < 8:
		return passwordTooShort
	case units >= 100:
		return passwordTooLong
	case !letter:
		return passwordNoLetter
	case !digit:
		return passwordNoDigit
	}
	return ""
}

// check reads the member formFields of a body and applies the form to it: a *session.BadInputError where the program that sent it is at fault,
// a *FieldError where the person is.
func (f form) check(ctx context.Context, tenantID string, formFields json.RawMessage) ([]Field, error) {
	fields, err := parseFields(formFields)
	if err != nil {
		return nil, err
	}
	if len(fields) > len(f) {
		return nil, badInput("Are you sending too many formFields?")
	}
	// A repeated id would show an override a value that nothing has checked.
	for i, field := range fields {
		if !f.has(field.ID) || slices.ContainsFunc(fields[:i], func(other Field) bool { return other.ID == field.ID }) {
			return nil, badInput("formFields must hold the configured fields only, each of them once")
		}
	}
	var problems []FieldProblem
	for _, configured := range f {
		problem, err := configured.problem(ctx, tenantID, valueOf(fields, configured.ID))
		if err != nil {
			return nil, err
		}
		if problem != "" {
			problems = append(problems, FieldProblem{ID: configured.ID, Error: problem})
		}
	}
	if len(problems) > 0 {
		return nil, &FieldError{FormFields: problems}
	}
	return fields, nil
}

func (f form) has(id string) bool {
	return slices.ContainsFunc(f, func(field FormField) bool { return field.ID == id })
}

func (f FormField) problem(ctx context.Context, tenantID, value string) (string, error) {
	switch {
	case value == "" && !f.Optional:
		return missingField, nil
	case value == "" || f.Validate == nil:
		return "", nil
	}
	return f.Validate(ctx, value, tenantID)
}

// valueOf returns the value of a field, "" when it was not given.
func valueOf(fields []Field, id string) string {
	for _, field := range fields {
		if field.ID == id {
			return field.Value
		}
	}
	return ""
}

// parseFields reads a list of objects with the members id and value.
func parseFields(formFields json.RawMessage) ([]Field, error) {
	if formFields == nil {
		return nil, badInput("Missing input param: formFields")
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(formFields, &elements); err != nil || elements == nil {
		return nil, badInput("formFields must be an array")
	}
	fields := make([]Field, len(elements))
	for i, element := range elements {
		var err error
		if fields[i], err = parseField(element); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func parseField(element json.RawMessage) (Field, error) {
	var members map[string]json.RawMessage // names match exactly, unlike those of a struct
	if err := json.Unmarshal(element, &members); err != nil || members == nil {
		return Field{}, badInput("All elements of formFields must be an object")
	}
	id, idIsString := asString(members["id"])
	value, given := members["value"]
	if !idIsString || !given {
		return Field{}, badInput("All elements of formFields must contain an 'id' and 'value' field")
	}
	text, valueIsString := asString(value)
	switch {
	case !valueIsString && (id == emailField || id == passwordField):
		return Field{}, badInput(id + " value must be a string")
	case id == emailField:
		text = strings.TrimSpace(text)
	case !valueIsString && string(value) != "null":
		text = string(value)
	}
	return Field{ID: id, Value: text}, nil
}

func asString(raw json.RawMessage) (text string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

func badInput(message string) error { return &session.BadInputError{Message: message} }
