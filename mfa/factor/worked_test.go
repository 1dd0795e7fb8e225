package factor_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/mfa/factor"
)

// done makes a Completed of ids.
func done(ids ...factor.ID) factor.Completed {
	c := factor.Completed{}
	for _, id := range ids {
		c[id] = time.Unix(1702877939, 0)
	}
	return c
}

// kind is the word of the field "next" of the factor info API.
func kind(r factor.Requirement) string {
	switch r.(type) {
	case factor.OneOf:
		return "oneOf"
	case factor.AllOfInAnyOrder:
		return "allOfInAnyOrder"
	}
	return "string"
}

// worked are cases that were computed with SuperTokens' own function. Where it shrugs at a malformed item, refused is set: reading one is an error
// here.
var worked = []struct {
	requirements, completed string
	next, kind              string
	satisfied, refused      bool
}{
	{`[]`, `emailpassword`, ``, `string`, true, false},
	{`[{"oneOf":[]}]`, `emailpassword`, ``, `string`, true, false},
	{`[{"allOfInAnyOrder":[]}]`, `emailpassword`, ``, `string`, true, false},
	{`["totp"]`, `emailpassword`, `totp`, `string`, false, false},
	{`["totp"]`, `emailpassword totp`, ``, `string`, true, false},
	{`["otp-email"]`, `otp-email`, ``, `string`, true, false}, // as first factor
	{`[{"oneOf":["totp","otp-email"]}]`, `emailpassword`, `totp otp-email`, `oneOf`, false, false},
	{`[{"oneOf":["totp","otp-email"]}]`, `emailpassword otp-email`, ``, `string`, true, false},
	{`[{"oneOf":["totp","otp-email"]}]`, `otp-email`, ``, `string`, true, false}, // as first factor
	{`[{"allOfInAnyOrder":["totp","otp-email"]}]`, `emailpassword`, `totp otp-email`, `allOfInAnyOrder`, false, false},
	{`[{"allOfInAnyOrder":["totp","otp-email"]}]`, `emailpassword totp`, `otp-email`, `allOfInAnyOrder`, false, false},
	{`[{"allOfInAnyOrder":["totp","otp-email"]}]`, `emailpassword totp otp-email`, ``, `string`, true, false},
	{`["f1",{"oneOf":["f2","f3"]},"f4"]`, `f1`, `f2 f3`, `oneOf`, false, false},
	{`["f1",{"oneOf":["f2","f3"]},"f4"]`, `f1 f3`, `f4`, `string`, false, false},
	{`["f1",{"oneOf":["f2","f3"]},"f4"]`, `f4`, `f1`, `string`, false, false},
	{`["f1",{"oneOf":["f2","f3"]},"f4"]`, `f1 f2 f4`, ``, `string`, true, false},
	{`["f1",{"allOfInAnyOrder":["f2","f3"]},"f4"]`, `f1 f2`, `f3`, `allOfInAnyOrder`, false, false},
	{`[{"oneOf":["f1","f2"]},{"allOfInAnyOrder":["f3","f4"]},"f5"]`, `f1 f3`, `f4`, `allOfInAnyOrder`, false, false},
	{`[{"oneOf":["f1","f2"]},{"allOfInAnyOrder":["f3","f4"]},"f5"]`, `f3 f4`, `f1 f2`, `oneOf`, false, false},
	{`[{"oneOf":["f1","f2"]},{"allOfInAnyOrder":["f3","f4"]},"f5"]`, `f2 f3 f4`, `f5`, `string`, false, false},
	{`[{"oneOf":["f1","f2"]},{"allOfInAnyOrder":["f3","f4"]},"f5"]`, `f2 f3 f4 f5`, ``, `string`, true, false},
	{`["otp-phone","totp","otp-email"]`, `emailpassword totp`, `otp-phone`, `string`, false, false},
	{`["totp","totp"]`, ``, `totp`, `string`, false, false},
	{`["totp","totp"]`, `totp=0`, ``, `string`, true, false}, // a time of 0 counts
	{`[{"oneOf":["totp","totp","otp-email"]}]`, ``, `totp otp-email`, `oneOf`, false, false},
	{`[{"allOfInAnyOrder":["totp","totp"]}]`, ``, `totp`, `allOfInAnyOrder`, false, false},
	{`[{"oneOf":["totp"],"allOfInAnyOrder":["otp-email"]}]`, `totp`, ``, `string`, true, true},
	{`[{"oneOf":["totp"],"allOfInAnyOrder":["otp-email"]}]`, `otp-email`, `totp`, `oneOf`, false, true},
	{`[{}]`, ``, ``, `string`, true, true},
	{`[{"oneOf":[]},"totp"]`, ``, `totp`, `string`, false, false},
	{`["my-factor"]`, `emailpassword`, `my-factor`, `string`, false, false},
	{`["my-factor"]`, `emailpassword my-factor`, ``, `string`, true, false},
	{`["emailpassword","totp"]`, `thirdparty totp`, `emailpassword`, `string`, false, false},
	{`[{"allOfInAnyOrder":["otp-phone","totp"]},{"oneOf":["otp-email"]}]`, `emailpassword otp-phone`, `totp`, `allOfInAnyOrder`, false, false},
	{`[{"oneOf":["otp-phone","totp"]},{"allOfInAnyOrder":["totp","otp-email"]}]`, `otp-phone`, `totp otp-email`, `allOfInAnyOrder`, false, false},
}

func TestWorkedCases(t *testing.T) {
	t.Parallel()
	require.Len(t, worked, 35)
	for i, c := range worked {
		var requirements factor.Requirements
		err := json.Unmarshal([]byte(c.requirements), &requirements)
		if c.refused {
			require.Error(t, err, "case %d: %s", i+1, c.requirements)
			assert.Nil(t, requirements)
			continue
		}
		require.NoError(t, err, "case %d: %s", i+1, c.requirements)

		completed := factor.Completed{}
		for _, id := range strings.Fields(c.completed) {
			id, zero := strings.CutSuffix(id, "=0")
			completed[factor.ID(id)] = time.Unix(1702877939, 0)
			if zero {
				completed[factor.ID(id)] = time.Time{}
			}
		}
		next := requirements.Next(completed)
		var open []string
		if next != nil {
			for _, id := range next.IDs() {
				open = append(open, string(id))
			}
		}
		assert.Equal(t, c.next, strings.Join(open, " "), "case %d: next of %s after %s", i+1, c.requirements, c.completed)
		assert.Equal(t, c.kind, kind(next), "case %d", i+1)
		assert.Equal(t, c.satisfied, requirements.Satisfied(completed), "case %d", i+1)
	}
}
