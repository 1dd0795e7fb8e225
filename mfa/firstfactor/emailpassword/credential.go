package emailpassword

import (
	"context"
	"sync"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/store"
)

var (
	// The version of the user goes with the hash: a new password raises it.
	getCredential = store.SQL("credential.get", `SELECT c.password_hash, u.version
FROM {p}emailpassword_credentials c JOIN {p}recipe_users u ON u.user_id = c.user_id WHERE c.user_id = $1`)
	insertCredential = store.SQL("credential.insert", `INSERT INTO {p}emailpassword_credentials (user_id, password_hash) VALUES ($1, $2)`)
	// The same password in another form, so the version stays; only while nobody has set another.
	rehashCredential = store.SQL("credential.rehash",
		`UPDATE {p}emailpassword_credentials SET password_hash = $2 WHERE user_id = $1 AND password_hash = $3`)
)

// credential is the stored hash of a login method, and the version of the user that it belongs to.
type credential struct {
	recipeUserID accountlinking.RecipeUserID
	hash         string
	version      int64
}

// credentialOf reads the hash of a login method. "" is nobody's id: the statement runs all the same, as it does for people who exist.
func (r *Recipe) credentialOf(ctx context.Context, id accountlinking.RecipeUserID) (c credential, found bool, err error) {
	c.recipeUserID = id
	found, err = r.env.Store.Row(ctx, getCredential, []any{string(id)}, &c.hash, &c.version)
	return c, found, err
}

// verification is what one request knows about the password that came with it. The API puts it into ctx, and the functions that it calls leave
// there what their results cannot say. So a password that was found right for the API is not hashed once more for SignIn, and the session can be
// bound to the version that was read with the hash.
type verification struct {
	mu         sync.Mutex
	in         VerifyCredentialsInput
	result     SignInResult
	accepted   bool
	credential credential // of the last right password; the zero value where an override judged it by itself
}

type verificationKey struct{}

// withVerification begins a request.
func withVerification(ctx context.Context) (context.Context, *verification) {
	v := &verification{}
	return context.WithValue(ctx, verificationKey{}, v), v
}

func verificationFrom(ctx context.Context) *verification {
	v, _ := ctx.Value(verificationKey{}).(*verification)
	return v
}

// recall returns whose password it is if this very input was accepted before.
func (v *verification) recall(in VerifyCredentialsInput) (SignInResult, bool) {
	if v == nil {
		return SignInResult{}, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.result, v.accepted && v.in == in
}

// accept remembers the judgement of Functions.VerifyCredentials.
func (v *verification) accept(in VerifyCredentialsInput, result SignInResult) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.in, v.result, v.accepted = in, result, true
}

// matched remembers the credential that a password matched.
func (v *verification) matched(c credential) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.credential = c
}

// credentialOf returns what is known of the login method's credential, the zero value where the library has seen none.
func (v *verification) credentialOf(id accountlinking.RecipeUserID) credential {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.credential.recipeUserID != id {
		return credential{}
	}
	return v.credential
}

// version is the one to which a session of the login method must be bound, 0 where the library has seen no hash.
func (v *verification) version(id accountlinking.RecipeUserID) int64 {
	return v.credentialOf(id).version
}
