package emailpassword

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/accountlinking"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func TestSignUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		result, err := b.SignUp(t.Context(), SignUpInput{Email: " Me@Example.com\n", Password: "  d3    "})
		require.NoError(t, err)
		id := string(result.RecipeUserID)
		assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
		joined := time.UnixMilli(b.now.Load()).UTC()
		assert.Equal(t, &accountlinking.User{
			ID: id, TenantIDs: []string{"public"}, Emails: []string{me}, TimeJoined: joined,
			LoginMethods: []accountlinking.LoginMethod{{
				AccountInfo: accountlinking.AccountInfo{Email: me}, RecipeID: "emailpassword", RecipeUserID: result.RecipeUserID,
				TenantIDs: []string{"public"}, TimeJoined: joined,
			}},
		}, result.User)
		stored, err := b.users.GetUser(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, result.User, stored)
		assert.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$`, b.hashOf(t, result.RecipeUserID))
		require.NoError(t, b.verify(t.Context(), me, "  d3    "))

		before := db.Dump()
		_, err = b.SignUp(t.Context(), SignUpInput{Email: "ME@example.com", Password: password})
		require.ErrorIs(t, err, ErrEmailAlreadyExists)
		_, err = b.SignUp(t.Context(), SignUpInput{Email: "you@example.com", Password: password, TenantID: "acme"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		_, err = b.SignUp(t.Context(), SignUpInput{Email: "you@example.com", Password: password, TenantID: "no tenant"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		assert.Equal(t, before, db.Dump(), "a refusal leaves nothing behind")
	})
}

func TestFakeEmailIsVerified(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	result := b.mustSignUp(t, "7@STFakeEmail.supertokens.com")
	assert.True(t, result.User.LoginMethods[0].Verified)
	assert.False(t, b.mustSignUp(t, me).User.LoginMethods[0].Verified)
}

func TestPasswordsThatCannotBeHashed(t *testing.T) {
	t.Parallel()
	cfg := cheap
	cfg.Algorithm = Bcrypt
	b := newBundle(t, storetest.Open(t, "memory"), Config{Hashing: cfg})
	for range 2 {
		_, err := b.SignUp(t.Context(), SignUpInput{Email: me, Password: strings.Repeat("x", 73)})
		var violated *PasswordPolicyViolatedError
		require.ErrorAs(t, err, &violated)
		status, fields := violated.Refusal()
		assert.Equal(t, "PASSWORD_POLICY_VIOLATED_ERROR", status)
		assert.Equal(t, map[string]any{"failureReason": "Password must not be longer than 72 bytes"}, fields)
		_, err = b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: me, Password: strings.Repeat("x", 73)})
		require.ErrorAs(t, err, &violated)
	}
	_, err := b.SignUp(t.Context(), SignUpInput{Email: me})
	assert.EqualError(t, err, "Password must not be empty")
	_, err = b.SignUp(t.Context(), SignUpInput{Email: me, Password: strings.Repeat("x", 72)})
	require.NoError(t, err)
	require.NoError(t, b.verify(t.Context(), me, strings.Repeat("x", 72)))
}

func TestCreateNewRecipeUser(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user, err := b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: me, Password: password})
		require.NoError(t, err)
		assert.Equal(t, []string{me}, user.User.Emails)
		require.NoError(t, b.verify(t.Context(), me, password))

		const imported = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"
		user, err = b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: "imported@example.com", PasswordHash: imported})
		require.NoError(t, err)
		assert.Equal(t, imported, b.hashOf(t, user.RecipeUserID))

		before := db.Dump()
		b.hashes.Store(0)
		for message, in := range map[string]CreateNewRecipeUserInput{
			"CreateNewRecipeUser needs exactly one of Password and PasswordHash":  {Email: "you@example.com"},
			"CreateNewRecipeUser needs exactly one of Password and PasswordHash ": {Email: "you@example.com", Password: password, PasswordHash: imported},
			"unusable password hash: it is of no known kind":                      {Email: "you@example.com", PasswordHash: "plain text"},
			"unusable password hash: Config.Hashing.FirebaseSignerKey is not set": {Email: "you@example.com", PasswordHash: firebaseVector},
			"Email must have 1 to 254 bytes":                                      {Email: " ", Password: password},
			"Email must have 1 to 254 bytes ":                                     {Email: strings.Repeat("x", 255), Password: password},
		} {
			_, err := b.CreateNewRecipeUser(t.Context(), in)
			var bad *session.BadInputError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, strings.TrimSpace(message), bad.Message)
		}
		assert.Zero(t, b.hashes.Load())
		assert.Equal(t, before, db.Dump())
	})
}

// Of 100 sign-ups with one address one succeeds, and the others leave nothing.
func TestSignUpsAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		var made atomic.Int64
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() {
				_, err := b.SignUp(context.Background(), SignUpInput{Email: me, Password: password})
				if err == nil {
					made.Add(1)
					return
				}
				assert.ErrorIs(t, err, ErrEmailAlreadyExists)
			})
		}
		wait.Wait()
		assert.EqualValues(t, 1, made.Load())
		assert.Equal(t, []int{1, 1, 1}, []int{db.Rows("recipe_users"), db.Rows("user_tenants"), db.Rows("emailpassword_credentials")})
	})
}

// The budget of a sign-up, without what the session needs: user.list, user.insert, user.join, credential.insert. Who was just made is remembered, so
// nobody has to read it. An address that is taken costs the first of these, and no hash.
func TestStatementsOfASignUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		ctx := db.Backend.Remember(t.Context())
		db.Probe.Reset()
		result, err := b.SignUp(ctx, SignUpInput{Email: me, Password: password})
		require.NoError(t, err)
		user, err := b.users.GetUser(ctx, result.User.ID)
		require.NoError(t, err)
		assert.Equal(t, result.User, user)
		assert.Equal(t, 4, db.Probe.Count())
		assert.Equal(t, 1, db.Probe.Commits())

		db.Probe.Reset()
		b.hashes.Store(0)
		_, err = b.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
		require.ErrorIs(t, err, ErrEmailAlreadyExists)
		assert.Equal(t, 1, db.Probe.Count())
		assert.Zero(t, b.hashes.Load())
	})
}

func TestFailingStatementsOfASignUp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		before := db.Dump()
		for n := 1; n <= 5; n++ { // four statements and the commit
			db.Probe.FailAt(n)
			_, err := b.SignUp(t.Context(), SignUpInput{Email: me, Password: password})
			require.ErrorIs(t, err, storetest.ErrInjected)
			assert.Equal(t, before, db.Dump(), "failure at %d", n)
		}
		b.mustSignUp(t, me)
	})
}

func TestSignUpWithoutRandomness(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	hash, err := b.hasher.hash(t.Context(), password)
	require.NoError(t, err)
	b.env.Random = iotest.ErrReader(errors.New("no randomness"))
	_, err = b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: me, PasswordHash: hash})
	assert.EqualError(t, err, "emailpassword: making a user id: no randomness")
	assert.Zero(t, b.db.Rows("recipe_users"))
}

// An override of CreateNewRecipeUser writes rows of the host's own in the transaction of the sign-up: both are there, or neither. The password is
// hashed before that transaction, and cannot be inside it.
func TestSignUpWithRowsOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		refused := errors.New("not on the list")
		insert := store.SQL("", `INSERT INTO {p}roles (role) VALUES ($1)`)
		b := newBundle(t, db, Config{Override: Override{Functions: func(original Functions, functions *Functions) {
			functions.CreateNewRecipeUser = func(ctx context.Context, in CreateNewRecipeUserInput) (SignInResult, error) {
				_, inside := db.Tx(ctx)
				assert.True(t, inside)
				assert.Empty(t, in.Password)
				if in.Email == "lazy@example.com" {
					in.Password, in.PasswordHash = password, ""
				}
				result, err := original.CreateNewRecipeUser(ctx, in)
				if err != nil {
					return result, err
				}
				_, err = db.Backend.Exec(ctx, insert, "of "+in.Email)
				if in.Email == "refused@example.com" {
					err = refused
				}
				return result, err
			}
		}}})
		b.hasher.compute = func(hash func()) {
			// SQLite has one writer: this would wait for an open transaction until its time is up.
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err := db.Backend.Exec(ctx, store.SQL("", `DELETE FROM {p}roles WHERE role = 'nobody has it'`))
			assert.NoError(t, err)
			hash()
		}
		b.mustSignUp(t, me)
		assert.Equal(t, "roles role=of me@example.com", db.Dump("roles"))
		_, err := b.SignUp(t.Context(), SignUpInput{Email: "refused@example.com", Password: password})
		require.ErrorIs(t, err, refused)
		_, err = b.SignUp(t.Context(), SignUpInput{Email: "lazy@example.com", Password: password})
		require.ErrorIs(t, err, errHashInside)
		assert.Equal(t, []int{1, 1}, []int{db.Rows("roles"), db.Rows("recipe_users")})
	})
}

// A refused sign-up leaves nothing even where the host commits its transaction all the same.
func TestSignUpInTheTransactionOfTheHost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		b.mustSignUp(t, me)
		tx, err := db.Handle.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		ctx := db.WithTx(t.Context(), tx)
		_, err = b.SignUp(ctx, SignUpInput{Email: me, Password: password})
		assert.ErrorIs(t, err, ErrEmailAlreadyExists)
		_, err = b.SignUp(ctx, SignUpInput{Email: "you@example.com", Password: password})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		assert.Equal(t, []int{2, 2, 2}, []int{db.Rows("recipe_users"), db.Rows("user_tenants"), db.Rows("emailpassword_credentials")})
		require.NoError(t, b.verify(t.Context(), "you@example.com", password))
	})
}

// I-02: what looks like SQL is text.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		const email = `'); drop table st_limits; --"%_$1@example.com`
		b.mustSignUp(t, email)
		require.NoError(t, b.verify(t.Context(), email, password))
		require.ErrorIs(t, b.verify(t.Context(), email, `' or ''='`), ErrWrongCredentials)
		require.ErrorIs(t, b.verify(t.Context(), `%@example.com`, password), ErrWrongCredentials)
	})
}

