package emailpassword

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/limits"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		signedUp := b.mustSignUp(t, me)
		for _, email := range []string{me, "\t ME@Example.COM "} {
			result, err := b.SignIn(t.Context(), SignInInput{Email: email, Password: password})
			require.NoError(t, err)
			assert.Equal(t, signedUp, result)
			assert.Equal(t, b.checked(signedUp.User.ID, true, ""), b.takeEvents())
			require.NoError(t, b.verify(t.Context(), email, password))
			assert.Equal(t, b.checked(signedUp.User.ID, true, ""), b.takeEvents())
		}

		for _, c := range []struct{ email, password, userID, reason string }{
			{me, "wrong password 1", signedUp.User.ID, "wrong"},
			{me, password + " ", signedUp.User.ID, "wrong"},
			{me, "", signedUp.User.ID, "wrong"},
			{me, strings.Repeat("x", 1025), signedUp.User.ID, "wrong"},
			{"you@example.com", password, "", "unknown"},
			{"", password, "", "unknown"},
		} {
			_, err := b.SignIn(t.Context(), SignInInput{Email: c.email, Password: c.password})
			require.ErrorIs(t, err, ErrWrongCredentials)
			assert.Equal(t, b.checked(c.userID, false, c.reason), b.takeEvents())
		}

		_, err := b.SignIn(t.Context(), SignInInput{Email: me, Password: password, TenantID: "acme"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		_, err = b.SignIn(t.Context(), SignInInput{Email: me, Password: password, TenantID: "not a tenant"})
		require.ErrorIs(t, err, session.ErrTenantNotFound)
		assert.Empty(t, b.takeEvents())
		assert.NotContains(t, b.log.String(), "password")
	})
}

// One address on two tenants is two accounts, with a password and a count each.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		_, err := db.Backend.Exec(t.Context(), store.SQL("", `INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('acme', '{}', 0)`))
		require.NoError(t, err)
		here := b.mustSignUp(t, me)
		require.ErrorIs(t, b.VerifyCredentials(t.Context(), "acme", me, password), ErrWrongCredentials)
		there, err := b.SignUp(t.Context(), SignUpInput{Email: me, Password: "password of acme 1", TenantID: " ACME "})
		require.NoError(t, err)
		assert.NotEqual(t, here.RecipeUserID, there.RecipeUserID)
		assert.Equal(t, []string{"acme"}, there.User.TenantIDs)
		b.takeEvents()

		result, err := b.SignIn(t.Context(), SignInInput{Email: me, Password: "password of acme 1", TenantID: "Acme"})
		require.NoError(t, err)
		assert.Equal(t, there, result)
		assert.Equal(t, "acme", b.takeEvents()[0].TenantID)
		for range 10 {
			require.ErrorIs(t, b.VerifyCredentials(t.Context(), "acme", me, password), ErrWrongCredentials)
		}
		require.ErrorAs(t, b.VerifyCredentials(t.Context(), "acme", me, password), new(*session.GeneralError))
		require.NoError(t, b.VerifyCredentials(t.Context(), "", me, password))
	})
}

// I-01: text that no database can keep is refused before anything happens.
func TestTextOfFunctions(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	b.db.Probe.Reset()
	for _, bad := range []string{"a\x00b", "a\xffb"} {
		for field, in := range map[string]VerifyCredentialsInput{
			"Email": {Email: bad, Password: password}, "Password": {Email: me, Password: bad}, "TenantID": {Email: me, Password: password, TenantID: bad},
		} {
			_, signInErr := b.SignIn(t.Context(), SignInInput(in))
			_, signUpErr := b.SignUp(t.Context(), SignUpInput(in))
			_, createErr := b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: in.Email, Password: in.Password, TenantID: in.TenantID})
			for _, err := range []error{b.VerifyCredentials(t.Context(), in.TenantID, in.Email, in.Password), signInErr, signUpErr, createErr} {
				var badInput *session.BadInputError
				require.ErrorAs(t, err, &badInput)
				assert.Equal(t, field+" must be valid UTF-8 without U+0000", badInput.Message)
			}
		}
	}
	assert.Zero(t, b.db.Probe.Count())
	assert.Zero(t, b.hashes.Load())
}

