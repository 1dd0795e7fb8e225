// Package emailpassword is sign-up and sign-in with an email address and a password: a first factor, and a second one for people who began with
// another.
//
//	auth, err := mfa.New(ctx, mfa.Config{
//		Factors: []mfa.Factor{emailpassword.New(emailpassword.Config{})},
//		...
//	})
//
// Passwords are hashed by argon2id, a bounded number at a time; hashes of other programs go on working (see [Hashing]). Whoever guesses has to
// wait, for known and unknown addresses alike (mfa.Config.Limits.Guesses), and a stranger learns nothing from how a wrong password is answered.
//
// What the recipe does is in [Functions], what it serves in [APIs]; [Override] changes both. A function that a host calls by itself, such as
// [Recipe.SignIn], makes no session: that is what the APIs add.
package emailpassword

import (
	"context"
	"errors"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/flow"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/table"
)

// recipeID is the id of the recipe, of its login methods and of its factor.
const recipeID = "emailpassword"

// Config of the recipe. How often passwords may be guessed is mfa.Config.Limits.
type Config struct {
	// SignUpFormFields are those of the sign-up form, in the order of its errors. Email and password are added where they are missing, with
	// the checks that the stock front ends make too.
	SignUpFormFields []FormField
	Hashing          Hashing
	// CheckPassword refuses a password at sign-up that the form let pass, such as one that leaked: problem is shown to the user, "" is none, an
	// err is a 500. Nothing is called by default.
	CheckPassword func(ctx context.Context, tenantID, email, password string) (problem string, err error)
	Override      Override
}

// Override changes the tables. Each function gets the original by value and changes the table through the pointer.
type Override struct {
	Functions func(original Functions, functions *Functions)
	APIs      func(original APIs, apis *APIs)
}

// New makes the recipe. It works once it was given to mfa.New in Config.Factors; before, its methods return an error.
func New(cfg Config) *Recipe { return &Recipe{cfg: cfg} }

// Recipe is the handle, safe for concurrent use. Its methods go through the overridden table.
type Recipe struct {
	cfg        Config
	env        *env.Env // nil until attached
	flow       *flow.Flow
	users      *accountlinking.Recipe
	hasher     *hasher
	limit      *limits.Passwords
	signUpForm form
	signInForm form
	functions  Functions
}

var errNotAttached = errors.New("emailpassword: the recipe belongs to no instance: give it to mfa.New in Config.Factors")

// attach makes the recipe part of an instance, or reports all mistakes of its configuration.
func (r *Recipe) attach(e *env.Env, users *accountlinking.Recipe, guesses limits.Guesses) error {
	hasher, errs := newHasher(r.cfg.Hashing, e.Random)
	form, formErrs := newSignUpForm(r.cfg.SignUpFormFields, func(password string) string { return hasher.refuse(password) })
	errs = append(errs, formErrs...)
	functions := table.Override(Functions{
		SignUp:              r.signUp,
		CreateNewRecipeUser: r.createNewRecipeUser,
		SignIn:              r.signIn,
		VerifyCredentials:   r.verifyCredentials,
	}, r.cfg.Override.Functions)
	errs = append(errs, table.Missing(functions, "emailpassword: Config.Override.Functions")...)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	r.env, r.users, r.hasher, r.limit = e, users, hasher, limits.NewPasswords(e, guesses)
	r.signUpForm, r.signInForm = form, form.signInForm()
	r.functions = functions
	return nil
}

// bind puts the instance into ctx, at the door of every method.
func (r *Recipe) bind(ctx context.Context) (context.Context, error) {
	if r.env == nil {
		return nil, errNotAttached
	}
	return r.env.Bind(ctx), nil
}
