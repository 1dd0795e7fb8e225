package emailpassword

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// lm is a login method of a user; the order of a list is that of the days on which they joined, unless it says otherwise.
func lm(recipeID, id, email string, verified bool) accountlinking.LoginMethod {
	return accountlinking.LoginMethod{
		RecipeID: recipeID, RecipeUserID: accountlinking.RecipeUserID(id), AccountInfo: accountlinking.AccountInfo{Email: email}, Verified: verified,
	}
}

// The first address is the one that front ends use without asking.
func TestEmailsForFactors(t *testing.T) {
	t.Parallel()
	const ep, pl, tp = "emailpassword", "passwordless", "thirdparty"
	fakeA, fakeB := "a@stfakeemail.supertokens.com", "b@x.fakeemail.com"
	for name, c := range map[string]struct {
		methods []accountlinking.LoginMethod
		session string
		want    []string
	}{
		"its own":                          {[]accountlinking.LoginMethod{lm(ep, "1", "a", false)}, "1", []string{"a"}},
		"a code's address is none of them": {[]accountlinking.LoginMethod{lm(ep, "1", "a", false), lm(pl, "2", "b", true)}, "1", []string{"a"}},
		"the session's is none of them":    {[]accountlinking.LoginMethod{lm(ep, "1", "a", false), lm(pl, "2", "b", true)}, "2", []string{"a"}},
		"none with a password":             {[]accountlinking.LoginMethod{lm(tp, "1", "t", true), lm(pl, "2", "b", true), lm(pl, "3", "c", true)}, "1", []string{"t", "b", "c"}},
		"none with a password, a later one": {
			[]accountlinking.LoginMethod{lm(tp, "1", "t", true), lm(pl, "2", "b", true), lm(pl, "3", "c", true)}, "3", []string{"c", "t", "b"}},
		"verified ones first": {
			[]accountlinking.LoginMethod{lm(ep, "1", "x", false), lm(ep, "2", "y", true), lm(tp, "3", "t", true)}, "3", []string{"y", "x"}},
		"but the session's before them": {
			[]accountlinking.LoginMethod{lm(ep, "1", "y", true), lm(ep, "2", "x", false)}, "2", []string{"x", "y"}},
		"stand-ins last": {
			[]accountlinking.LoginMethod{lm(ep, "1", fakeA, true), lm(ep, "2", "x", false), lm(ep, "3", "y", true), lm(pl, "4", "z", true)}, "4", []string{"y", "x", fakeA}},
		"but the session's before them all": {
			[]accountlinking.LoginMethod{lm(ep, "1", fakeA, true), lm(ep, "2", "x", false), lm(ep, "3", "y", true)}, "1", []string{fakeA, "y", "x"}},
		"a real one beside stand-ins": {[]accountlinking.LoginMethod{lm(tp, "1", fakeA, true), lm(pl, "2", "b", true)}, "1", []string{"b"}},
		"stand-ins only":              {[]accountlinking.LoginMethod{lm(tp, "1", fakeA, true), lm(tp, "2", fakeB, true)}, "2", []string{fakeB, fakeA}},
		"no address":                  {[]accountlinking.LoginMethod{lm(pl, "r", "", true)}, "r", []string{"r@stfakeemail.supertokens.com"}},
		"no address of the session's": {[]accountlinking.LoginMethod{lm(pl, "r", "", true), lm(tp, "2", "t", true)}, "r", []string{"t"}},
		"one address, several times": {
			[]accountlinking.LoginMethod{lm(tp, "1", "a", true), lm(pl, "2", "a", true), lm(tp, "3", "b", true), lm(pl, "4", "b", true)}, "4", []string{"b", "a"}},
		"one address, with two passwords": {
			[]accountlinking.LoginMethod{lm(ep, "1", "a", false), lm(ep, "2", "a", true), lm(ep, "3", "b", false)}, "3", []string{"b", "a"}},
	} {
		for i := range c.methods {
			c.methods[i].TimeJoined = time.Date(2030, 1, 1+i, 0, 0, 0, 0, time.UTC)
		}
		user := &accountlinking.User{LoginMethods: c.methods}
		emails, err := emailsForFactors(t.Context(), user, accountlinking.RecipeUserID(c.session))
		require.NoError(t, err)
		require.Equal(t, map[factor.ID][]string{factor.EmailPassword: c.want}, emails, name)
	}

	// The oldest is first, in whatever order an override lists them, whose list stays as it is.
	methods := []accountlinking.LoginMethod{lm(ep, "2", "b", true), lm(ep, "1", "a", true)}
	methods[0].TimeJoined, methods[1].TimeJoined = time.Unix(2, 0), time.Unix(1, 0)
	emails, err := emailsForFactors(t.Context(), &accountlinking.User{LoginMethods: methods}, "none of these")
	require.NoError(t, err)
	require.Equal(t, map[factor.ID][]string{factor.EmailPassword: {"a", "b"}}, emails)
	require.EqualValues(t, "2", methods[0].RecipeUserID)
}

func TestFactorsOfLoginMethods(t *testing.T) {
	t.Parallel()
	mine, other := lm("emailpassword", "1", "a", false), lm("passwordless", "2", "b", true)
	for _, c := range []struct {
		methods []accountlinking.LoginMethod
		want    []factor.ID
	}{
		{[]accountlinking.LoginMethod{other, mine}, []factor.ID{"emailpassword"}},
		{[]accountlinking.LoginMethod{other}, nil},
	} {
		setUp, err := factorsSetUpForUser(t.Context(), &accountlinking.User{LoginMethods: c.methods})
		require.NoError(t, err)
		require.Equal(t, c.want, setUp)
	}
	require.Equal(t, []factor.ID{"emailpassword"}, firstFactorsOfLoginMethod(mine))
	require.Nil(t, firstFactorsOfLoginMethod(other))
}
