package totp_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// recorder wraps every function of a table, whatever fields it has, and notes the calls. Where and what breaks can be set.
type recorder struct {
	t      *testing.T
	mu     sync.Mutex
	called []string
	broken map[string]func() error // instead of the original
}

func (r *recorder) wrap(table any) {
	fields := reflect.ValueOf(table).Elem()
	for i := range fields.NumField() {
		name, original := fields.Type().Field(i).Name, fields.Field(i)
		originalCopy := reflect.ValueOf(original.Interface())
		fields.Field(i).Set(reflect.MakeFunc(original.Type(), func(args []reflect.Value) []reflect.Value {
			require.NotNil(r.t, mfa.FromContext(args[0].Interface().(context.Context)), name)
			r.mu.Lock()
			r.called = append(r.called, name)
			fail := r.broken[name]
			r.mu.Unlock()
			if fail == nil {
				return originalCopy.Call(args)
			}
			results := make([]reflect.Value, original.Type().NumOut())
			for i := range results {
				results[i] = reflect.Zero(original.Type().Out(i))
			}
			if err := fail(); err != nil {
				results[len(results)-1] = reflect.ValueOf(&err).Elem()
			}
			return results
		}))
	}
}

func (r *recorder) overrides() totp.Override {
	return totp.Override{
		Functions: func(_ totp.Functions, functions *totp.Functions) { r.wrap(functions) },
		APIs:      func(_ totp.APIs, apis *totp.APIs) { r.wrap(apis) },
	}
}

// taken are the calls since it was last called.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	called := r.called
	r.called = nil
	return called
}

func (r *recorder) breaks(name string, how func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = map[string]func() error{name: how}
}

// Which fields of the tables each request and each method goes through; none is passed by, and none is left over.
func TestEachCallGoesThroughTheTables(t *testing.T) {
	t.Parallel()
	rec := &recorder{t: t}
	s := newSite(t, storetest.Open(t, "memory"), override(rec.overrides()))
	s.requires(factor.TOTP)
	v := s.signedUp(ada)
	all := map[string]bool{}
	calls := func(want ...string) {
		t.Helper()
		called := rec.taken()
		require.Equal(t, want, called)
		for _, name := range called {
			all[name] = true
		}
	}
	rec.taken()
	name, secret := v.CreateDevice()
	calls("CreateDevicePOST", "ListDevices", "CreateDevice", "GetUserIdentifierInfoForUserID")
	v.names()
	calls("ListDevicesGET", "ListDevices")
	require.True(t, v.verifyDevice(name, s.code(secret)).Is("OK"))
	calls("VerifyDevicePOST", "ListDevices", "VerifyDevice")
	s.turn(period)
	require.True(t, v.verifyTOTP(s.code(secret)).Is("OK"))
	calls("VerifyTOTPPOST", "VerifyTOTP")
	v.Info()
	calls("ListDevices")
	require.True(t, v.remove(name).Is("OK"))
	calls("RemoveDevicePOST", "ListDevices", "RemoveDevice")

	ctx, id := t.Context(), v.UserID()
	_, err := s.totp.ImportDevice(ctx, totp.ImportDeviceInput{
		CreateDeviceInput: totp.CreateDeviceInput{UserID: id, DeviceName: "old"}, Secret: strings.Repeat("A", 32),
	})
	require.NoError(t, err)
	calls("ImportDevice")
	require.NoError(t, s.totp.UpdateDevice(ctx, id, "old", "new"))
	calls("UpdateDevice")
	for _, table := range []reflect.Type{reflect.TypeFor[totp.Functions](), reflect.TypeFor[totp.APIs]()} {
		for i := range table.NumField() {
			require.Contains(t, all, table.Field(i).Name)
		}
	}
}

