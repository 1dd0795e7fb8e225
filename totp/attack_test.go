package totp_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// D-03, F-01, F-02: what somebody gets who has the password and no more.
func TestWhoKnowsOnlyThePassword(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		owner, secret := s.enrolled(ada)
		owner.create(object{"deviceName": "laptop"})
		thief := s.signedIn(ada)
		require.False(t, thief.V())

		is(t, thief.create(object{}), 403, openFactor, none)
		is(t, thief.create(object{"deviceName": "TOTP Device 1"}), 403, openFactor, none)
		is(t, thief.verifyDevice("TOTP Device 1", ""), 403, openFactor, none)
		is(t, thief.verifyDevice("laptop", "000000"), 403, openFactor, none)
		is(t, thief.remove("TOTP Device 1"), 403, unsatisfied, none)
		require.Equal(t, []string{"TOTP Device 1", "laptop?"}, thief.names())
		is(t, thief.verifyTOTP(s.wrong(secret)), 200, invalidTOTP(1), none)

		// Members of a body that the library does not know do nothing.
		for path, body := range map[string]string{
			"/auth/totp/device":        `{"verified":true,"secret":"` + strings.Repeat("A", 32) + `","userId":"x","session":{"v":true}}`,
			"/auth/totp/device/remove": `{"deviceName":"TOTP Device 1","force":true,"verified":false,"unverifiedOnly":false}`,
			"/auth/totp/device/verify": `{"deviceName":"TOTP Device 1","totp":"","wasAlreadyVerified":false}`,
			"/auth/totp/verify":        `{"totp":"","deviceName":"laptop","skew":100000,"userId":"x","st-mfa":{"v":true,"c":{"totp":1}}}`,
		} {
			r := thief.raw("POST", path, body)
			require.False(t, r.Is("OK"), "%s: %s", path, r.Body)
			require.Empty(t, r.Header.Get("front-token"), path)
		}
		require.Equal(t, 200, thief.RefreshSession().Status)
		require.False(t, thief.V())
		require.Equal(t, []string{"emailpassword"}, thief.Completed())
		require.Equal(t, []string{"TOTP Device 1", "laptop?"}, owner.names())
		require.True(t, owner.verifyTOTP(s.code(secret)).Is("OK"))
	})
}

// F-03: a device that was begun is none: it asks for nothing, lets nobody in, and what it shows does not verify another.
func TestADeviceWithoutItsCode(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		name, secret := v.CreateDevice()
		v.SignOut()
		require.True(t, v.SignIn(ada, password).Is("OK"))
		next, setUp, allowed := v.Info()
		require.Equal(t, [][]string{{"totp"}, {"emailpassword"}, {"totp"}}, [][]string{next, setUp, allowed}, "it is set up anew, not asked for")
		is(t, v.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
		require.False(t, v.V())
		other := v.create(object{"deviceName": "other"})
		is(t, v.verifyDevice("other", s.code(secret)), 200, invalidTOTP(2), none)
		is(t, v.verifyDevice(name, s.code(other.JSON["secret"].(string))), 200, invalidTOTP(3), none)

		// The page is opened again: the first secret is worth nothing any more.
		_, again := v.CreateDevice()
		is(t, v.verifyDevice(name, s.code(secret)), 200, invalidTOTP(4), none)
		is(t, v.verifyDevice(name, s.code(again)), 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)

		// F-05: what is left over is gone a day later, for its own code too.
		s.turn(24*time.Hour - time.Second)
		require.Equal(t, 200, v.RefreshSession().Status)
		require.Equal(t, []string{"TOTP Device 1", "other?"}, v.names())
		s.turn(time.Second)
		is(t, v.verifyDevice("other", s.code(other.JSON["secret"].(string))), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
		is(t, v.remove("other"), 200, `{"status":"OK","didDeviceExist":false}`, none)
		require.Equal(t, []string{"TOTP Device 1"}, v.names())
	})
}

// D-08: devices are those of the session's user, whatever their names are.
func TestDevicesOfSomebodyElse(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		v.create(object{"deviceName": "ada's"})
		w := s.signedUp(bob)
		_, err := s.totp.CreateDevice(t.Context(), totp.CreateDeviceInput{UserID: w.UserID(), DeviceName: "bob's"})
		require.NoError(t, err)
		is(t, w.remove("TOTP Device 1"), 200, `{"status":"OK","didDeviceExist":false}`, none)
		is(t, w.remove("ada's"), 200, `{"status":"OK","didDeviceExist":false}`, none)
		is(t, w.verifyDevice("TOTP Device 1", s.code(secret)), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
		is(t, w.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
		require.Equal(t, []string{"bob's?"}, w.names())
		require.Equal(t, []string{"TOTP Device 1", "ada's?"}, v.names())
	})
}

