package totp

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/session"
)

func TestFieldsOfABody(t *testing.T) {
	t.Parallel()
	const mustBeText, wantsName = "deviceName must be a string", "deviceName must have 1 to 256 bytes"
	for _, test := range []struct{ body, name, problem string }{
		{`{}`, "", ""},
		{`{"deviceName":"phone"}`, "phone", ""},
		{`{"deviceName":null}`, "", mustBeText},
		{`{"deviceName":1}`, "", mustBeText},
		{`{"deviceName":["a"]}`, "", mustBeText},
		{`{"deviceName":{}}`, "", mustBeText},
		{`{"deviceName":""}`, "", wantsName},
		{`{"deviceName":"a\tb"}`, "", wantsName},
	} {
		var b body
		require.NoError(t, json.Unmarshal([]byte(test.body), &b))
		name, err := b.optionalName()
		if test.problem == "" {
			require.NoError(t, err, test.body)
			assert.Equal(t, test.name, name)
			continue
		}
		var bad *session.BadInputError
		require.ErrorAs(t, err, &bad, test.body)
		assert.Contains(t, bad.Message, test.problem, test.body)
	}
	for _, text := range []string{`{}`, `{"totp":null}`, `{"totp":123456}`, `{"totp":true}`} {
		var b body
		require.NoError(t, json.Unmarshal([]byte(text), &b))
		_, err := b.code()
		assert.Equal(t, &session.BadInputError{Message: "totp is required and must be a string"}, err, text)
	}
}

func TestRoutesOfTheTable(t *testing.T) {
	t.Parallel()
	paths := func(override func(original APIs, apis *APIs)) []string {
		registration, err := New(Config{Override: Override{APIs: override}}).Attach(nil)
		require.NoError(t, err)
		assert.Equal(t, "totp", registration.RecipeID)
		assert.Empty(t, registration.FirstFactors, "it is never a first factor")
		paths := []string{}
		for _, route := range registration.Routes {
			paths = append(paths, route.Method+" "+route.Path)
		}
		return paths
	}
	assert.Equal(t, []string{
		"POST /totp/device", "GET /totp/device/list", "POST /totp/device/remove", "POST /totp/device/verify", "POST /totp/verify",
	}, paths(nil))
	assert.Equal(t, []string{"POST /totp/device", "POST /totp/device/remove", "POST /totp/verify"}, paths(func(_ APIs, apis *APIs) {
		apis.ListDevicesGET, apis.VerifyDevicePOST = nil, nil
	}))
	assert.Empty(t, paths(func(_ APIs, apis *APIs) { *apis = APIs{} }))
}
