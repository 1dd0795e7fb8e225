package totp_test

import (
	"encoding/base32"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/frontend"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

func TestCreateDevicePOST(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		made := func(r frontend.Response, name string) (secret string) {
			t.Helper()
			secret, _ = r.JSON["secret"].(string)
			bytes, err := base32.StdEncoding.DecodeString(secret)
			require.NoError(t, err)
			require.Len(t, bytes, 20)
			is(t, r, 200, fmt.Sprintf(`{"status":"OK","deviceName":%q,"secret":%q,"qrCodeString":`+
				`"otpauth://totp/Acme:ada%%40example.com?secret=%s&issuer=Acme&digits=6&period=30&algorithm=SHA1"}`, name, secret, secret), none)
			return secret
		}
		first := made(v.create(object{}), "TOTP Device 1")
		second := made(v.raw("POST", "/auth/totp/device", ""), "TOTP Device 1")
		require.NotEqual(t, first, second, "each visit of the page replaces the device, with a new secret")
		is(t, v.verifyDevice("TOTP Device 1", s.wrong(second)), 200, invalidTOTP(1), none)
		is(t, v.verifyDevice("TOTP Device 1", s.code(second)), 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)
		is(t, v.create(object{"deviceName": "TOTP Device 1"}), 200, `{"status":"DEVICE_ALREADY_EXISTS_ERROR"}`, none)
		made(v.create(object{"deviceName": "Ada's phone"}), "Ada's phone")
		made(v.create(object{}), "TOTP Device 2")
		require.Equal(t, []string{"Ada's phone?", "TOTP Device 1", "TOTP Device 2?"}, v.names())

		const name = `{"message":"deviceName must have 1 to 256 bytes of valid UTF-8 without control characters"}`
		for body, answer := range map[string]string{
			`{"deviceName":null}`:                                 `{"message":"deviceName must be a string"}`,
			`{"deviceName":1}`:                                    `{"message":"deviceName must be a string"}`,
			`{"deviceName":{"a":"b"}}`:                            `{"message":"deviceName must be a string"}`,
			`{"deviceName":["TOTP Device 1"]}`:                    `{"message":"deviceName must be a string"}`,
			`{"deviceName":""}`:                                   name,
			`{"deviceName":"a\nb"}`:                               name,
			`{"deviceName":"\u007f"}`:                             name,
			`{"deviceName":"` + strings.Repeat("é", 128) + `x"}`:  name,
			`{"deviceName":"TOTP Device 1","deviceName":"phone"}`: `{"message":"` + invalidJSON + `: the key \"deviceName\" occurs twice"}`,
			`[]`:                        `{"message":"` + invalidJSON + `"}`,
			`{"deviceName":"\u0000"}`:   "",
			"{\"deviceName\":\"\xff\"}": "",
			`{"deviceName":"\ud800"}`:   "",
		} {
			before := db.Dump("totp_devices", "limits")
			r := v.raw("POST", "/auth/totp/device", body)
			if answer == "" {
				require.Equal(t, 400, r.Status, body)
			} else {
				is(t, r, 400, answer, none)
			}
			require.Equal(t, before, db.Dump("totp_devices", "limits"), body)
		}
		made(v.create(object{"deviceName": strings.Repeat("é", 128)}), strings.Repeat("é", 128))
	})
}

const invalidJSON = "API input error: Please make sure to pass a valid JSON input in the request body"

func TestListDevicesGET(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		is(t, v.list(), 200, `{"status":"OK","devices":[]}`, none)
		s.turn(time.Second)
		v.create(object{"deviceName": "zebra"})
		s.turn(time.Second)
		_, err := s.totp.CreateDevice(t.Context(), totp.CreateDeviceInput{UserID: v.UserID(), DeviceName: "minute", Period: time.Minute, Skew: new(0)})
		require.NoError(t, err)
		s.turn(time.Second)
		v.EnrolTOTP(s.now())
		other := s.signedUp(bob)
		other.create(object{"deviceName": "bob's"})
		const all = `{"status":"OK","devices":[
			{"name":"zebra","period":30,"skew":1,"verified":false},
			{"name":"minute","period":60,"skew":0,"verified":false},
			{"name":"TOTP Device 1","period":30,"skew":1,"verified":true}
		]}`
		is(t, v.list(), 200, all, none)
		half := s.signedIn(ada)
		require.False(t, half.V())
		is(t, half.list(), 200, all, none)
		is(t, half.raw("GET", "/auth/totp/device/list", ""), 200, all, none)
		s.turn(24*time.Hour - 2*time.Second) // the first of them is a day old
		require.Equal(t, []string{"minute?", "TOTP Device 1"}, s.signedIn(ada).names())
	})
}

