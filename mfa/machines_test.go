package mfa_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
)

// C-06: a hundred adds and removes of different required factors at once, on two machines, lose nothing, and each is told once.
func TestRequiredFactorsAreAddedAndRemovedAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		machines := b.machines()
		id := func(kind string, i int) factor.ID { return factor.ID(fmt.Sprintf("%s-%02d", kind, i)) }
		const user, n = "somebody", 50
		want := []factor.ID{}
		for i := range n {
			require.NoError(t, b.AddToRequiredSecondaryFactorsForUser(t.Context(), user, id("old", i)))
			want = append(want, id("new", i))
		}
		b.events()
		var all sync.WaitGroup
		for i := range n {
			m := machines[i%len(machines)]
			all.Go(func() {
				assert.NoError(t, m.RemoveFromRequiredSecondaryFactorsForUser(context.Background(), user, id("old", i)))
			})
			all.Go(func() {
				assert.NoError(t, m.AddToRequiredSecondaryFactorsForUser(context.Background(), user, id("new", i)))
			})
		}
		all.Wait()
		var told []string
		for _, m := range machines {
			list, err := m.GetRequiredSecondaryFactorsForUser(t.Context(), user)
			require.NoError(t, err)
			slices.Sort(list)
			require.Equal(t, want, list)
			told = append(told, m.events()...)
		}
		slices.Sort(told)
		require.Len(t, slices.Compact(told), 2*n)
	})
}

// T-05: one right code, given in many sessions at once on two machines, completes one of them.
func TestOneCodeCompletesOneSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		machines := b.machines()
		_, secret := b.enrolled(ada)
		clients := make([]*frontend.Client, 20)
		for i := range clients {
			clients[i] = machines[i%len(machines)].client()
			require.True(t, clients[i].SignIn(ada, password).Is("OK"))
		}
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() { c.VerifyTOTP(secret, b.now()) })
		}
		all.Wait()
		completed := 0
		for _, c := range clients {
			require.Equal(t, http.StatusOK, c.RefreshSession().Status)
			if c.V() {
				completed++
			}
		}
		require.Equal(t, 1, completed)
		require.Equal(t, 2, strings.Count(db.Dump("sessions"), `"v":true`), "that and the one that enrolled")
	})
}

// A session belongs to all machines: what one changes the other sees, at once where it asks the database, else at the next refresh.
func TestASessionOnTwoMachines(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db, withPolicy(everybody))
		other := b.machines()[1]
		fresh := session.VerifyOptions{CheckDatabase: true}
		admitted := func(m *bundle, c *frontend.Client, opts session.VerifyOptions) error {
			_, err := m.Sessions().GetSessionWithoutRequestResponse(t.Context(), session.GetSessionInput{AccessToken: c.Access, Options: opts})
			return err
		}
		var invalid *session.InvalidClaimsError

		c := b.signedUp(ada)
		there := other.visits(c)
		require.ErrorAs(t, admitted(other, there, session.VerifyOptions{}), &invalid, "one machine verifies the tokens of the other")
		secret := there.EnrolTOTP(b.now())
		require.True(t, there.V())
		require.NoError(t, admitted(b, there, session.VerifyOptions{}), "and the token of the completed session")
		require.NoError(t, admitted(b, c, fresh), "the old token, where the database is asked")
		require.ErrorAs(t, admitted(b, c, session.VerifyOptions{}), &invalid, "the old token by itself knows nothing of it")
		require.Equal(t, http.StatusOK, c.RefreshSession().Status)
		require.True(t, c.V())

		// One rotated it, the other finds the same successor and then the theft.
		stale := other.visits(there)
		require.Equal(t, http.StatusOK, stale.RefreshSession().Status)
		require.Equal(t, c.Refresh, stale.Refresh)
		b.turn(time.Minute)
		require.JSONEq(t, `{"message":"token theft detected"}`, there.RefreshSession().Body)
		require.Equal(t, http.StatusUnauthorized, b.visits(c).RefreshSession().Status)

		// The code that one has taken the other has too, and so are the wrong ones.
		require.True(t, c.SignIn(ada, password).Is("OK"))
		require.True(t, c.VerifyTOTP(secret, b.now()).Is("OK"))
		there = other.client()
		require.True(t, there.SignIn(ada, password).Is("OK"))
		require.True(t, there.VerifyTOTP(secret, b.now()).Is("INVALID_TOTP_ERROR"))
		require.Contains(t, b.visits(there).VerifyTOTP(secret, b.now()).Body, `"currentNumberOfFailedAttempts":2`)

		// A sign-out here is one there.
		gone := other.visits(c)
		c.SignOut()
		var unauthorised *session.UnauthorisedError
		require.ErrorAs(t, admitted(other, gone, fresh), &unauthorised)
		require.Equal(t, http.StatusUnauthorized, gone.RefreshSession().Status)
	})
}