// I-02: names are text and nothing else.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db, configured(totp.Config{MaxDevices: 1, DefaultSkew: new(0)}))
		v, secret := s.enrolled(ada)
		for i, name := range storetest.Hostile {
			is(t, v.verifyDevice(name, "000000"), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
			is(t, v.remove(name), 200, `{"status":"OK","didDeviceExist":false}`, none)
			made := s.signedUp(fmt.Sprintf("%d@example.com", i))
			r := made.create(object{"deviceName": name})
			if r.Status == http.StatusBadRequest {
				require.True(t, strings.ContainsAny(name, "\x01\t\n\r\x7f"), "%q", name)
				continue
			}
			require.True(t, r.Is("OK"), "%q: %s", name, r.Body)
			require.Equal(t, name, r.JSON["deviceName"])
			require.Equal(t, []string{name + "?"}, made.names())
			require.True(t, made.verifyDevice(name, s.code(r.JSON["secret"].(string))).Is("OK"), "%q", name)
			require.True(t, made.remove(name).Is("OK"))
			require.Equal(t, []string{}, made.names())
		}
		require.True(t, v.verifyTOTP(s.code(secret)).Is("OK"))
	})
}

// F-01: who may set the factor up only because it is not set up cannot do so beside somebody who sets it up meanwhile. Of two sessions with the password,
// each with a device and its right code, one wins, however close they come.
func TestOneFirstDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		for round := range 10 {
			email := fmt.Sprintf("%d@example.com", round)
			s.signedUp(email)
			const n = 4
			visitors, codes := make([]visitor, n), make([]string, n)
			for i := range n {
				visitors[i] = s.signedIn(email)
				r := visitors[i].create(object{"deviceName": fmt.Sprint("device ", i)})
				codes[i] = s.code(r.JSON["secret"].(string))
			}
			answers := make([]frontend.Response, n)
			together(n, func(i int) { answers[i] = visitors[i].verifyDevice(fmt.Sprint("device ", i), codes[i]) })
			inside := 0
			for i, r := range answers {
				if r.Is("OK") {
					inside++
					require.True(t, visitors[i].V())
				} else {
					is(t, r, 403, openFactor, none)
					require.False(t, visitors[i].V())
				}
			}
			require.Equal(t, 1, inside)
			names := visitors[0].names()
			require.Len(t, names, n)
			open := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasSuffix(name, "?") })
			require.Len(t, open, n-1, "%v", names)
		}
	})
}

// together runs f n times at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	gun := make(chan struct{})
	for i := range n {
		all.Go(func() { <-gun; f(i) })
	}
	close(gun)
	all.Wait()
}

// F-01: the same, slowly: the other device is verified between the question and the answer. An application that allows a second device is asked again,
// and its answer counts.
func TestSetUpMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, lenient := range []bool{false, true} {
			asked := 0
			var meanwhile func()
			s := newSite(t, db, func(cfg *mfa.Config, _ *totp.Config) {
				cfg.Override.Functions = func(original mfa.Functions, functions *mfa.Functions) {
					functions.AssertAllowedToSetupFactor = func(ctx context.Context, in mfa.AssertAllowedToSetupFactorInput) error {
						asked++
						err := original.AssertAllowedToSetupFactor(ctx, in)
						if meanwhile != nil {
							do := meanwhile
							meanwhile = nil
							do()
						}
						if lenient {
							return nil
						}
						return err
					}
				}
			})
			s.requires(factor.TOTP)
			email := fmt.Sprintf("%t@example.com", lenient)
			owner := s.signedUp(email)
			thief := s.signedIn(email)
			r := thief.create(object{"deviceName": "thief's"})
			code := s.code(r.JSON["secret"].(string))
			asked, meanwhile = 0, func() { owner.EnrolTOTP(s.now()) }
			r = thief.verifyDevice("thief's", code)
			if lenient {
				is(t, r, 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)
			} else {
				is(t, r, 403, openFactor, none)
				require.Equal(t, []string{"TOTP Device 1", "thief's?"}, owner.names())
			}
			require.Equal(t, 4, asked, "by the thief, by the owner for both steps, and by the thief again")
			db.Backend.Release()
		}
	})
}

// D-03: the device is verified between the look at it and its removal: whoever may remove only unverified ones is refused, and whoever may remove any
// is asked for the rest.
func TestRemovalMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		meanwhile := func() {}
		s := newSite(t, db, override(totp.Override{Functions: func(original totp.Functions, functions *totp.Functions) {
			functions.ListDevices = func(ctx context.Context, in totp.ListDevicesInput) ([]totp.Device, error) {
				devices, err := original.ListDevices(ctx, in)
				meanwhile()
				return devices, err
			}
		}}))
		for _, required := range []bool{true, false} {
			s.requires()
			if required {
				s.requires(factor.TOTP)
			}
			email := fmt.Sprintf("%t@example.com", required)
			owner := s.signedUp(email)
			thief := s.signedIn(email)
			name, secret := owner.CreateDevice()
			meanwhile = func() {
				meanwhile = func() {}
				require.True(t, owner.verifyDevice(name, s.code(secret)).Is("OK"))
			}
			r := thief.remove(name)
			if required {
				is(t, r, 403, unsatisfied, none)
				require.Equal(t, []string{"TOTP Device 1"}, owner.names())
			} else {
				is(t, r, 200, `{"status":"OK","didDeviceExist":true}`, none)
			}
		}
	})
}