func TestRemoveDevicePOST(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		const gone, absent = `{"status":"OK","didDeviceExist":true}`, `{"status":"OK","didDeviceExist":false}`
		is(t, v.remove("nothing"), 200, absent, none)
		v.create(object{"deviceName": "given up"})
		require.False(t, v.V())
		is(t, v.remove("given up"), 200, gone, none)
		is(t, v.remove("given up"), 200, absent, none)

		secret := v.EnrolTOTP(s.now())
		v.create(object{"deviceName": "open"})
		half := s.signedIn(ada)
		require.False(t, half.V())
		is(t, half.remove("TOTP Device 1"), 403, unsatisfied, none)
		is(t, half.remove("open"), 200, gone, none)
		is(t, half.remove("open"), 200, absent, none)
		require.Equal(t, []string{"TOTP Device 1"}, half.names())

		for body, ok := range map[string]bool{
			``: false, `{}`: false, `{"deviceName":null}`: false, `{"deviceName":7}`: false, `{"deviceName":""}`: false, `{"deviceName":["TOTP Device 1"]}`: false,
			`{"devicename":"TOTP Device 1"}`: false, `{"deviceName":" TOTP Device 1"}`: true, `{"deviceName":"totp device 1"}`: true,
			`{"deviceName":"` + strings.Repeat("x", 1000) + `"}`: true,
		} {
			r := v.raw("POST", "/auth/totp/device/remove", body)
			if ok {
				is(t, r, 200, absent, none)
			} else {
				is(t, r, 400, `{"message":"deviceName is required and must be a non-empty string"}`, none)
			}
		}

		// Two verified ones: the factor stays with the first that goes, and leaves with the last, though it is required.
		s.turn(30 * time.Second)
		second := v.EnrolTOTP(s.now())
		require.Equal(t, []string{"TOTP Device 1", "TOTP Device 2"}, v.names())
		is(t, v.remove("TOTP Device 1"), 200, gone, none)
		s.turn(30 * time.Second)
		is(t, v.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
		is(t, v.verifyTOTP(s.code(second)), 200, `{"status":"OK"}`, changed)
		require.True(t, v.V())
		is(t, v.remove("TOTP Device 2"), 200, gone, changed)
		require.False(t, v.V())
		require.Equal(t, []string{"emailpassword"}, v.Completed())
		is(t, v.list(), 200, `{"status":"OK","devices":[]}`, none)
		next, setUp, allowed := v.Info()
		require.Equal(t, [][]string{{"totp"}, {"emailpassword"}, {"totp"}}, [][]string{next, setUp, allowed})
	})
}

// The removal of a verified device asks the policy anew: the v of the token may be old, in both directions.
func TestRemovalGoesByThePresentPolicy(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.enrolled(ada)
		v := s.signedIn(ada)
		require.True(t, v.V())
		s.requires(factor.TOTP)
		is(t, v.remove("TOTP Device 1"), 403, unsatisfied, changed)
		require.False(t, v.V())
		is(t, v.remove("TOTP Device 1"), 403, unsatisfied, none)
		s.requires()
		is(t, v.remove("TOTP Device 1"), 200, `{"status":"OK","didDeviceExist":true}`, changed)
		require.True(t, v.V())
	})
}

