package accountlinking

import (
	"context"

	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/tenantid"
	"github.com/stepup-auth/stepup/internal/users"
	"github.com/stepup-auth/stepup/session"
)

func badInput(problem string) error { return &session.BadInputError{Message: problem} }

func (r *Recipe) getUser(ctx context.Context, in GetUserInput) (*User, error) {
	if p := input.UserID("userId", in.UserID); p != "" {
		return nil, badInput(p)
	}
	group, err := users.Get(ctx, r.env.Store, in.UserID)
	if err != nil {
		return nil, err
	}
	if group == nil {
		return nil, ErrUnknownUserID
	}
	return NewUser(group), nil
}

func (r *Recipe) listUsersByAccountInfo(ctx context.Context, in ListUsersByAccountInfoInput) ([]*User, error) {
	tenantID, ok := tenantid.Normalise(in.TenantID)
	if !ok {
		return nil, session.ErrTenantNotFound
	}
	info, err := normalise(in.AccountInfo)
	if err != nil {
		return nil, err
	}
	groups, known, err := users.List(ctx, r.env.Store, tenantID, info)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, session.ErrTenantNotFound
	}
	found := make([]*User, 0, len(groups))
	for _, group := range groups {
		if in.DoUnionOfAccountInfo || hasAll(group, info) {
			found = append(found, NewUser(group))
		}
	}
	return found, nil
}

// normalise gives the account info as it is stored. White space alone is no address and no number.
func normalise(in AccountInfo) (users.Info, error) {
	for _, text := range []struct{ field, value string }{{"email", in.Email}, {"phoneNumber", in.PhoneNumber}} {
		if p := input.Text(text.field, text.value); p != "" {
			return users.Info{}, badInput(p)
		}
	}
	info := users.Info{Email: users.NormaliseEmail(in.Email), Phone: users.NormalisePhone(in.PhoneNumber)}
	if in.ThirdParty == nil {
		return info, nil
	}
	info.ThirdPartyID, info.ThirdPartyUserID = in.ThirdParty.ID, in.ThirdParty.UserID
	if info.ThirdPartyID == "" || info.ThirdPartyUserID == "" {
		return users.Info{}, badInput("thirdParty needs both the id of the provider and that of the user")
	}
	if p := input.Text("thirdParty", info.ThirdPartyID+info.ThirdPartyUserID); p != "" {
		return users.Info{}, badInput(p)
	}
	return info, nil
}

// hasAll reports whether each given value is in some login method of the group.
func hasAll(group *users.Group, want users.Info) bool {
	email, phone, thirdParty := want.Email == "", want.Phone == "", want.ThirdPartyID == ""
	for _, m := range group.Members {
		email = email || m.Email == want.Email
		phone = phone || m.Phone == want.Phone
		thirdParty = thirdParty || m.ThirdPartyID == want.ThirdPartyID && m.ThirdPartyUserID == want.ThirdPartyUserID
	}
	return email && phone && thirdParty
}