// P-03: people who exist and people who do not, and people whose hash nothing can match, take the same statements and the same number of hashes,
// and get the same answer.
func TestNothingTellsWhoExists(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		b.mustSignUp(t, me)
		corrupt := b.mustSignUp(t, "corrupt@example.com")
		b.setHash(t, corrupt.RecipeUserID, "$argon2id$v=19$m=64,t=1,p=1$corrupt")
		noCredential := b.mustSignUp(t, "none@example.com")
		_, err := db.Backend.Exec(t.Context(), store.SQL("", `DELETE FROM {p}emailpassword_credentials WHERE user_id = $1`),
			string(noCredential.RecipeUserID))
		require.NoError(t, err)

		var first []string
		for _, email := range []string{me, "stranger@example.com", "corrupt@example.com", "none@example.com"} {
			b.hashes.Store(0)
			db.Probe.Reset()
			err := b.verify(t.Context(), email, "wrong password 1")
			assert.Equal(t, ErrWrongCredentials, err, email)
			assert.EqualValues(t, 1, b.hashes.Load(), email)
			if first == nil {
				first = db.Probe.Statements()
			}
			assert.Equal(t, first, db.Probe.Statements(), email)
		}

		// Nor does the wait.
		for _, email := range []string{me, "stranger@example.com"} {
			for range 9 {
				require.ErrorIs(t, b.verify(t.Context(), email, "wrong password 1"), ErrWrongCredentials)
			}
			b.hashes.Store(0)
			err := b.verify(t.Context(), email, password)
			assert.Equal(t, &session.GeneralError{
				Message: "Too many attempts. Please wait a while before you try again.", RetryAfter: 30 * time.Second,
			}, err, email)
			assert.Zero(t, b.hashes.Load(), "nothing is hashed for who has to wait")
		}

		// Nor does a password that is too long to be anybody's.
		b.hashes.Store(0)
		for _, email := range []string{me, "stranger@example.com"} {
			assert.ErrorIs(t, b.verify(t.Context(), email, strings.Repeat("x", 1025)), ErrWrongCredentials)
		}
		assert.Zero(t, b.hashes.Load())
	})
}

// A hash that nothing can match is a wrong password for the user, and an error for who reads the log.
func TestCorruptHashIsLogged(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	user := b.mustSignUp(t, me)
	b.setHash(t, user.RecipeUserID, "$2a$10$secretsecret")
	require.ErrorIs(t, b.verify(t.Context(), me, password), ErrWrongCredentials)
	assert.Contains(t, b.log.String(), `level=ERROR msg="emailpassword: the stored hash of a password cannot be used" recipeUserId=`+
		string(user.RecipeUserID)+` error="unusable password hash: it is not the form of a bcrypt hash"`)
	assert.NotContains(t, b.log.String(), "secret")
	assert.NotContains(t, b.log.String(), password)
}

func TestWaitAfterGuesses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user := b.mustSignUp(t, me)
		for range 10 {
			require.ErrorIs(t, b.verify(t.Context(), " ME@example.com", "wrong password 1"), ErrWrongCredentials)
		}
		b.takeEvents()
		require.Error(t, b.verify(t.Context(), me, password))
		assert.Equal(t, b.checked(user.User.ID, false, "limited"), b.takeEvents())
		b.now.Add(30_000)
		require.NoError(t, b.verify(t.Context(), me, password))
		assert.Contains(t, db.Dump("limits"), "failures=0 blocked_until=0")
	})

	t.Run("switched off", func(t *testing.T) {
		t.Parallel()
		b := newLimitedBundle(t, storetest.Open(t, "memory"), Config{}, limits.Guesses{Off: true})
		for range 30 {
			require.ErrorIs(t, b.verify(t.Context(), me, "wrong password 1"), ErrWrongCredentials)
		}
		assert.Zero(t, b.db.Rows("limits"))
	})
}