func TestVerifyDevicePOST(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.requires(factor.TOTP)
		v := s.signedUp(ada)
		name, secret := v.CreateDevice()
		const device, code = `{"message":"deviceName is required and must be a string"}`, `{"message":"totp is required and must be a string"}`
		for body, answer := range map[string]string{
			``: device, `{}`: device, `{"totp":"123456"}`: device, `{"deviceName":null,"totp":"123456"}`: device, `{"deviceName":1}`: device,
			`{"deviceName":"x"}`: code, `{"deviceName":"x","totp":null}`: code, `{"deviceName":"x","totp":123456}`: code, `{"deviceName":"","totp":{}}`: code,
		} {
			is(t, v.raw("POST", "/auth/totp/device/verify", body), 400, answer, none)
		}
		is(t, v.verifyDevice("none", s.code(secret)), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
		is(t, v.verifyDevice("", s.code(secret)), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
		is(t, v.verifyDevice("totp device 1", s.code(secret)), 200, `{"status":"UNKNOWN_DEVICE_ERROR"}`, none)
		for n := 1; n <= 5; n++ {
			is(t, v.verifyDevice(name, s.wrong(secret)), 200, invalidTOTP(n), none)
		}
		s.turn(time.Minute)
		is(t, v.verifyDevice(name, s.code(secret)), 200, limitReached(14*time.Minute), none)
		s.turn(14 * time.Minute)
		is(t, v.verifyDevice(name, " "+s.code(secret)[:3]+" "+s.code(secret)[3:]), 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)
		require.Equal(t, s.now(), v.completedAt("totp"))
		require.True(t, v.V())

		// T-06: the code that verified the device is used.
		is(t, v.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)

		// Already verified: any code will do, and it does nothing.
		before := db.Dump()
		s.turn(10 * time.Second)
		for _, anything := range []string{"", "000000", s.code(secret), strings.Repeat("9", 100)} {
			is(t, v.verifyDevice(name, anything), 200, `{"status":"OK","wasAlreadyVerified":true}`, none)
		}
		require.Equal(t, before, db.Dump())

		half := s.signedIn(ada)
		is(t, half.verifyDevice(name, s.code(secret)), 403, openFactor, none)
		is(t, half.verifyDevice("none", ""), 403, openFactor, none)
	})
}

func TestVerifyTOTPPOST(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v := s.signedUp(ada)
		for _, body := range []string{``, `{}`, `{"totp":null}`, `{"totp":123456}`, `{"totp":["123456"]}`, `{"TOTP":"123456"}`, `{"deviceName":"x"}`} {
			is(t, v.raw("POST", "/auth/totp/verify", body), 400, `{"message":"totp is required and must be a string"}`, none)
		}
		is(t, v.verifyTOTP("123456"), 200, `{"status":"UNKNOWN_USER_ID_ERROR"}`, none)
		name, secret := v.CreateDevice()
		is(t, v.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
		is(t, v.verifyDevice(name, s.code(secret)), 200, `{"status":"OK","wasAlreadyVerified":false}`, changed)
		s.turn(30 * time.Second)

		// Nobody asked for it: completing the factor early is fine, and so is doing it again.
		early := s.signedIn(ada)
		require.True(t, early.V())
		is(t, early.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
		require.Equal(t, s.now(), early.completedAt("totp"))
		s.turn(45 * time.Second)
		is(t, early.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
		require.Equal(t, s.now(), early.completedAt("totp"))
		is(t, early.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)

		// It turns v, and the same step in another session is refused.
		s.requires(factor.TOTP)
		s.turn(30 * time.Second)
		phone, laptop := s.signedIn(ada), s.signedIn(ada)
		is(t, phone.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
		require.True(t, phone.V())
		is(t, laptop.verifyTOTP(s.code(secret)), 200, invalidTOTP(1), none)
		require.False(t, laptop.V())
		require.Equal(t, 200, phone.RefreshSession().Status)
		require.True(t, phone.V())
		require.Equal(t, []string{"emailpassword", "totp"}, phone.Completed())
	})
}

// Skew 0 of the configuration is honoured over HTTP: only the present step is accepted.
func TestSkewZero(t *testing.T) { // T-03
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"), configured(totp.Config{DefaultSkew: new(0)}))
	v, secret := s.enrolled(ada)
	for _, shift := range []time.Duration{-30 * time.Second, 30 * time.Second} {
		r := v.verifyTOTP(frontend.Code(t, secret, s.now().Add(shift)))
		require.True(t, r.Is("INVALID_TOTP_ERROR"), r.Body)
	}
	is(t, v.verifyTOTP(s.code(secret)), 200, `{"status":"OK"}`, changed)
}

// Which device comes next, by name, after each step of a user.
func TestNamesOfDevices(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		for i, test := range []struct {
			there []string // with a ? where it is not verified
			next  string
		}{
			{nil, "TOTP Device 1"},
			{[]string{"TOTP Device 1?"}, "TOTP Device 1"},
			{[]string{"TOTP Device 1"}, "TOTP Device 2"},
			{[]string{"d1"}, "TOTP Device 2"},
			{[]string{"TOTP Device 1", "TOTP Device 2?"}, "TOTP Device 2"},
			{[]string{"TOTP Device 2"}, "TOTP Device 3"},
			{[]string{"TOTP Device 1", "TOTP Device 3"}, "TOTP Device 4"},
			{[]string{"totp device 1", "TOTP Device 1 "}, "TOTP Device 3"},
		} {
			v := s.signedUp(fmt.Sprintf("user%d@example.com", i))
			for _, name := range test.there {
				name, open := strings.CutSuffix(name, "?")
				r := v.create(object{"deviceName": name})
				require.True(t, r.Is("OK"), r.Body)
				if !open {
					require.True(t, v.verifyDevice(name, s.code(r.JSON["secret"].(string))).Is("OK"))
				}
			}
			name, _ := v.CreateDevice()
			require.Equal(t, test.next, name, "after %q", test.there)
		}
	})
}

