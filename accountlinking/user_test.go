package accountlinking_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/users"
)

func TestUserJSON(t *testing.T) {
	t.Parallel()
	user := accountlinking.NewUser(&users.Group{
		ID: "gone", IsPrimary: true, Tombstone: true,
		Members: []users.Row{
			{UserID: "b", RecipeID: "thirdparty", Email: "b@example.com", EmailVerified: true, ThirdPartyID: "google", ThirdPartyUserID: "<1>",
				TimeJoined: time.UnixMilli(5), TenantIDs: []string{"t2", "z"}},
			{UserID: "a", RecipeID: "passwordless", Email: "a@example.com", Phone: "+36701234123", TimeJoined: time.UnixMilli(7),
				TenantIDs: []string{"public", "t2"}},
			{UserID: "c", RecipeID: "host", Phone: "+36701234123", TimeJoined: time.UnixMilli(7)},
			{UserID: "d", RecipeID: "emailpassword", Email: "a@example.com", TimeJoined: time.UnixMilli(9)},
		},
	})
	text, err := json.MarshalIndent(user, "", " ")
	require.NoError(t, err)
	require.Equal(t, `{
 "id": "gone",
 "isPrimaryUser": true,
 "tenantIds": [
  "t2",
  "z",
  "public"
 ],
 "emails": [
  "b@example.com",
  "a@example.com"
 ],
 "phoneNumbers": [
  "+36701234123"
 ],
 "thirdParty": [
  {
   "id": "google",
   "userId": "\u003c1\u003e"
  }
 ],
 "webauthn": {
  "credentialIds": []
 },
 "loginMethods": [
  {
   "recipeId": "thirdparty",
   "recipeUserId": "b",
   "tenantIds": [
    "t2",
    "z"
   ],
   "email": "b@example.com",
   "thirdParty": {
    "id": "google",
    "userId": "\u003c1\u003e"
   },
   "verified": true,
   "timeJoined": 5
  },
  {
   "recipeId": "passwordless",
   "recipeUserId": "a",
   "tenantIds": [
    "public",
    "t2"
   ],
   "email": "a@example.com",
   "phoneNumber": "+36701234123",
   "verified": false,
   "timeJoined": 7
  },
  {
   "recipeId": "host",
   "recipeUserId": "c",
   "tenantIds": [],
   "phoneNumber": "+36701234123",
   "verified": true,
   "timeJoined": 7
  },
  {
   "recipeId": "emailpassword",
   "recipeUserId": "d",
   "tenantIds": [],
   "email": "a@example.com",
   "verified": false,
   "timeJoined": 9
  }
 ],
 "timeJoined": 5
}`, string(text))
}

func TestUserJSONHasNoNull(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(accountlinking.User{ID: "u", TimeJoined: time.UnixMilli(1)})
	require.NoError(t, err)
	require.Equal(t, `{"id":"u","isPrimaryUser":false,"tenantIds":[],"emails":[],"phoneNumbers":[],"thirdParty":[],`+
		`"webauthn":{"credentialIds":[]},"loginMethods":[],"timeJoined":1}`, string(text))
}

// O-08
func TestComparisons(t *testing.T) {
	t.Parallel()
	method := accountlinking.LoginMethod{AccountInfo: accountlinking.AccountInfo{
		Email: "test@example.com", PhoneNumber: "+36701234123", ThirdParty: &accountlinking.ThirdPartyInfo{ID: "google", UserID: "G1"},
	}}
	for email, same := range map[string]bool{
		"test@example.com": true, " Test@Example.COM\t": true, "": false, " ": false, "test@example.org": false, "te\xffst@example.com": false,
	} {
		require.Equal(t, same, method.HasSameEmailAs(email), "%q", email)
	}
	for phone, same := range map[string]bool{
		"+36701234123": true, " \t+36701234123 ": true, "": false, "36701234123": false, "0036701234123": false, "06701234123": false,
		"p36701234123": false,
	} {
		require.Equal(t, same, method.HasSamePhoneNumberAs(phone), "%q", phone)
	}
	for info, same := range map[accountlinking.ThirdPartyInfo]bool{
		{ID: "google", UserID: "G1"}: true, {ID: " google ", UserID: "\tG1"}: true, {ID: "google", UserID: "g1"}: false, {ID: "google"}: false, {}: false,
	} {
		require.Equal(t, same, method.HasSameThirdPartyInfoAs(info), "%v", info)
	}
	var none accountlinking.LoginMethod
	require.False(t, none.HasSameEmailAs(""))
	require.False(t, none.HasSamePhoneNumberAs(""))
	require.False(t, none.HasSameThirdPartyInfoAs(accountlinking.ThirdPartyInfo{}))
}

func TestVerified(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		row  users.Row
		want bool
	}{
		"an email that is not":    {users.Row{Email: "a@x.org"}, false},
		"one that is":             {users.Row{Email: "a@x.org", EmailVerified: true}, true},
		"a phone":                 {users.Row{Phone: "+1"}, true},
		"a phone beside an email": {users.Row{Email: "a@x.org", Phone: "+1"}, false},
		"neither":                 {users.Row{}, false},
	} {
		user := accountlinking.NewUser(&users.Group{ID: "u", Members: []users.Row{c.row}})
		require.Equal(t, c.want, user.LoginMethods[0].Verified, name)
	}
}
