package uuid_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/uuid"
)

func TestNew(t *testing.T) {
	t.Parallel()
	id, err := uuid.New(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	require.NoError(t, err)
	assert.Equal(t, "ffffffff-ffff-4fff-bfff-ffffffffffff", id)
	seen := map[string]bool{}
	for range 1000 {
		id, err := uuid.New(rand.Reader)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
	_, err = uuid.New(iotest.ErrReader(errors.New("no randomness")))
	require.ErrorContains(t, err, "no randomness")
	_, err = uuid.New(bytes.NewReader(make([]byte, 15)))
	require.Error(t, err, "half an identifier is none")
}
