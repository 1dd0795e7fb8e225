// Every way to say who must do what, each a function that can be unit tested (main_test.go). The program is a place to try them: it asks a policy about
// a session and says what is next.
//
//	go run ./examples/requirements                                                 # all policies, after the password
//	go run ./examples/requirements -policy mixed -completed emailpassword,totp
//	go run ./examples/requirements -policy default-plus -roles admin -user otp-email
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
)

var policies = map[string]mfa.GetMFARequirementsForAuthFunc{
	"totp-for-all":        totpForAll,
	"any-one-of":          anyOneOf,
	"all-of":              allOf,
	"ordered":             ordered,
	"ordered-by-progress": orderedByProgress,
	"mixed":               mixed,
	"tenants-list":        allOfTheTenants,
	"users-list":          allOfTheUsers,
	"only-what-is-set-up": onlyWhatIsSetUp,
	"default-plus":        decorated(defaultPlusTOTPForAdmins),
}

type input = mfa.GetMFARequirementsForAuthInput

func totpForAll(ctx context.Context, in input) (factor.Requirements, error) {
	return factor.Requirements{factor.TOTP}, nil
}

func anyOneOf(ctx context.Context, in input) (factor.Requirements, error) {
	return factor.Requirements{factor.OneOf{factor.TOTP, factor.OTPEmail}}, nil
}

func allOf(ctx context.Context, in input) (factor.Requirements, error) {
	return factor.Requirements{factor.AllOfInAnyOrder{factor.TOTP, factor.OTPEmail}}, nil
}

// ordered: the items of a list are asked for one after the other.
func ordered(ctx context.Context, in input) (factor.Requirements, error) {
	return factor.Requirements{factor.TOTP, factor.OTPEmail}, nil
}

// orderedByProgress answers by what the session has done. A list is shorter; this can choose what comes next.
func orderedByProgress(ctx context.Context, in input) (factor.Requirements, error) {
	if !in.CompletedFactors.Has(factor.TOTP) {
		return factor.Requirements{factor.TOTP}, nil
	}
	return factor.Requirements{factor.OTPEmail}, nil
}

func mixed(ctx context.Context, in input) (factor.Requirements, error) {
	return factor.Requirements{factor.TOTP, factor.OneOf{factor.OTPEmail, factor.OTPPhone}}, nil
}

func allOfTheTenants(ctx context.Context, in input) (factor.Requirements, error) {
	list, err := in.RequiredSecondaryFactorsForTenant(ctx)
	if err != nil {
		return nil, err // never "no second factor" because the database was away
	}
	return factor.Requirements{factor.AllOfInAnyOrder(list)}, nil
}

func allOfTheUsers(ctx context.Context, in input) (factor.Requirements, error) {
	list, err := in.RequiredSecondaryFactorsForUser(ctx)
	if err != nil {
		return nil, err
	}
	return factor.Requirements{factor.AllOfInAnyOrder(list)}, nil
}

// onlyWhatIsSetUp asks for a factor of the user's list only once it is set up, so nobody has to set one up during a sign-in.
func onlyWhatIsSetUp(ctx context.Context, in input) (factor.Requirements, error) {
	wanted, err := in.RequiredSecondaryFactorsForUser(ctx)
	if err != nil {
		return nil, err
	}
	setUp, err := in.FactorsSetUpForUser(ctx)
	if err != nil {
		return nil, err
	}
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(id factor.ID) bool { return !slices.Contains(setUp, id) })
	return factor.Requirements{factor.OneOf(wanted)}, nil // an empty OneOf asks for nothing
}

// defaultPlusTOTPForAdmins adds to the library's default. It is an override, because it needs the original: mfa.Config.Override.Functions.
func defaultPlusTOTPForAdmins(original mfa.Functions, functions *mfa.Functions) {
	functions.GetMFARequirementsForAuth = func(ctx context.Context, in input) (factor.Requirements, error) {
		list, err := original.GetMFARequirementsForAuth(ctx, in)
		if err != nil {
			return nil, err
		}
		roles, err := in.Roles(ctx)
		if err != nil {
			return nil, err
		}
		if slices.Contains(roles, "admin") {
			list = append(list, factor.TOTP)
		}
		return list, nil
	}
}

// decorated gives an override an original to decorate, as mfa.New does with the library's default: here any one of the user's list.
func decorated(override func(original mfa.Functions, functions *mfa.Functions)) mfa.GetMFARequirementsForAuthFunc {
	original := mfa.Functions{GetMFARequirementsForAuth: func(ctx context.Context, in input) (factor.Requirements, error) {
		list, err := in.RequiredSecondaryFactorsForUser(ctx)
		return factor.Requirements{factor.OneOf(list)}, err
	}}
	functions := original
	override(original, &functions)
	return functions.GetMFARequirementsForAuth
}

// try asks a policy about a session and writes what it answers.
func try(ctx context.Context, out io.Writer, name string, in input) error {
	requirements, err := policies[name](ctx, in)
	if err != nil {
		return err
	}
	list, err := json.Marshal(requirements)
	if err != nil {
		return err
	}
	next := "nothing: v is true"
	if open := requirements.Next(in.CompletedFactors); open != nil {
		text, err := json.Marshal(factor.Requirements{open})
		if err != nil {
			return err
		}
		next = string(text)
	}
	_, err = fmt.Fprintf(out, "%-20s asks for %s\n%-20s next is %s\n", name, list, "", next)
	return err
}

func ids(list string) []factor.ID {
	var out []factor.ID
	for _, id := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		out = append(out, factor.ID(id))
	}
	return out
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("requirements", flag.ContinueOnError)
	flags.SetOutput(out)
	policy := flags.String("policy", "", "one of "+strings.Join(slices.Sorted(maps.Keys(policies)), ", ")+"; default all")
	completed := flags.String("completed", "emailpassword", "factors completed in the session, separated by commas")
	setUp := flags.String("set-up", "emailpassword", "factors that are set up")
	user := flags.String("user", "totp,otp-email", "factors required for the user")
	tenant := flags.String("tenant", "totp,otp-email", "factors required for the tenant")
	roles := flags.String("roles", "", "roles of the user")
	if err := flags.Parse(args); err != nil {
		return err
	}
	in := input{
		TenantID:                          "public",
		CompletedFactors:                  factor.Completed{},
		FactorsSetUpForUser:               mfa.Value(ids(*setUp)),
		RequiredSecondaryFactorsForUser:   mfa.Value(ids(*user)),
		RequiredSecondaryFactorsForTenant: mfa.Value(ids(*tenant)),
		Roles:                             mfa.Value(strings.Split(*roles, ",")),
	}
	for _, id := range ids(*completed) {
		in.CompletedFactors[id] = time.Now()
	}
	if *policy == "" {
		for _, name := range slices.Sorted(maps.Keys(policies)) {
			if err := try(ctx, out, name, in); err != nil {
				return err
			}
		}
		return nil
	}
	if policies[*policy] == nil {
		return fmt.Errorf("no policy %q", *policy)
	}
	return try(ctx, out, *policy, in)
}

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}
