// An authenticator app for users that switched it on: by enrolling a device, or on the settings page.
//
//	GET, POST, DELETE /settings/totp    state and devices, switch it on, switch it off
//
// The policy is the library's default, which asks for any one of the factors in the user's list. The page enrols and removes devices through the
// library's own routes, POST /auth/totp/device, /auth/totp/device/verify and /auth/totp/device/remove.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"slices"
	"time"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/totp"
)

// recently is how fresh a code must be for switching TOTP off: an open browser is not enough. Who was signed in for longer gets a 403 and gives a
// code, POST /auth/totp/verify.
const recently = 15 * time.Minute

// optInOnVerifyDevicePOST switches TOTP on when a device was enrolled.
func optInOnVerifyDevicePOST(original totp.APIs, apis *totp.APIs) {
	apis.VerifyDevicePOST = func(ctx context.Context, in totp.VerifyDevicePOSTInput) (totp.VerifyDeviceResult, error) {
		result, err := original.VerifyDevicePOST(ctx, in)
		if err != nil || result.WasAlreadyVerified { // then no code was looked at
			return result, err
		}
		return result, mfa.FromContext(ctx).AddToRequiredSecondaryFactorsForUser(ctx, in.Session.UserID(), factor.TOTP)
	}
}

func newAuth(ctx context.Context, db *storage.DB, now func() time.Time) (*mfa.MFA, *totp.Recipe, error) {
	authenticator := totp.New(totp.Config{
		Issuer:        "Acme",           // what the app shows
		DefaultPeriod: 30 * time.Second, // the default; many apps know no other
		Override:      totp.Override{APIs: optInOnVerifyDevicePOST},
	})
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo:      mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage:      db,
		Factors:      []mfa.Factor{emailpassword.New(emailpassword.Config{}), authenticator},
		FirstFactors: []factor.ID{factor.EmailPassword},
		Now:          now,
	})
	return auth, authenticator, err
}

func routes(auth *mfa.MFA, authenticator *totp.Recipe) http.Handler {
	s := settings{auth, authenticator}
	verify := auth.Sessions().Verify
	fresh := mfa.Claim.HasCompletedRequirementListWithin(recently, factor.Requirements{factor.TOTP})
	mux := http.NewServeMux()
	mux.Handle("GET /settings/totp", verify(http.HandlerFunc(s.show)))
	mux.Handle("POST /settings/totp", verify(http.HandlerFunc(s.enable)))
	mux.Handle("DELETE /settings/totp", verify(http.HandlerFunc(s.disable), fresh))
	return auth.CORS(auth.Middleware(mux)) // the website has another origin than this API
}

type settings struct {
	auth          *mfa.MFA
	authenticator *totp.Recipe
}

func (s settings) show(w http.ResponseWriter, r *http.Request) {
	state, err := s.state(r.Context(), session.FromContext(r.Context()).UserID())
	if err != nil {
		s.auth.HandleError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(state)
}

type state struct {
	Enabled bool          `json:"enabled"`
	SetUp   bool          `json:"setUp"`
	Devices []totp.Device `json:"devices"`
}

func (s settings) state(ctx context.Context, userID string) (state, error) {
	enabled, err := s.isTOTPEnabledForUser(ctx, userID)
	if err != nil {
		return state{}, err
	}
	setUp, err := s.isTOTPSetUpForUser(ctx, userID)
	if err != nil {
		return state{}, err
	}
	devices, err := s.authenticator.ListDevices(ctx, userID)
	if err != nil {
		return state{}, err
	}
	// An enrolment that was begun and left is no device.
	devices = slices.DeleteFunc(devices, func(d totp.Device) bool { return !d.Verified })
	return state{enabled, setUp, devices}, nil
}

// enable works without a device too: the user is then asked to enrol one at the next sign-in.
func (s settings) enable(w http.ResponseWriter, r *http.Request) {
	userID := session.FromContext(r.Context()).UserID()
	if err := s.auth.AddToRequiredSecondaryFactorsForUser(r.Context(), userID, factor.TOTP); err != nil {
		s.auth.HandleError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// disable keeps the devices: TOTP can be switched on again without a new enrolment.
func (s settings) disable(w http.ResponseWriter, r *http.Request) {
	userID := session.FromContext(r.Context()).UserID()
	if err := s.auth.RemoveFromRequiredSecondaryFactorsForUser(r.Context(), userID, factor.TOTP); err != nil {
		s.auth.HandleError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s settings) isTOTPEnabledForUser(ctx context.Context, userID string) (bool, error) {
	required, err := s.auth.GetRequiredSecondaryFactorsForUser(ctx, userID)
	return slices.Contains(required, factor.TOTP), err
}

func (s settings) isTOTPSetUpForUser(ctx context.Context, userID string) (bool, error) {
	setUp, err := s.auth.GetFactorsSetupForUser(ctx, userID)
	return slices.Contains(setUp, factor.TOTP), err
}

func main() {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, "acme.db", storage.Options{Keys: storage.KeyFile("acme.key")})
	if err != nil {
		log.Fatal(err)
	}
	auth, authenticator, err := newAuth(ctx, db, time.Now)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:3001", routes(auth, authenticator)))
}
