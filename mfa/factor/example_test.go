package factor_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stepup-auth/stepup/mfa/factor"
)

// A password and an authenticator app, then two of the company's own factors.
func Example() {
	list := factor.Requirements{factor.EmailPassword, factor.TOTP, factor.AllOfInAnyOrder{"badge", "pin"}}

	completed := factor.Completed{factor.EmailPassword: time.Now()}
	fmt.Println(list.Satisfied(completed), list.Next(completed))
	completed[factor.TOTP] = time.Now()
	completed["pin"] = time.Now()
	fmt.Println(list.Satisfied(completed), list.Next(completed))
	completed["badge"] = time.Now()
	fmt.Println(list.Satisfied(completed), list.Next(completed))
	// Output:
	// false totp
	// false [badge]
	// true <nil>
}

// The type of what is open says how to ask for it.
func ExampleRequirements_Next() {
	list := factor.Requirements{factor.OneOf{factor.TOTP, factor.OTPEmail}}
	switch next := list.Next(factor.Completed{factor.EmailPassword: time.Now()}).(type) {
	case nil:
		fmt.Println("nothing to do")
	case factor.OneOf:
		fmt.Println("any of", next)
	case factor.AllOfInAnyOrder:
		fmt.Println("all of", next)
	case factor.ID:
		fmt.Println("this:", next)
	}
	// Output: any of [totp otp-email]
}

// A list can come from a file or a database: decoding accepts nothing that resembles a requirement but is none.
func ExampleRequirements_UnmarshalJSON() {
	var list factor.Requirements
	fmt.Println(json.Unmarshal([]byte(`["totp", {"oneOf": ["otp-email", "otp-phone"]}]`), &list), list)
	fmt.Println(json.Unmarshal([]byte(`[{"oneof": ["otp-email", "otp-phone"]}]`), &list))
	// Output:
	// <nil> [totp [otp-email otp-phone]]
	// factor: requirements: item 0: want an id, or a list of ids under oneOf or allOfInAnyOrder
}

// Any list of ids converts: that of a user or a tenant, say.
func ExampleAllOfInAnyOrder() {
	ofUser := []factor.ID{factor.TOTP, factor.OTPPhone}
	list := factor.Requirements{factor.AllOfInAnyOrder(ofUser)}
	fmt.Println(list.Next(factor.Completed{factor.TOTP: time.Now()}))
	// Output: [otp-phone]
}
