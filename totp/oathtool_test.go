package totp

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
)

// An authenticator that shares no code with this library gets in with the secret that was given out.
func TestIndependentAuthenticator(t *testing.T) { // T-01
	t.Parallel()
	path, err := exec.LookPath("oathtool")
	if err != nil {
		storetest.Require(t, "oathtool", "it is not in PATH")
	}
	shows := func(secret string, at time.Time, period string) string {
		out, err := exec.Command(path, "--totp", "--base32", "--time-step-size="+period+"s", "--now="+at.Format("2006-01-02 15:04:05 UTC"), secret).Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	b := newBundle(t, storetest.Open(t, "memory"))
	made := b.create("u", "")
	_, err = b.verify("u", made.DeviceName, shows(made.Secret, b.now, "30"))
	require.NoError(t, err)
	b.after(10 * time.Second)
	require.NoError(t, b.check("u", shows(made.Secret, b.now.Add(30*time.Second), "30")))
	assert.Equal(t, invalid(1), b.check("u", shows(made.Secret, b.now.Add(90*time.Second), "30")))

	minute, err := b.CreateDevice(t.Context(), CreateDeviceInput{UserID: "v", Period: time.Minute})
	require.NoError(t, err)
	_, err = b.verify("v", minute.DeviceName, shows(minute.Secret, b.now, "60"))
	require.NoError(t, err)

	for range 200 { // times of all sizes, secrets of all kinds
		b.after(1_000_003 * 37 * time.Second)
		secret, err := b.random(secretBytes)
		require.NoError(t, err)
		assert.Equal(t, shows(encodeSecret(secret), b.now, "30"), code(t, encodeSecret(secret), b.now, 30), b.now)
	}
}