// L-03, L-09: of 100 wrong passwords at once ten are compared, whether or not somebody has the email; no more are hashed at a time than
// configured; 100 right ones at once are all right.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		cfg := cheap
		cfg.MaxConcurrent = 2
		b := newBundle(t, db, Config{Hashing: cfg})
		b.mustSignUp(t, me)
		hashed, most := watch(b.hasher)
		atOnce := func(emails []string, password string, expected ...error) {
			t.Helper()
			var wait sync.WaitGroup
			for i := range 100 {
				wait.Go(func() {
					err := b.verify(context.Background(), emails[i%len(emails)], password)
					if _, limited := errors.AsType[*session.GeneralError](err); limited {
						err = errLimited
					}
					assert.Contains(t, expected, err)
				})
			}
			wait.Wait()
		}
		atOnce([]string{me}, password, nil)
		assert.EqualValues(t, 100, hashed.Swap(0))
		atOnce([]string{me}, "wrong password 1", ErrWrongCredentials, errLimited)
		assert.EqualValues(t, 10, hashed.Swap(0))
		atOnce([]string{"stranger@example.com"}, "wrong password 1", ErrWrongCredentials, errLimited)
		assert.EqualValues(t, 10, hashed.Swap(0))
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprintf("stranger%d@example.com", i))
		}
		atOnce(many, "wrong password 1", ErrWrongCredentials)
		assert.EqualValues(t, 100, hashed.Swap(0))
		assert.LessOrEqual(t, most.Load(), int64(2))
	})
}

var errLimited = errors.New("limited")