// C-02, I-03: an override that errors or panics completes nothing, in any field. What it returns reaches the client as what it is.
func TestOverridesThatFail(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		rec := &recorder{t: t}
		s := newSite(t, db, override(rec.overrides()))
		s.requires(factor.TOTP)
		ways := map[string]struct {
			fail   func() error
			status int
			body   string
		}{
			"error":   {func() error { return errors.New("the directory is away") }, 500, `{"message":"internal error"}`},
			"panic":   {func() error { panic("a bug of the application") }, 500, `{"message":"internal error"}`},
			"general": {func() error { return &session.GeneralError{Message: "Not on Sundays."} }, 200, `{"status":"GENERAL_ERROR","message":"Not on Sundays."}`},
			"bad":     {func() error { return &session.BadInputError{Message: "no"} }, 400, `{"message":"no"}`},
			"own":     {func() error { return session.NewRefusal("MY_ERROR", "x") }, 200, `{"status":"MY_ERROR"}`},
			"limit":   {func() error { return &totp.LimitReachedError{RetryAfter: 1500e6} }, 200, `{"status":"LIMIT_REACHED_ERROR","retryAfterMs":1500}`},
		}
		for how, way := range ways {
			for _, api := range []bool{true, false} {
				suffix := map[bool]string{true: "POST", false: ""}[api]
				email := how + suffix + "@example.com"
				v := s.signedUp(email)
				name, secret := v.CreateDevice()
				broken := func(field string, call func() frontend.Response) {
					t.Helper()
					rec.breaks(field+suffix, way.fail)
					defer rec.breaks("", nil)
					is(t, call(), way.status, way.body, none)
				}
				before := db.Dump("totp_devices", "sessions")
				broken("CreateDevice", func() frontend.Response { return v.create(object{}) })
				broken("VerifyDevice", func() frontend.Response { return v.verifyDevice(name, s.code(secret)) })
				broken("RemoveDevice", func() frontend.Response { return v.remove(name) })
				require.Equal(t, before, db.Dump("totp_devices", "sessions"))
				require.True(t, v.verifyDevice(name, s.code(secret)).Is("OK"))
				s.turn(period)

				v = s.signedIn(email)
				before = db.Dump("totp_devices", "sessions", "limits")
				broken("VerifyTOTP", func() frontend.Response { return v.verifyTOTP(s.code(secret)) })
				if api {
					rec.breaks("ListDevicesGET", way.fail)
				} else {
					rec.breaks("ListDevices", way.fail)
					is(t, v.remove(name), way.status, way.body, none)
					is(t, v.create(object{}), way.status, way.body, none)
					is(t, v.verifyDevice(name, s.code(secret)), way.status, way.body, none)
				}
				is(t, v.list(), way.status, way.body, none)
				rec.breaks("", nil)
				require.Equal(t, before, db.Dump("totp_devices", "sessions", "limits"))
				require.Equal(t, 200, v.RefreshSession().Status)
				require.False(t, v.V(), how)
				require.True(t, v.verifyTOTP(s.code(secret)).Is("OK"))
			}
		}
		require.Contains(t, s.logged(), "the directory is away")
		require.Contains(t, s.logged(), "a bug of the application")
	})
}

// The user is gone by the time at which the device is made: that ends the session. To a host's own call it is an error like any other.
func TestAUserWhoIsGone(t *testing.T) {
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"), override(totp.Override{Functions: func(_ totp.Functions, functions *totp.Functions) {
		functions.GetUserIdentifierInfoForUserID = func(context.Context, totp.GetUserIdentifierInfoForUserIDInput) (string, error) {
			return "", totp.ErrUnknownUserID
		}
	}}))
	v := s.signedUp(ada)
	_, err := s.totp.CreateDevice(t.Context(), totp.CreateDeviceInput{UserID: v.UserID()})
	require.ErrorIs(t, err, totp.ErrUnknownUserID)
	v.NoRefresh = true
	is(t, v.create(object{}), 401, unauthorised, cleared)
}

// C-02: what an override of mfa refuses, or the policy cannot say, completes nothing: the code is used, and the next one works.
func TestMarkingThatFails(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		fail := func() error { return nil }
		s := newSite(t, db, func(cfg *mfa.Config, _ *totp.Config) {
			cfg.Override.Functions = func(original mfa.Functions, functions *mfa.Functions) {
				functions.MarkFactorAsCompleteInSession = func(ctx context.Context, in mfa.MarkFactorAsCompleteInSessionInput) error {
					if err := fail(); err != nil {
						return err
					}
					return original.MarkFactorAsCompleteInSession(ctx, in)
				}
			}
		})
		_, secret := s.enrolled(ada)
		s.requires(factor.TOTP)
		v := s.signedIn(ada)
		for _, broken := range []func() error{
			func() error { return errors.New("away") },
			func() error { panic("bug") },
		} {
			fail = broken
			is(t, v.verifyTOTP(s.code(secret)), 500, `{"message":"internal error"}`, none)
			fail = func() error { return nil }
			is(t, v.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
			require.False(t, v.V())
			s.turn(period)
		}
		is(t, v.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
	})
}

