package accountlinking

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

// RecipeUserID is the id of one login method.
type RecipeUserID = session.RecipeUserID

// User is one person: a primary user with all its login methods, or one login method that is not linked.
type User struct {
	// ID is that of the primary user, which survives the login method it came from, or of the only login method.
	ID            string
	IsPrimaryUser bool
	TenantIDs     []string // of all login methods; may be empty
	Emails        []string // without repeats, in the order of the login methods, as all these lists
	PhoneNumbers  []string
	ThirdParty    []ThirdPartyInfo
	LoginMethods  []LoginMethod // oldest first
	TimeJoined    time.Time     // of the oldest login method
}

// LoginMethod is one recipe user: a password, a social account, an address or phone number that takes codes.
type LoginMethod struct {
	AccountInfo
	RecipeID     string // emailpassword, thirdparty, passwordless or host
	RecipeUserID RecipeUserID
	TenantIDs    []string // its own only, sorted; may be empty
	// Verified: the email is; without an email, true for a phone number.
	Verified   bool
	TimeJoined time.Time
}

// HasSameEmailAs compares with an address in any form: white space around it and the case do not matter. "" is never the same.
func (l LoginMethod) HasSameEmailAs(email string) bool {
	return l.Email != "" && users.NormaliseEmail(email) == l.Email
}

// HasSamePhoneNumberAs compares with a phone number; white space around it does not matter. "" is never the same.
func (l LoginMethod) HasSamePhoneNumberAs(phone string) bool {
	return l.PhoneNumber != "" && users.NormalisePhone(phone) == l.PhoneNumber
}

// HasSameThirdPartyInfoAs compares both ids; white space around them does not matter.
func (l LoginMethod) HasSameThirdPartyInfoAs(info ThirdPartyInfo) bool {
	return l.ThirdParty != nil && *l.ThirdParty == ThirdPartyInfo{strings.TrimSpace(info.ID), strings.TrimSpace(info.UserID)}
}

// AccountInfo is what a login method is known by. Absent is "" and nil.
type AccountInfo struct {
	Email       string          `json:"email,omitempty"`       // trimmed and in lower case where it is stored
	PhoneNumber string          `json:"phoneNumber,omitempty"` // E.164 where passwordless reads numbers, else trimmed
	ThirdParty  *ThirdPartyInfo `json:"thirdParty,omitempty"`
}

// ThirdPartyInfo is a provider's id and the id of the user there.
type ThirdPartyInfo struct {
	ID     string `json:"id"`
	UserID string `json:"userId"`
}

// NewUser makes the user of a group, for the recipes of this module. It shares nothing with the group.
func NewUser(g *users.Group) *User {
	u := &User{ID: g.ID, IsPrimaryUser: g.IsPrimary, TimeJoined: g.TimeJoined(), LoginMethods: make([]LoginMethod, 0, len(g.Members))}
	for _, row := range g.Members {
		method := LoginMethod{
			AccountInfo:  AccountInfo{Email: row.Email, PhoneNumber: row.Phone},
			RecipeID:     row.RecipeID,
			RecipeUserID: RecipeUserID(row.UserID),
			TenantIDs:    slices.Clone(row.TenantIDs),
			Verified:     row.EmailVerified || row.Email == "" && row.Phone != "",
			TimeJoined:   row.TimeJoined,
		}
		if row.ThirdPartyID != "" {
			method.ThirdParty = &ThirdPartyInfo{ID: row.ThirdPartyID, UserID: row.ThirdPartyUserID}
			u.ThirdParty = appendNew(u.ThirdParty, *method.ThirdParty)
		}
		for _, id := range row.TenantIDs {
			u.TenantIDs = appendNew(u.TenantIDs, id)
		}
		if row.Email != "" {
			u.Emails = appendNew(u.Emails, row.Email)
		}
		if row.Phone != "" {
			u.PhoneNumbers = appendNew(u.PhoneNumbers, row.Phone)
		}
		u.LoginMethods = append(u.LoginMethods, method)
	}
	return u
}

func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// MarshalJSON writes the user as APIs send it: times in milliseconds since the epoch, lists never null.
func (u User) MarshalJSON() ([]byte, error) {
	type webauthn struct {
		CredentialIDs []string `json:"credentialIds"`
	}
	return json.Marshal(struct {
		ID            string           `json:"id"`
		IsPrimaryUser bool             `json:"isPrimaryUser"`
		TenantIDs     []string         `json:"tenantIds"`
		Emails        []string         `json:"emails"`
		PhoneNumbers  []string         `json:"phoneNumbers"`
		ThirdParty    []ThirdPartyInfo `json:"thirdParty"`
		WebAuthn      webauthn         `json:"webauthn"` // front ends read it; nothing here fills it
		LoginMethods  []LoginMethod    `json:"loginMethods"`
		TimeJoined    int64            `json:"timeJoined"`
	}{
		u.ID, u.IsPrimaryUser, list(u.TenantIDs), list(u.Emails), list(u.PhoneNumbers), list(u.ThirdParty), webauthn{[]string{}},
		list(u.LoginMethods), u.TimeJoined.UnixMilli(),
	})
}

// MarshalJSON writes the login method as it stands in a user. What is absent is left out.
func (l LoginMethod) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		RecipeID     string       `json:"recipeId"`
		RecipeUserID RecipeUserID `json:"recipeUserId"`
		TenantIDs    []string     `json:"tenantIds"`
		AccountInfo
		Verified   bool  `json:"verified"`
		TimeJoined int64 `json:"timeJoined"`
	}{l.RecipeID, l.RecipeUserID, list(l.TenantIDs), l.AccountInfo, l.Verified, l.TimeJoined.UnixMilli()})
}

// list makes a list that is never null in JSON.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
