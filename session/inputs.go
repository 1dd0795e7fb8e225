package session

import (
	"time"

	"github.com/stepup-auth/stepup/internal/canonical"
)

// CreateNewSessionInput is the input of Functions.CreateNewSession.
type CreateNewSessionInput struct {
	UserID                string // the person's
	RecipeUserID          RecipeUserID
	TenantID              string
	AccessTokenPayload    map[string]any
	SessionDataInDatabase map[string]any
}

// GetGlobalClaimValidatorsInput is the input of Functions.GetGlobalClaimValidators.
type GetGlobalClaimValidatorsInput struct {
	UserID                             string
	RecipeUserID                       RecipeUserID
	TenantID                           string
	ClaimValidatorsAddedByOtherRecipes []ClaimValidator // those of the configuration among them
}

// GetSessionInput is the input of Functions.GetSession.
type GetSessionInput struct {
	AccessToken string
	// Options: of a call that comes from a request, the checks that need it have been made, and AntiCSRFCheck is false. There is no request to look at
	// here, so a check that is asked for is an error unless Config.AntiCSRF is NONE.
	Options VerifyOptions
}

// RefreshSessionInput is the input of Functions.RefreshSession.
type RefreshSessionInput struct {
	RefreshToken string
	// DisableAntiCSRF says that the caller made the check that Config.AntiCSRF VIA_CUSTOM_HEADER asks for, or that the token did not come in a cookie.
	// Without it that setting makes the call an error, since there is no request to look at.
	DisableAntiCSRF bool
}

// GetSessionInformationInput is the input of Functions.GetSessionInformation.
type GetSessionInformationInput struct{ SessionHandle string }

// RevokeSessionInput is the input of Functions.RevokeSession.
type RevokeSessionInput struct{ SessionHandle string }

// GetAllSessionHandlesForUserInput: the zero values of the last two leave no session out.
type GetAllSessionHandlesForUserInput struct {
	UserID              string // of a person, or of one of their login methods
	OnlyThisLoginMethod bool   // leaves out the sessions of linked accounts
	OnlyTenantID        string // "": all tenants
}

// RevokeAllSessionsForUserInput is alike: a forgotten field revokes too much, never too little.
type RevokeAllSessionsForUserInput struct {
	UserID              string
	OnlyThisLoginMethod bool
	OnlyTenantID        string
}

// RevokeMultipleSessionsInput is the input of Functions.RevokeMultipleSessions.
type RevokeMultipleSessionsInput struct{ SessionHandles []string }

// UpdateSessionDataInDatabaseInput is the input of Functions.UpdateSessionDataInDatabase.
type UpdateSessionDataInDatabaseInput struct {
	SessionHandle string
	NewData       map[string]any
}

// MergeIntoAccessTokenPayloadInput is the input of Functions.MergeIntoAccessTokenPayload.
type MergeIntoAccessTokenPayloadInput struct {
	SessionHandle string
	Update        map[string]any // nil values delete; a protected name is a *ProtectedClaimError
}

// RegenerateAccessTokenInput is the input of Functions.RegenerateAccessToken.
type RegenerateAccessTokenInput struct {
	AccessToken           string         // its signature is checked, its expiry is not
	NewAccessTokenPayload map[string]any // replaces the stored payload; nil is an empty one
}

// RegenerateAccessTokenResult is the result of Functions.RegenerateAccessToken.
type RegenerateAccessTokenResult struct {
	AccessToken string // "" when the given token has expired: the payload is stored, the next refresh shows it
	Expiry      time.Time
}

// ValidateClaimsInput is the input of Functions.ValidateClaims.
type ValidateClaimsInput struct {
	UserID             string
	RecipeUserID       RecipeUserID
	AccessTokenPayload map[string]any // shared: not to be changed
	ClaimValidators    []ClaimValidator
}

// ValidateClaimsResult is the result of Functions.ValidateClaims.
type ValidateClaimsResult struct {
	InvalidClaims            []ClaimValidationError // in the order of the validators
	AccessTokenPayloadUpdate map[string]any         // the whole new payload; nil: nothing was fetched that changes it
}

// FetchAndSetClaimInput is the input of Functions.FetchAndSetClaim.
type FetchAndSetClaimInput struct {
	SessionHandle string
	Claim         Claim
}

// GetClaimValueInput is the input of Functions.GetClaimValue.
type GetClaimValueInput struct {
	SessionHandle string
	Claim         Claim
}

// RemoveClaimInput is the input of Functions.RemoveClaim.
type RemoveClaimInput struct {
	SessionHandle string
	Claim         Claim
}

// SetClaimValueInput is the input of Functions.SetClaimValue.
type SetClaimValueInput struct {
	SessionHandle string
	Claim         Claim
	Value         any
}

// CreateJWTInput is the input of Functions.CreateJWT.
type CreateJWTInput struct {
	Payload              map[string]any // iat and exp are set by the library; iss unless it is given
	Validity             time.Duration  // in whole seconds; default 100 years
	UseDynamicSigningKey bool           // one that rotates: the token must be verified before its key is gone
}

// GetJWKSInput is the input of Functions.GetJWKS.
type GetJWKSInput struct{}

// GetOpenIDDiscoveryConfigurationInput is the input of Functions.GetOpenIDDiscoveryConfiguration.
type GetOpenIDDiscoveryConfigurationInput struct{}

// JWKS is a set of public keys (RFC 7517).
type JWKS struct {
	Keys     []map[string]any `json:"keys"`
	Validity time.Duration    `json:"-"` // for Cache-Control; 0: none
}

// RefreshPOSTInput is the input of APIs.RefreshPOST.
type RefreshPOSTInput struct{ Options APIOptions }

// SignOutPOSTInput is the input of APIs.SignOutPOST.
type SignOutPOSTInput struct {
	Session *Session
	Options APIOptions
}

// GetJWKSGETInput is the input of APIs.GetJWKSGET.
type GetJWKSGETInput struct{ Options APIOptions }

// GetOpenIDDiscoveryConfigurationGETInput is the input of APIs.GetOpenIDDiscoveryConfigurationGET.
type GetOpenIDDiscoveryConfigurationGETInput struct{ Options APIOptions }

// VerifySessionInput is the input of APIs.VerifySession.
type VerifySessionInput struct {
	VerifyOptions VerifyOptions
	Options       APIOptions
}

// Information is a session as it stands in storage.
type Information struct {
	SessionHandle                    string
	UserID                           string // the person's, looked up now
	RecipeUserID                     RecipeUserID
	TenantID                         string
	TimeCreated                      time.Time
	Expiry                           time.Time // of the refresh token
	SessionDataInDatabase            map[string]any
	CustomClaimsInAccessTokenPayload map[string]any // without the claims that belong to the token

	stored canonical.Object // the payload with the texts of its row; nil where an override made the value
	static bool             // the kind of key that signs
}
