package session

// RecipeUserID is the id of one login method; a plain string is the id of a person.
type RecipeUserID string

// PublicTenant is the tenant that always exists. Where a tenant id is taken, "" means it.
const PublicTenant = "public"
