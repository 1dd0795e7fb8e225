// Package tenantid knows the form of tenant ids.
package tenantid

import (
	"fmt"
	"strings"
)

// Public is the tenant that always exists, and what "" means.
const Public = "public"

const maxLength = 64

// Normalise gives the form in which an id is looked up. ok false: no tenant can have it.
func Normalise(id string) (normal string, ok bool) {
	if id == "" {
		return Public, true
	}
	normal, problem := Check(id)
	return normal, problem == ""
}

// Check is Normalise for an id of which a tenant is about to be made. problem says why it cannot be.
func Check(id string) (normal, problem string) {
	id = strings.ToLower(strings.TrimSpace(id))
	switch {
	case id == "":
		return "", "tenantId should not be an empty String"
	case reserved[id]:
		return "", fmt.Sprintf("Cannot use '%s' as a tenantId", id)
	case strings.HasPrefix(id, "appid-"):
		return "", "tenantId must not start with 'appid-'"
	case strings.ContainsFunc(id, outside):
		return "", "tenantId can only contain letters, numbers and hyphens"
	case len(id) > maxLength:
		return "", fmt.Sprintf("tenantId must not be longer than %d characters", maxLength)
	}
	return id, ""
}

func outside(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}

// reserved are words of the protocol, and the first path segments of all routes that this module has or will have: behind the base path stands
// either one of them or a tenant.
var reserved = map[string]bool{
	"recipe": true, "config": true, "users": true, "hello": true,
	"session": true, "signout": true, "jwt": true, "signup": true, "signin": true, "signinup": true, "user": true, "emailpassword": true,
	"passwordless": true, "authorisationurl": true, "callback": true, "mfa": true, "totp": true, "loginmethods": true,
}