// A session that was ended elsewhere changes no devices, though its access token has not ended: whoever planted a device gets no more use of it.
func TestASessionThatWasEndedElsewhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		owner, secret := s.enrolled(ada)
		thief := s.signedIn(ada)
		thief.NoRefresh = true
		planted := thief.create(object{"deviceName": "planted"})
		code := s.code(planted.JSON["secret"].(string))
		_, err := s.Sessions().RevokeAllSessionsForUser(t.Context(), session.RevokeAllSessionsForUserInput{UserID: owner.UserID()})
		require.NoError(t, err)
		before := db.Dump("totp_devices")
		is(t, thief.clone().create(object{}), 401, unauthorised, cleared)
		is(t, thief.clone().verifyDevice("planted", code), 401, unauthorised, cleared)
		is(t, thief.clone().remove("TOTP Device 1"), 401, unauthorised, cleared)
		is(t, thief.clone().remove("planted"), 401, unauthorised, cleared)
		require.Equal(t, before, db.Dump("totp_devices"))
		// A right code completes nothing in it either.
		is(t, thief.clone().verifyTOTP(s.code(secret)), 401, unauthorised, cleared)
		require.Zero(t, db.Rows("sessions"))
	})
}

// C-08: a session that lost the factor elsewhere does not go by its old token where devices are changed.
func TestAFactorThatWasRemovedElsewhere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		owner, secret := s.enrolled(ada)
		thief := s.signedIn(ada)
		require.True(t, thief.verifyTOTP(s.code(secret)).Is("OK"))
		old := thief.clone()
		// Support removes the stolen device, and the owner enrols a new one.
		result, err := s.totp.RemoveDevice(t.Context(), owner.UserID(), "TOTP Device 1")
		require.NoError(t, err)
		require.True(t, result.DidDeviceExist)
		owner.RefreshSession()
		require.False(t, owner.V())
		secret = owner.EnrolTOTP(s.now())

		require.True(t, old.V(), "by its token")
		is(t, old.clone().create(object{}), 403, openFactor, changed)
		is(t, old.clone().remove("TOTP Device 1"), 403, unsatisfied, changed)
		is(t, old.clone().verifyDevice("TOTP Device 1", ""), 403, openFactor, changed)
		require.Equal(t, []string{"TOTP Device 1"}, owner.names())
		thief.RefreshSession()
		require.Equal(t, []string{"emailpassword"}, thief.Completed())
		s.turn(30 * time.Second)
		require.True(t, owner.verifyTOTP(s.code(secret)).Is("OK"))
	})
}

// The tenant of the session is gone: that ends the session, it is no mistake of the request.
func TestASessionWithoutATenant(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.run(`INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('acme', '{}', 0)`)
		v, secret := s.enrolled(ada)
		made, err := s.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{
			RecipeUserID: session.RecipeUserID(v.UserID()), TenantID: "acme",
			AccessTokenPayload: map[string]any{"st-mfa": map[string]any{"c": map[string]any{"emailpassword": 1}, "v": true}},
		})
		require.NoError(t, err)
		acme := s.visitor("header")
		acme.Access, acme.NoRefresh = made.AccessToken(), true
		r := acme.create(object{"deviceName": "new"})
		require.True(t, r.Is("OK"), r.Body)
		s.run(`DELETE FROM {p}tenants WHERE tenant_id = 'acme'`)
		before := db.Dump()
		is(t, acme.clone().verifyTOTP(s.code(secret)), 401, unauthorised, cleared)
		is(t, acme.clone().verifyDevice("new", s.code(r.JSON["secret"].(string))), 401, unauthorised, cleared)
		require.Equal(t, before, db.Dump())
	})
}

// The session of a request speaks for its own user only: an override that removes the device of another one, with the ctx that it got, takes the factor
// out of that user's sessions and leaves this one alone.
func TestAnOverrideThatChangesSomebodyElse(t *testing.T) {
	t.Parallel()
	var s *site
	other := ""
	s = newSite(t, storetest.Open(t, "memory"), override(totp.Override{Functions: func(original totp.Functions, functions *totp.Functions) {
		functions.VerifyTOTP = func(ctx context.Context, in totp.VerifyTOTPInput) error {
			if err := original.VerifyTOTP(ctx, in); err != nil {
				return err
			}
			_, err := s.totp.RemoveDevice(ctx, other, "TOTP Device 1")
			return err
		}
	}}))
	v, secret := s.enrolled(ada)
	w, _ := s.enrolled(bob)
	other = w.UserID()
	s.events()
	is(t, v.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
	require.Equal(t, []string{"emailpassword", "totp"}, v.Completed())
	removals := 0
	for _, e := range s.seen {
		if e.Name == mfa.EventFactorRemoved {
			removals++
			require.Equal(t, other, e.UserID)
			require.Empty(t, e.SessionHandle)
		}
	}
	require.Equal(t, 1, removals)
	require.Equal(t, 200, w.RefreshSession().Status)
	require.Equal(t, []string{"emailpassword"}, w.Completed())
}
