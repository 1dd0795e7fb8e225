package totp

import (
	"cmp"
	"context"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/users"
)

func (r *Recipe) getUserIdentifierInfoForUserID(ctx context.Context, in GetUserIdentifierInfoForUserIDInput) (string, error) {
	if err := checkUserID(in.UserID); err != nil {
		return "", err
	}
	user, err := r.getUser(ctx, in.UserID)
	if err != nil {
		return "", err
	}
	return accountName(in.UserID, user.LoginMethods), nil
}

// accountName prefers the login method that the user's id came from, and emails to phone numbers. An address that stands for none is no name.
func accountName(userID string, methods []accountlinking.LoginMethod) string {
	var email, phone string
	for _, m := range methods {
		if users.IsFakeEmail(m.Email) {
			m.Email = ""
		}
		if string(m.RecipeUserID) == userID && (m.Email != "" || m.PhoneNumber != "") {
			return cmp.Or(m.Email, m.PhoneNumber)
		}
		email, phone = cmp.Or(email, m.Email), cmp.Or(phone, m.PhoneNumber)
	}
	return cmp.Or(email, phone)
}
