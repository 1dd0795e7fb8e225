package users

import "strings"

// NormaliseEmail gives the form in which addresses are compared, stored and counted: trimmed and in lower case, nothing else.
func NormaliseEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// NormalisePhone gives the same for phone numbers. Without a recipe that reads them it is the trimmed text.
func NormalisePhone(phone string) string { return strings.TrimSpace(phone) }

const fakeDomain = "@stfakeemail.supertokens.com"

// FakeEmail is the address of a person who has none, by an id that is unique.
func FakeEmail(id string) string { return NormaliseEmail(id + fakeDomain) }

// IsFakeEmail reports whether an address, in any form, stands for none.
func IsFakeEmail(email string) bool {
	email = NormaliseEmail(email)
	return strings.HasSuffix(email, fakeDomain) || strings.HasSuffix(email, ".fakeemail.com")
}
