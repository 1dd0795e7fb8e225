package totp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/firstfactor/emailpassword"
	"github.com/stepup-auth/stepup/mfa/storage/sqlite"
	"github.com/stepup-auth/stepup/totp"
)

// newAuth is an application with passwords and this authenticator. A nil policy asks for the factors that were added for the user.
func newAuth(ctx context.Context, authenticator *totp.Recipe, policy mfa.GetMFARequirementsForAuthFunc) *mfa.MFA {
	db, err := sqlite.OpenInMemory(ctx) // sqlite.Open or postgres.Open in earnest
	if err != nil {
		log.Fatal(err)
	}
	auth, err := mfa.New(ctx, mfa.Config{
		AppInfo:                   mfa.AppInfo{AppName: "Acme", APIDomain: "http://localhost:3001", WebsiteDomain: "http://localhost:3000"},
		Storage:                   db,
		FirstFactors:              []factor.ID{factor.EmailPassword},
		Factors:                   []mfa.Factor{emailpassword.New(emailpassword.Config{}), authenticator},
		GetMFARequirementsForAuth: policy,
	})
	if err != nil {
		log.Fatal(err)
	}
	return auth
}

// The handle is given to mfa.New and kept, and a policy says who must complete the factor: here administrators. Front ends use the HTTP APIs, which the
// Middleware of the instance serves; an application's own pages and tools use the methods.
func Example() {
	ctx := context.Background()
	authenticator := totp.New(totp.Config{Issuer: "Acme"})
	newAuth(ctx, authenticator, func(ctx context.Context, in mfa.GetMFARequirementsForAuthInput) (factor.Requirements, error) {
		roles, err := in.Roles(ctx)
		if err != nil || !slices.Contains(roles, "admin") {
			return nil, err // no second factor
		}
		return factor.Requirements{factor.TOTP}, nil
	})

	made, err := authenticator.CreateDevice(ctx, totp.CreateDeviceInput{UserID: "user-1", UserIdentifierInfo: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.DeviceName, len(made.Secret)) // made.QRCodeString is what the app scans
	devices, err := authenticator.ListDevices(ctx, "user-1")
	fmt.Printf("%+v %v\n", devices, err)
	// Output:
	// TOTP Device 1 32
	// [{Name:TOTP Device 1 Period:30s Skew:1 Verified:false}] <nil>
}

// Users choose for themselves: whoever enrols a device is asked for it from then on. This goes with the default policy, which asks for the factors that
// were added for the user.
func ExampleOverride() {
	authenticator := totp.New(totp.Config{Override: totp.Override{APIs: func(original totp.APIs, apis *totp.APIs) {
		apis.VerifyDevicePOST = func(ctx context.Context, in totp.VerifyDevicePOSTInput) (totp.VerifyDeviceResult, error) {
			result, err := original.VerifyDevicePOST(ctx, in)
			if err != nil || result.WasAlreadyVerified { // then no code was looked at
				return result, err
			}
			return result, mfa.FromContext(ctx).AddToRequiredSecondaryFactorsForUser(ctx, in.Session.UserID(), factor.TOTP)
		}
	}}})
	newAuth(context.Background(), authenticator, nil)
	// Output:
}

// Users who come from another system keep the entries of their apps: their devices are verified at once. A secret comes in the form in which other
// systems write it.
func ExampleRecipe_ImportDevice() {
	ctx := context.Background()
	authenticator := totp.New(totp.Config{})
	newAuth(ctx, authenticator, nil)
	for _, secret := range []string{"gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "MFRGGZDFMZTWQ==="} {
		device, err := authenticator.ImportDevice(ctx, totp.ImportDeviceInput{
			CreateDeviceInput: totp.CreateDeviceInput{UserID: "user-1", DeviceName: "Ada's phone"}, // Period and Skew, where they were others
			Secret:            secret,
		})
		fmt.Println(device.DeviceName, err)
	}
	// Output:
	// Ada's phone <nil>
	//  secret must be the base32 text of 16 to 128 bytes
}

// A check outside of the HTTP APIs, such as a support tool's. It spends an attempt, and completes no factor of any session:
// mfa.MFA.MarkFactorAsCompleteInSession does.
func ExampleRecipe_VerifyTOTP() {
	ctx := context.Background()
	authenticator := totp.New(totp.Config{})
	newAuth(ctx, authenticator, nil)
	_, err := authenticator.ImportDevice(ctx, totp.ImportDeviceInput{
		CreateDeviceInput: totp.CreateDeviceInput{UserID: "user-1"}, Secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, userID := range []string{"user-1", "user-2"} {
		err := authenticator.VerifyTOTP(ctx, "public", userID, "no code")
		if wrong, ok := errors.AsType[*totp.InvalidTOTPError](err); ok {
			fmt.Println("wrong", wrong.CurrentNumberOfFailedAttempts, "of", wrong.MaxNumberOfFailedAttempts)
		} else if limit, ok := errors.AsType[*totp.LimitReachedError](err); ok {
			fmt.Println("wait", limit.RetryAfter)
		} else if errors.Is(err, totp.ErrUnknownUserID) {
			fmt.Println("there is no device")
		}
	}
	// Output:
	// wrong 1 of 5
	// there is no device
}
