package totp_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
)

// instances are the site and, where the database can be shared, the same application in another process.
func (s *site) instances() []*site {
	if s.db.Name == "memory" {
		return []*site{s}
	}
	return []*site{s, s.again()}
}

// at is the visitor on another instance of the application, with the same session.
func (v visitor) at(other *site) visitor {
	moved := visitor{frontend.New(other.t, other.url, "header"), other}
	moved.Access, moved.Refresh, moved.Payload, moved.NoRefresh = v.Access, v.Refresh, v.Payload, true
	return moved
}

// outcomes sends n requests at once and counts the statuses of the answers.
func outcomes(n int, send func(i int) frontend.Response) map[string]int {
	results := map[string]int{}
	var mu sync.Mutex
	together(n, func(i int) {
		r := send(i)
		mu.Lock()
		defer mu.Unlock()
		status, ok := r.JSON["status"].(string)
		if !ok {
			status = fmt.Sprintf("%d %s", r.Status, r.Body)
		}
		results[status]++
	})
	return results
}

// withTOTP counts the stored sessions in which the factor is complete.
func (s *site) withTOTP() int { return strings.Count(s.db.Dump("sessions"), `"totp":`) }

// T-05: one code, a hundred requests at once, ten sessions, two instances: one is let in.
func TestOneRightCodeOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		v.SignOut()
		s.requires(factor.TOTP)
		instances := s.instances()
		var visitors []visitor
		for i := range 10 {
			visitors = append(visitors, s.signedIn(ada).at(instances[i%len(instances)]))
		}
		require.Zero(t, s.withTOTP())
		code := s.code(secret)
		s.events()
		results := outcomes(100, func(i int) frontend.Response { return visitors[i%10].clone().verifyTOTP(code) })
		require.Equal(t, map[string]int{"OK": 1, "INVALID_TOTP_ERROR": 5, "LIMIT_REACHED_ERROR": 94}, results)
		require.Equal(t, 1, s.withTOTP())
		completed := 0
		for _, instance := range instances {
			for _, e := range instance.events() {
				if e == "factor.completed totp +" {
					completed++
				}
			}
		}
		require.Equal(t, 1, completed)
	})
}

// L-03: of a hundred wrong codes at once, no more are looked at than the budget has, through all doors and instances together.
func TestManyWrongCodesOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		name, open := v.CreateDevice()
		instances := s.instances()
		wrong := s.wrong(secret, open)
		results := outcomes(100, func(i int) frontend.Response {
			v := v.at(instances[i%len(instances)])
			if i%3 == 0 {
				return v.verifyDevice(name, wrong)
			}
			return v.verifyTOTP(wrong)
		})
		require.Equal(t, map[string]int{"INVALID_TOTP_ERROR": 5, "LIMIT_REACHED_ERROR": 95}, results)
		require.Contains(t, db.Dump("limits"), "failures=5 ")
		for _, instance := range instances {
			is(t, v.at(instance).verifyTOTP(s.code(secret)), 200, limitReached(15*time.Minute), none)
		}
		require.Equal(t, []string{"TOTP Device 1", "TOTP Device 2?"}, v.names())
	})
}

// F-04: a page that is opened many times at once, as by a front end that renders twice, ends with one device, and one of the secrets is its.
func TestManyCreationsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		instances := s.instances()
		secrets := make([]string, 50)
		require.Equal(t, map[string]int{"OK": 50}, outcomes(50, func(i int) frontend.Response {
			r := v.at(instances[i%len(instances)]).create(object{})
			secrets[i], _ = r.JSON["secret"].(string)
			return r
		}))
		require.Equal(t, []string{"TOTP Device 1?"}, v.names())
		right := 0
		for _, secret := range secrets {
			right += strings.Count(v.verifyDevice("TOTP Device 1", s.code(secret)).Body, `"wasAlreadyVerified":false`)
			require.NoError(t, s.ResetAttempts(t.Context(), v.UserID()))
			if right > 0 {
				break
			}
		}
		require.Equal(t, 1, right)
	})
}

// Everything at once: whatever the order, every answer is one of those that the routes have, and what is left keeps all rules.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v := s.signedUp(ada)
		instances := s.instances()
		var visitors []visitor
		for i := range 8 {
			visitors = append(visitors, s.signedIn(ada).at(instances[i%len(instances)]))
		}
		results := outcomes(len(visitors), func(i int) frontend.Response {
			v, random := visitors[i], rand.New(rand.NewPCG(1, uint64(i)))
			secrets := map[string]string{}
			for range 25 {
				name := fmt.Sprint("device ", random.IntN(4))
				var r frontend.Response
				switch random.IntN(4) {
				case 0:
					if r = v.create(object{"deviceName": name}); r.Is("OK") {
						secrets[name] = r.JSON["secret"].(string)
					}
				case 1:
					if secrets[name] == "" {
						continue
					}
					r = v.verifyDevice(name, s.code(secrets[name]))
				case 2:
					r = v.remove(name)
				case 3:
					r = v.list()
				}
				if r.Status != 200 {
					return r
				}
				switch r.JSON["status"] {
				case "OK", "DEVICE_ALREADY_EXISTS_ERROR", "UNKNOWN_DEVICE_ERROR", "INVALID_TOTP_ERROR", "LIMIT_REACHED_ERROR":
				default:
					return r
				}
			}
			return frontend.Response{JSON: object{"status": "done"}}
		})
		require.Equal(t, map[string]int{"done": len(visitors)}, results)
		names := v.names()
		seen := map[string]bool{}
		for _, name := range names {
			name = strings.TrimSuffix(name, "?")
			require.False(t, seen[name], "%v", names)
			seen[name] = true
		}
		require.LessOrEqual(t, len(names), 4)

		// When the dust has settled, the last removal leaves the factor in no session.
		for name := range seen {
			require.True(t, v.remove(name).Is("OK"))
		}
		require.True(t, v.remove("none").Is("OK"))
		require.Zero(t, s.withTOTP())
		require.Equal(t, []string{}, v.names())
	})
}
