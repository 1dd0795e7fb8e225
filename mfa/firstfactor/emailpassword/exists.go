package emailpassword

import (
	"context"

	"github.com/stepup-auth/stepup/session"
)

// EmailExistsGETInput is the address in question, in any form.
type EmailExistsGETInput struct {
	Email, TenantID string
	Options         session.APIOptions
}

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
