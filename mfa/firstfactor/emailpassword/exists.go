package emailpassword

import "context"

// APIs is what the recipe serves. A field that an override sets to nil switches its route off.
type APIs struct {
	// EmailExistsGET tells the sign-up form, and anybody else, whether an address is taken, as a sign-up does too.
	EmailExistsGET func(ctx context.Context, in EmailExistsGETInput) (ExistsResult, error)
}

// EmailExistsGETInput is the address in question, in any form.
type EmailExistsGETInput struct{ Email, TenantID string }

// ExistsResult is the answer.
type ExistsResult struct {
	Exists bool `json:"exists"`
}

// emailExistsGET is the default of APIs.EmailExistsGET.
func (r *Recipe) emailExistsGET(ctx context.Context, in EmailExistsGETInput) (ExistsResult, error) {
	tenantID, email, err := normalise(in.TenantID, in.Email, "")
	if err != nil {
		return ExistsResult{}, err
	}
	who, err := r.find(ctx, tenantID, email)
	return ExistsResult{Exists: who.User != nil}, err
}