// F-05: the caps, and what makes room.
func TestCapsOverHTTP(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v := s.signedUp(ada)
		secrets := map[string]string{}
		for i := range 5 {
			name := fmt.Sprint("open ", i)
			r := v.create(object{"deviceName": name})
			require.True(t, r.Is("OK"), r.Body)
			secrets[name] = r.JSON["secret"].(string)
		}
		is(t, v.create(object{}), 200, tooMany, none)
		is(t, v.create(object{"deviceName": "a sixth"}), 200, tooMany, none)
		r := v.create(object{"deviceName": "open 4"})
		require.True(t, r.Is("OK"), "one of the five is replaced: %s", r.Body)
		secrets["open 4"] = r.JSON["secret"].(string)

		for i := range 5 {
			name := fmt.Sprint("open ", i)
			r := v.verifyDevice(name, s.code(secrets[name]))
			require.True(t, r.Is("OK"), r.Body)
		}
		is(t, v.create(object{}), 200, tooMany, none)
		require.True(t, v.remove("open 0").Is("OK"))
		r = v.create(object{})
		require.True(t, r.Is("OK"), r.Body)
		_, err := s.totp.ImportDevice(t.Context(), totp.ImportDeviceInput{
			CreateDeviceInput: totp.CreateDeviceInput{UserID: v.UserID(), DeviceName: "imported"}, Secret: strings.Repeat("A", 32),
		})
		require.NoError(t, err)
		before := db.Dump()
		is(t, v.verifyDevice(r.JSON["deviceName"].(string), s.code(r.JSON["secret"].(string))), 200, tooMany, none)
		require.Equal(t, before, db.Dump(), "nothing was looked at")
	})
}

// Who may set up: the answers of both steps, with the claim brought up to date on the way.
func TestSetUpRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		s.enrolled(ada)
		for name, test := range map[string]struct {
			requirement factor.Requirement
			refusal     string
		}{
			"it is required, and set up":        {factor.TOTP, openFactor},
			"one of two, and this one is":       {factor.OneOf{factor.TOTP, "my-factor"}, openFactor},
			"both, and this one is":             {factor.AllOfInAnyOrder{factor.TOTP, "my-factor"}, openFactor},
			"it is not among those of the next": {factor.ID("my-factor"), notNext},
		} {
			s.requires()
			v := s.signedIn(ada)
			require.True(t, v.V())
			s.requires(test.requirement)
			is(t, v.create(object{}), 403, test.refusal, changed)
			require.False(t, v.V(), name)
			is(t, v.create(object{"deviceName": "other"}), 403, test.refusal, none)
			is(t, v.verifyDevice("other", "123456"), 403, test.refusal, none)
			require.Equal(t, []string{"TOTP Device 1"}, v.names())
		}
		s.requires(factor.AllOfInAnyOrder{factor.TOTP, "my-factor"})
		next := s.signedUp(bob)
		require.False(t, next.V())
		next.EnrolTOTP(s.now())
		require.False(t, next.V(), "one of two")
		is(t, next.create(object{}), 403, notNext, none)
	})
}

