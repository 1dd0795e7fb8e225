package totp

import (
	"context"
	"strings"
)

// contact is what an account can be named after.
type contact struct{ recipeUserID, email, phone string }

func (r *Recipe) getUserIdentifierInfoForUserID(ctx context.Context, in GetUserIdentifierInfoForUserIDInput) (string, error) {
	if err := checkUserID(in.UserID); err != nil {
		return "", err
	}
	contacts, err := r.contacts(ctx, in.UserID)
	if err != nil {
		return "", err
	}
	return accountName(in.UserID, contacts), nil
}

// accountName prefers the login method that the user's id came from, and emails to phone numbers. An address that stands for none is no name.
func accountName(userID string, contacts []contact) string {
	var email, phone string
	for _, c := range contacts {
		address := c.email
		if isFakeEmail(address) {
			address = ""
		}
		if c.recipeUserID == userID {
			if address != "" {
				return address
			}
			if c.phone != "" {
				return c.phone
			}
		}
		if email == "" {
			email = address
		}
		if phone == "" {
			phone = c.phone
		}
	}
	if email != "" {
		return email
	}
	return phone
}

func isFakeEmail(email string) bool {
	email = strings.ToLower(strings.TrimSpace(email))
	return strings.HasSuffix(email, "@stfakeemail.supertokens.com") || strings.HasSuffix(email, ".fakeemail.com")
}
