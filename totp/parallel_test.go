package totp

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
)

// instances are the bundle and, where the database can be shared, another process on it.
func (b *bundle) instances() []*bundle {
	if b.db.Name == "memory" {
		return []*bundle{b}
	}
	return []*bundle{b, b.again()}
}

// count calls f many times at once, over all instances, and counts what comes of it.
func count(instances []*bundle, times int, f func(b *bundle, i int) string) map[string]int {
	results := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() {
			result := f(instances[i%len(instances)], i)
			mu.Lock()
			defer mu.Unlock()
			results[result]++
		})
	}
	all.Wait()
	return results
}

// outcome names the error of a verification.
func outcome(err error) string {
	if err == nil {
		return "OK"
	}
	if _, ok := errors.AsType[*InvalidTOTPError](err); ok {
		return "INVALID"
	}
	if _, ok := errors.AsType[*LimitReachedError](err); ok {
		return "LIMIT"
	}
	return err.Error()
}

func TestOneRightCodeManyTimesAtOnce(t *testing.T) { // T-05
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		right := b.code(secret)
		assert.Equal(t, map[string]int{"OK": 1, "INVALID": 5, "LIMIT": 94}, count(b.instances(), 100, func(b *bundle, _ int) string {
			return outcome(b.check("u", right))
		}))
	})
}

func TestManyWrongCodesAtOnce(t *testing.T) { // L-03
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		wrong := b.wrong(secret)
		var mu sync.Mutex
		evaluated := 0
		instances := b.instances()
		for _, b := range instances {
			generate := b.generate
			b.generate = func(secret string, counter uint64) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				evaluated++
				return generate(secret, counter)
			}
		}
		assert.Equal(t, map[string]int{"INVALID": 5, "LIMIT": 195}, count(instances, 200, func(b *bundle, _ int) string {
			return outcome(b.check("u", wrong))
		}))
		assert.Equal(t, 5*3, evaluated, "three codes of one device for each of five attempts")
		assert.Contains(t, db.Dump("limits"), "failures=5 ")
	})
}

// A right code among wrong ones is accepted at most once, and never beside a spent budget.
func TestRightCodeAmongWrongOnes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		secret := b.enrol("u", "phone")
		right, wrong := b.code(secret), b.wrong(secret)
		results := count(b.instances(), 100, func(b *bundle, i int) string {
			if i%10 == 0 {
				return outcome(b.check("u", right))
			}
			return outcome(b.check("u", wrong))
		})
		assert.LessOrEqual(t, results["OK"], 1)
		assert.LessOrEqual(t, results["INVALID"], 4+5, "at most four before the right one, and five after it")
		assert.Equal(t, 100, results["OK"]+results["INVALID"]+results["LIMIT"], "%v", results)
	})
}

func TestOneDeviceVerifiedManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		made := b.create("u", "phone")
		right := b.code(made.Secret)
		assert.Equal(t, map[string]int{"now": 1, "before": 99}, count(b.instances(), 100, func(b *bundle, _ int) string {
			result, err := b.verify("u", "phone", right)
			if err != nil {
				return err.Error()
			}
			if result.WasAlreadyVerified {
				return "before"
			}
			return "now"
		}))
	})
}

// F-04: the front end creates a device whenever its page is shown, perhaps twice at once.
func TestParallelCreationsLeaveOneDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		var mu sync.Mutex
		var secrets []string
		assert.Equal(t, map[string]int{"TOTP Device 1": 100}, count(b.instances(), 100, func(b *bundle, _ int) string {
			made, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u"})
			if err != nil {
				return err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			secrets = append(secrets, made.Secret)
			return made.DeviceName
		}))
		assert.Equal(t, []string{"TOTP Device 1?"}, b.names("u"))
		devices, _, err := b.devices(t.Context(), "u", b.now)
		require.NoError(t, err)
		secret, err := b.unseal(devices[0])
		require.NoError(t, err)
		assert.Contains(t, secrets, encodeSecret(secret), "one of them works")
		_, err = b.verify("u", "TOTP Device 1", b.code(encodeSecret(secret)))
		require.NoError(t, err)
	})
}

func TestParallelChangesKeepTheRules(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		for i := range 5 {
			b.create("u", string(rune('a'+i)))
		}
		results := count(b.instances(), 60, func(b *bundle, i int) string {
			name := string(rune('a' + i%5))
			var err error
			switch i % 3 {
			case 0:
				_, err = b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "u", DeviceName: "x" + name})
			case 1:
				_, err = b.ImportDevice(t.Context(), ImportDeviceInput{CreateDeviceInput{UserID: "u", DeviceName: "y" + name}, encodeSecret(vectorSecret)})
			default:
				err = b.UpdateDevice(t.Context(), "u", name, "x"+name)
			}
			switch {
			case err == nil:
				return "OK"
			case errors.Is(err, ErrDeviceAlreadyExists), errors.Is(err, ErrTooManyDevices), errors.Is(err, ErrUnknownDevice):
				return "refused"
			}
			return err.Error()
		})
		assert.Equal(t, 60, results["OK"]+results["refused"], "%v", results)
		verified, open := 0, 0
		seen := map[string]bool{}
		for _, name := range b.names("u") {
			name, isOpen := strings.CutSuffix(name, "?")
			if isOpen {
				open++
			} else {
				verified++
			}
			assert.False(t, seen[name])
			seen[name] = true
		}
		assert.Equal(t, 5, verified)
		assert.LessOrEqual(t, open, 5)
	})
}

// C-08: of the last devices that are removed at once one removal knows that it was the last.
func TestLastDevicesRemovedAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			b.enrol("u", name)
			b.after(time.Minute)
		}
		instances := b.instances()
		assert.Equal(t, map[string]int{"removed": 5}, count(instances, 5, func(b *bundle, i int) string {
			result, err := b.RemoveDevice(t.Context(), "u", names[i])
			if err != nil || !result.DidDeviceExist {
				return "not there"
			}
			return "removed"
		}))
		lost := 0
		for _, b := range instances {
			lost += len(b.removed)
		}
		assert.Equal(t, 1, lost)
	})
}

// A removal never lets a code of the device through afterwards.
func TestRemovalBesideVerification(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		b := newBundle(t, db)
		instances := b.instances()
		for range 20 {
			secret := b.enrol("u", "phone")
			right := b.code(secret)
			results := count(instances, 2, func(b *bundle, i int) string {
				if i == 0 {
					_, err := b.RemoveDevice(t.Context(), "u", "phone")
					return outcome(err)
				}
				err := b.check("u", right)
				if errors.Is(err, ErrUnknownUserID) {
					return "gone"
				}
				return outcome(err)
			})
			assert.Contains(t, []map[string]int{{"OK": 2}, {"OK": 1, "gone": 1}}, results)
			assert.ErrorIs(t, b.check("u", right), ErrUnknownUserID)
			b.after(time.Minute)
			instances[1].at(b.now)
		}
	})
}