// A nil API is not served: the request falls through to the application.
func TestAPIsThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	routes := map[string]string{
		"CreateDevicePOST": "POST /auth/totp/device", "ListDevicesGET": "GET /auth/totp/device/list", "RemoveDevicePOST": "POST /auth/totp/device/remove",
		"VerifyDevicePOST": "POST /auth/totp/device/verify", "VerifyTOTPPOST": "POST /auth/totp/verify",
	}
	for off := range routes {
		t.Run(off, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, storetest.Open(t, "memory"), override(totp.Override{APIs: func(_ totp.APIs, apis *totp.APIs) {
				reflect.ValueOf(apis).Elem().FieldByName(off).SetZero()
			}}))
			v := s.signedUp(ada)
			for name, route := range routes {
				method, path, _ := strings.Cut(route, " ")
				r := v.raw(method, path, `{"deviceName":"x","totp":"1"}`)
				want := http.StatusOK
				if name == off {
					want = http.StatusNotFound
				}
				require.Equal(t, want, r.Status, "%s: %s", route, r.Body)
			}
		})
	}
}

// What the APIs hand to an override: the session, the fields as they came, and the request, whose body can be read once more.
func TestInputsOfTheAPIs(t *testing.T) {
	t.Parallel()
	var seen []string
	invite := func(o session.APIOptions) string {
		var body struct {
			Invite string `json:"invite"`
		}
		require.NoError(t, o.Decode(&body))
		require.NotNil(t, o.Response)
		return body.Invite
	}
	s := newSite(t, storetest.Open(t, "memory"), override(totp.Override{APIs: func(original totp.APIs, apis *totp.APIs) {
		apis.CreateDevicePOST = func(ctx context.Context, in totp.CreateDevicePOSTInput) (totp.CreateDeviceResult, error) {
			seen = append(seen, "create", in.Session.UserID(), in.DeviceName, invite(in.Options))
			return original.CreateDevicePOST(ctx, in)
		}
		apis.ListDevicesGET = func(ctx context.Context, in totp.ListDevicesGETInput) ([]totp.Device, error) {
			seen = append(seen, "list", in.Session.UserID(), in.Options.Request.URL.Path)
			return nil, nil
		}
		apis.RemoveDevicePOST = func(ctx context.Context, in totp.RemoveDevicePOSTInput) (totp.RemoveDeviceResult, error) {
			seen = append(seen, "remove", in.Session.UserID(), in.DeviceName, invite(in.Options))
			return original.RemoveDevicePOST(ctx, in)
		}
		apis.VerifyDevicePOST = func(ctx context.Context, in totp.VerifyDevicePOSTInput) (totp.VerifyDeviceResult, error) {
			seen = append(seen, "verify device", in.Session.UserID(), in.DeviceName, in.TOTP, invite(in.Options))
			return original.VerifyDevicePOST(ctx, in)
		}
		apis.VerifyTOTPPOST = func(ctx context.Context, in totp.VerifyTOTPPOSTInput) error {
			seen = append(seen, "verify", in.Session.UserID(), in.TOTP, invite(in.Options))
			in.Options.Response.Header().Set("Content-Type", "application/json")
			_, err := in.Options.Response.Write([]byte(`{"status":"OK","mine":true}`))
			return err
		}
	}}))
	v := s.signedUp(ada)
	id := v.UserID()
	v.raw("POST", "/auth/totp/device", `{"deviceName":" a b ","invite":"one"}`)
	is(t, v.list(), 200, `{"status":"OK","devices":[]}`, none) // nil is no null
	v.raw("POST", "/auth/totp/device/verify", `{"deviceName":" a b ","totp":" 12 ","invite":"two"}`)
	v.raw("POST", "/auth/totp/device/remove", `{"deviceName":" a b ","invite":"three"}`)
	r := v.raw("POST", "/auth/totp/verify", `{"totp":"","invite":"four"}`)
	require.JSONEq(t, `{"status":"OK","mine":true}`, r.Body, "what it wrote itself is the answer")
	require.Equal(t, slices.Concat(
		[]string{"create", id, " a b ", "one"}, []string{"list", id, "/auth/totp/device/list"}, []string{"verify device", id, " a b ", " 12 ", "two"},
		[]string{"remove", id, " a b ", "three"}, []string{"verify", id, "", "four"},
	), seen)
}