// P-02: a right password brings its hash up to date; the password and the version of the user stay what they are.
func TestOutdatedHashIsReplaced(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		cfg := cheap
		cfg.FirebaseSignerKey = firebaseKey
		b := newBundle(t, db, Config{Hashing: cfg})
		for name, old := range map[string]struct{ password, hash string }{
			"bcrypt":   {"abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
			"argon2i":  {"password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"},
			"firebase": {"user1password", firebaseVector},
		} {
			email := name + "@example.com"
			user, err := b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{Email: email, PasswordHash: old.hash})
			require.NoError(t, err)
			require.ErrorIs(t, b.verify(t.Context(), email, "wrong password 1"), ErrWrongCredentials)
			assert.Equal(t, old.hash, b.hashOf(t, user.RecipeUserID))

			b.hashes.Store(0)
			require.NoError(t, b.verify(t.Context(), email, old.password))
			assert.EqualValues(t, 2, b.hashes.Load())
			renewed, _, err := b.credentialOf(t.Context(), user.RecipeUserID)
			require.NoError(t, err)
			assert.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$`, renewed.hash)
			assert.EqualValues(t, 1, renewed.version)

			require.NoError(t, b.verify(t.Context(), email, old.password))
			assert.EqualValues(t, 3, b.hashes.Load())
			assert.Equal(t, renewed.hash, b.hashOf(t, user.RecipeUserID), "once is enough")
		}
	})
}

// A password that was set while the old one was hashed anew is kept.
func TestRenewalLosesToANewPassword(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user, err := b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{
			Email: me, PasswordHash: "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"})
		require.NoError(t, err)
		changed, err := b.hasher.hash(t.Context(), "new password 1")
		require.NoError(t, err)
		n := 0
		b.hasher.compute = func(hash func()) {
			if n++; n == 2 {
				b.setHash(t, user.RecipeUserID, changed)
			}
			hash()
		}
		require.NoError(t, b.verify(t.Context(), me, "abc"))
		assert.Equal(t, 2, n)
		assert.Equal(t, changed, b.hashOf(t, user.RecipeUserID))
	})
}

// The hash is read after the attempt was counted, so a password that was set while the attempt waited for its turn is the one that counts.
func TestPasswordSetWhileAnAttemptWaits(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user := b.mustSignUp(t, me)
		changed, err := b.hasher.hash(t.Context(), "new password 1")
		require.NoError(t, err)
		ctx := db.Backend.Remember(t.Context())
		require.NoError(t, b.verify(ctx, me, password)) // what a request remembers of the user is older than the new password
		b.setHash(t, user.RecipeUserID, changed)
		require.ErrorIs(t, b.verify(ctx, me, password), ErrWrongCredentials)
		require.NoError(t, b.verify(ctx, me, "new password 1"))
	})
}

// What the API found out is not found out again: the password is hashed once for VerifyCredentials and SignIn together.
func TestVerificationIsRemembered(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user := b.mustSignUp(t, me)
		other := b.mustSignUp(t, "other@example.com")
		b.hashes.Store(0)
		in := VerifyCredentialsInput{Email: me, Password: password, TenantID: "public"}

		ctx, v := withVerification(db.Backend.Remember(b.env.Bind(t.Context())))
		assert.Zero(t, v.version(user.RecipeUserID), "nothing is known yet")
		verified, err := b.Recipe.verify(ctx, in)
		require.NoError(t, err)
		db.Probe.Reset()
		result, err := b.SignIn(ctx, SignInInput(in))
		require.NoError(t, err)
		assert.Equal(t, verified, result)
		assert.Zero(t, db.Probe.Count())
		assert.EqualValues(t, 1, b.hashes.Load())
		assert.EqualValues(t, 1, v.version(user.RecipeUserID))
		assert.Zero(t, v.version(other.RecipeUserID))

		// Only this very input was accepted.
		_, err = b.SignIn(ctx, SignInInput{Email: me, Password: "wrong password 1", TenantID: "public"})
		require.ErrorIs(t, err, ErrWrongCredentials)
		_, err = b.SignIn(ctx, SignInInput{Email: "other@example.com", Password: "wrong password 1", TenantID: "public"})
		require.ErrorIs(t, err, ErrWrongCredentials)
		assert.EqualValues(t, 3, b.hashes.Load())

		// An override that signs in somebody else is judged for that one.
		result, err = b.SignIn(ctx, SignInInput{Email: "other@example.com", Password: password, TenantID: "public"})
		require.NoError(t, err)
		assert.Equal(t, other, result)
		assert.EqualValues(t, 1, v.version(other.RecipeUserID))
		assert.Zero(t, v.version(user.RecipeUserID))
	})
}

// An override may judge passwords by itself, once for the API and SignIn together.
func TestVerificationByAnOverride(t *testing.T) {
	t.Parallel()
	var b *bundle
	var user SignInResult
	asked := 0
	b = newBundle(t, storetest.Open(t, "memory"), Config{Override: Override{Functions: func(_ Functions, functions *Functions) {
		functions.VerifyCredentials = func(context.Context, VerifyCredentialsInput) (SignInResult, error) {
			asked++
			return user, nil
		}
	}}})
	user = b.mustSignUp(t, me)
	in := VerifyCredentialsInput{Email: me, Password: "from the old system"}
	ctx, v := withVerification(b.env.Bind(t.Context()))
	_, err := b.Recipe.verify(ctx, in)
	require.NoError(t, err)
	result, err := b.SignIn(ctx, SignInInput(in))
	require.NoError(t, err)
	assert.Equal(t, user, result)
	assert.Equal(t, 1, asked)
	assert.Zero(t, v.version(user.RecipeUserID), "the library has seen no hash")
}

// The budget of a sign-in, without what the session needs: user.list, limit.take, credential.get, limit.clear.
func TestStatementsOfASignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		b.mustSignUp(t, me)
		for range 2 {
			db.Probe.Reset()
			require.NoError(t, b.verify(t.Context(), me, password))
			assert.Equal(t, 4, db.Probe.Count())
			db.Probe.Reset()
			require.Error(t, b.verify(t.Context(), me, "wrong password 1"))
			assert.Equal(t, 3, db.Probe.Count())
		}
	})
}

// L-04: an attempt that a rollback could take back is none.
func TestSignInInATransaction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		b.mustSignUp(t, me)
		b.hashes.Store(0)
		err := db.Backend.Tx(t.Context(), func(ctx context.Context) error {
			_, err := b.SignIn(ctx, SignInInput{Email: me, Password: password})
			return err
		})
		require.ErrorIs(t, err, store.ErrInsideTx)
		assert.Zero(t, b.hashes.Load())
		assert.Zero(t, db.Rows("limits"))
	})
}

// L-05: whatever statement fails, the error reaches the caller, and no password was compared that was not counted.
func TestFailingStatementsOfASignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, Config{})
		user, err := b.CreateNewRecipeUser(t.Context(), CreateNewRecipeUserInput{
			Email: me, PasswordHash: "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"})
		require.NoError(t, err)
		b.takeEvents()
		for n := 1; ; n++ {
			b.hashes.Store(0)
			db.Probe.FailAt(n)
			_, err := b.SignIn(t.Context(), SignInInput{Email: me, Password: "abc"})
			if !db.Probe.Failed() {
				db.Probe.FailAt(0)
				require.NoError(t, err)
				assert.Equal(t, 6, n, "user.list, limit.take, credential.get, limit.clear, credential.rehash")
				break
			}
			require.ErrorIs(t, err, storetest.ErrInjected, "statement %d", n)
			assert.Empty(t, b.takeEvents())
			if n <= 3 {
				assert.Zero(t, b.hashes.Load())
			}
		}
		assert.Equal(t, b.checked(user.User.ID, true, ""), b.takeEvents())
	})
}

// L-04, L-09: who hangs up while waiting for a hash leaves the queue, and the attempt stays counted.
func TestSignInIsCancelled(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		cfg := cheap
		cfg.MaxConcurrent = 1
		b := newBundle(t, db, Config{Hashing: cfg})
		b.mustSignUp(t, me)
		ctx, hangUp := context.WithCancel(t.Context())
		b.hasher.slots <- struct{}{} // somebody else's hash
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- b.verify(ctx, me, password) }()
		for db.Rows("limits") == 0 && len(gaveUp) == 0 {
			runtime.Gosched()
		}
		hangUp()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		<-b.hasher.slots
		assert.Contains(t, db.Dump("limits"), "failures=1")
		assert.Empty(t, b.takeEvents())
		require.NoError(t, b.verify(t.Context(), me, password))
	})
}

// I-03: a panic while comparing gives turn and slot back.
func TestPanicWhileComparing(t *testing.T) {
	t.Parallel()
	cfg := cheap
	cfg.MaxConcurrent = 1
	b := newBundle(t, storetest.Open(t, "memory"), Config{Hashing: cfg})
	b.mustSignUp(t, me)
	compute := b.hasher.compute
	b.hasher.compute = func(func()) { panic("out of memory") }
	assert.Panics(t, func() { b.verify(t.Context(), me, password) })
	b.hasher.compute = compute
	require.NoError(t, b.verify(t.Context(), me, password))
}

// A sink that panics neither blocks nor opens a sign-in.
func TestPanickingSink(t *testing.T) {
	t.Parallel()
	b := newBundle(t, storetest.Open(t, "memory"), Config{})
	b.mustSignUp(t, me)
	b.env.OnEvent = func(context.Context, env.Event) { panic("full") }
	require.NoError(t, b.verify(t.Context(), me, password))
	require.ErrorIs(t, b.verify(t.Context(), me, "wrong password 1"), ErrWrongCredentials)
	assert.Contains(t, b.log.String(), "panic in OnEvent")
}