// The hook is asked once the form has nothing to say, with the address as it is stored.
func TestCheckPassword(t *testing.T) {
	t.Parallel()
	broken := errors.New("list unavailable")
	asked := 0
	b := newBundle(t, storetest.Open(t, "memory"), Config{
		CheckPassword: func(_ context.Context, tenantID, email, password string) (string, error) {
			asked++
			assert.Equal(t, []string{"public", me}, []string{tenantID, email})
			switch password {
			case "password1":
				return "This password has leaked", nil
			case "password2":
				return "", broken
			}
			return "", nil
		},
	})
	form := func(password string) json.RawMessage {
		return json.RawMessage(`[{"id":"email","value":" ME@example.com"},{"id":"password","value":"` + password + `"}]`)
	}
	fields, err := b.signUpFields(t.Context(), "public", form("password3"))
	require.NoError(t, err)
	assert.Equal(t, []Field{{"email", "ME@example.com"}, {"password", "password3"}}, fields)

	_, err = b.signUpFields(t.Context(), "public", form("password1"))
	assert.Equal(t, &FieldError{FormFields: []FieldProblem{{"password", "This password has leaked"}}}, err)
	_, err = b.signUpFields(t.Context(), "public", form("password2"))
	require.ErrorIs(t, err, broken)
	assert.Equal(t, 3, asked)
	_, err = b.signUpFields(t.Context(), "public", form("short"))
	require.Error(t, err)
	assert.Equal(t, 3, asked)
}

func TestEmailExists(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		b.mustSignUp(t, me)
		for email, exists := range map[string]bool{me: true, "  ME@Example.com ": true, "you@example.com": false, "": false, "nonsense": false} {
			db.Probe.Reset()
			result, err := b.emailExistsGET(t.Context(), EmailExistsGETInput{Email: email, TenantID: "public"})
			require.NoError(t, err)
			assert.Equal(t, ExistsResult{Exists: exists}, result, "%q", email)
			assert.Equal(t, 1, db.Probe.Count())
		}
		_, err := b.emailExistsGET(t.Context(), EmailExistsGETInput{Email: me, TenantID: "acme"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		_, err = b.emailExistsGET(t.Context(), EmailExistsGETInput{Email: "a\x00", TenantID: "public"})
		require.ErrorAs(t, err, new(*session.BadInputError))
		db.Probe.FailAt(1)
		_, err = b.emailExistsGET(t.Context(), EmailExistsGETInput{Email: me, TenantID: "public"})
		require.ErrorIs(t, err, storetest.ErrInjected)
	})

	text, err := json.Marshal(ExistsResult{Exists: true})
	require.NoError(t, err)
	assert.JSONEq(t, `{"exists":true}`, string(text))
}
