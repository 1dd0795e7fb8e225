package session

import "context"

// Override changes the tables. Each function gets the original by value and changes the table through the pointer. A call of original.F reaches the
// default; whatever is put into the table is what the library itself calls. Maps in inputs are private copies and not nil.
type Override struct {
	Functions func(original Functions, functions *Functions)
	APIs      func(original APIs, apis *APIs)
}

// Functions is what the recipe does. The ctx of each call carries the values of the request's ctx, and what overrides put there. All must be safe for
// concurrent use, and none may be nil.
type Functions struct {
	// CreateNewSession writes the session and makes its tokens. The payload has the claims already; a protected name in it is a *ProtectedClaimError.
	CreateNewSession func(ctx context.Context, in CreateNewSessionInput) (*Session, error)
	// GetGlobalClaimValidators gives the validators of every verified route, before what the route itself adds and skips.
	GetGlobalClaimValidators func(ctx context.Context, in GetGlobalClaimValidatorsInput) ([]ClaimValidator, error)
	// GetSession verifies an access token. nil without an error: there is none, and it is optional.
	GetSession func(ctx context.Context, in GetSessionInput) (*Session, error)
	// RefreshSession rotates the refresh token.
	RefreshSession func(ctx context.Context, in RefreshSessionInput) (*Session, error)
	// GetSessionInformation reads a session. Gone: ErrSessionDoesNotExist.
	GetSessionInformation func(ctx context.Context, in GetSessionInformationInput) (*Information, error)
	// GetAllSessionHandlesForUser lists the live sessions of a person.
	GetAllSessionHandlesForUser func(ctx context.Context, in GetAllSessionHandlesForUserInput) ([]string, error)
	// RevokeAllSessionsForUser ends the sessions of a person and returns their handles.
	RevokeAllSessionsForUser func(ctx context.Context, in RevokeAllSessionsForUserInput) ([]string, error)
	// RevokeSession ends a session; false: there was none.
	RevokeSession func(ctx context.Context, in RevokeSessionInput) (revoked bool, err error)
	// RevokeMultipleSessions ends sessions and returns the handles of those that there were.
	RevokeMultipleSessions func(ctx context.Context, in RevokeMultipleSessionsInput) ([]string, error)
	// UpdateSessionDataInDatabase replaces the data that only the server sees. Gone: ErrSessionDoesNotExist.
	UpdateSessionDataInDatabase func(ctx context.Context, in UpdateSessionDataInDatabaseInput) error
	// MergeIntoAccessTokenPayload changes keys of the stored payload. Clients see it after their next refresh. Gone: ErrSessionDoesNotExist.
	MergeIntoAccessTokenPayload func(ctx context.Context, in MergeIntoAccessTokenPayloadInput) error
	// RegenerateAccessToken stores a payload and makes an access token with it, which ends when the given one does. All changes that a *Session makes to
	// its payload come through here. When the stored payload turns out to be another than the token's, the original applies the change to that one
	// instead of NewAccessTokenPayload, so that nothing is lost. Gone: ErrSessionDoesNotExist.
	RegenerateAccessToken func(ctx context.Context, in RegenerateAccessTokenInput) (RegenerateAccessTokenResult, error)
	// ValidateClaims fetches what the validators want anew, and validates. It stores nothing.
	ValidateClaims func(ctx context.Context, in ValidateClaimsInput) (ValidateClaimsResult, error)
	// FetchAndSetClaim, SetClaimValue, GetClaimValue and RemoveClaim work on the stored payload. Gone: ErrSessionDoesNotExist.
	FetchAndSetClaim func(ctx context.Context, in FetchAndSetClaimInput) error
	SetClaimValue    func(ctx context.Context, in SetClaimValueInput) error
	GetClaimValue    func(ctx context.Context, in GetClaimValueInput) (value any, ok bool, err error)
	RemoveClaim      func(ctx context.Context, in RemoveClaimInput) error
	// CreateJWT signs a payload of the application's for others to verify. It is never taken for an access token.
	CreateJWT func(ctx context.Context, in CreateJWTInput) (string, error)
	// GetJWKS gives the public keys.
	GetJWKS func(ctx context.Context, in GetJWKSInput) (JWKS, error)
	// GetOpenIDDiscoveryConfiguration says where the keys are found.
	GetOpenIDDiscoveryConfiguration func(ctx context.Context, in GetOpenIDDiscoveryConfigurationInput) (map[string]any, error)
}

// APIs is what the recipe serves. A nil field switches its route off.
type APIs struct {
	// RefreshPOST is POST /session/refresh. It answers {} and the new tokens.
	RefreshPOST func(ctx context.Context, in RefreshPOSTInput) (*Session, error)
	// SignOutPOST is POST /signout.
	SignOutPOST func(ctx context.Context, in SignOutPOSTInput) error
	// GetJWKSGET is GET /jwt/jwks.json.
	GetJWKSGET func(ctx context.Context, in GetJWKSGETInput) (JWKS, error)
	// GetOpenIDDiscoveryConfigurationGET is GET /.well-known/openid-configuration.
	GetOpenIDDiscoveryConfigurationGET func(ctx context.Context, in GetOpenIDDiscoveryConfigurationGETInput) (map[string]any, error)
	// VerifySession has no route: it is what the VerifySession middleware calls. It must not be nil.
	VerifySession func(ctx context.Context, in VerifySessionInput) (*Session, error)
}