// The five routes without a session that is good for them.
func TestWithoutASession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := newSite(t, db)
		v, secret := s.enrolled(ada)
		v.NoRefresh = true
		calls := map[string]func(visitor) frontend.Response{
			"create":        func(v visitor) frontend.Response { return v.create(object{}) },
			"list":          func(v visitor) frontend.Response { return v.list() },
			"remove":        func(v visitor) frontend.Response { return v.remove("TOTP Device 1") },
			"verify device": func(v visitor) frontend.Response { return v.verifyDevice("TOTP Device 1", "123456") },
			"verify":        func(v visitor) frontend.Response { return v.verifyTOTP(s.code(secret)) },
		}
		before := db.Dump()
		stranger := s.visitor("header")
		stranger.NoRefresh = true
		for _, call := range calls {
			is(t, call(stranger), 401, unauthorised, none)
		}
		for _, path := range []string{"/auth/totp/device", "/auth/totp/device/remove", "/auth/totp/device/verify", "/auth/totp/verify"} {
			is(t, stranger.raw("POST", path, `{"deviceName":1`), 401, unauthorised, none) // the session comes before the body
		}
		expired := v.clone()
		s.turn(time.Hour)
		for _, call := range calls {
			is(t, call(expired), 401, tryRefresh, none)
		}
		require.Equal(t, before, db.Dump())
		require.Equal(t, 200, v.RefreshSession().Status)

		// The user is gone, and the access token has not ended.
		id := v.UserID()
		s.forget(id)
		for _, name := range []string{"create", "remove", "verify device"} {
			is(t, calls[name](v.clone()), 401, unauthorised, cleared)
		}
		is(t, v.clone().verifyTOTP(s.code(secret)), 200, `{"status":"UNKNOWN_USER_ID_ERROR"}`, none)
		is(t, v.clone().list(), 200, `{"status":"OK","devices":[]}`, none)
		require.Zero(t, db.Rows("totp_devices"))

		// A session that an application made for a user it has deleted since.
		made, err := s.Sessions().CreateNewSessionWithoutRequestResponse(t.Context(), session.NewSession{RecipeUserID: session.RecipeUserID(id)})
		require.NoError(t, err)
		orphan := s.visitor("header")
		orphan.Access, orphan.NoRefresh = made.AccessToken(), true
		is(t, orphan.clone().create(object{}), 401, unauthorised, cleared)
	})
}

// Only GET and POST are served, and only where they belong; the rest is the application's.
func TestOtherMethodsAndPaths(t *testing.T) {
	t.Parallel()
	s := newSite(t, storetest.Open(t, "memory"))
	v := s.signedUp(ada)
	for _, call := range []string{
		"GET /auth/totp/device", "PUT /auth/totp/device", "DELETE /auth/totp/device", "POST /auth/totp/device/list", "GET /auth/totp/device/verify",
		"GET /auth/totp/verify", "POST /auth/totp", "POST /totp/verify", "POST /auth/totp/verify/x", "POST /auth/a/b/totp/verify",
	} {
		method, path, _ := strings.Cut(call, " ")
		require.Equal(t, http.StatusNotFound, v.raw(method, path, `{}`).Status, call)
	}
	for _, path := range []string{"/auth/totp/device/list/", "/auth/public/totp/device/list", "/auth/no-such-tenant/totp/device/list"} {
		is(t, v.raw("GET", path, ""), 200, `{"status":"OK","devices":[]}`, none)
	}
}
