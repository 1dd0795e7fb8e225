package session_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/session"
)

func TestALifeOfASession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		for _, mode := range []string{"cookie", "header"} {
			b := newBundle(t, db, setup{})
			c := newClient(t, app(b, session.NewSession{AccessTokenPayload: map[string]any{"plan": 1.50, "sub": "stolen"}}), mode)
			require.Equal(t, http.StatusUnauthorized, c.call("GET", "/me", "").StatusCode)

			res := c.call("POST", "/login", "")
			require.Equal(t, http.StatusNoContent, res.StatusCode, text(t, res)+b.log.String())
			if mode == "cookie" {
				assert.Len(t, c.cookies, 2)
				assert.Empty(t, c.access+c.refresh)
			} else {
				assert.Empty(t, c.cookies)
				assert.NotEmpty(t, c.access)
				assert.NotEmpty(t, c.refresh)
			}
			f := frontOf(t, res)
			assert.Equal(t, "user-1", f.UID)

			res = c.call("GET", "/me", "")
			require.Equal(t, "user-1", text(t, res))
			require.Empty(t, res.Header["Front-Token"], "an unchanged token is not sent again")

			res = c.call("POST", "/auth/session/refresh", "")
			require.Equal(t, http.StatusOK, res.StatusCode, b.log.String())
			require.Equal(t, "{}", text(t, res))
			require.Equal(t, "user-1", text(t, c.call("GET", "/me", "")))

			res = c.call("POST", "/auth/signout", "")
			require.Equal(t, http.StatusOK, res.StatusCode, b.log.String())
			require.Equal(t, `{"status":"OK"}`, text(t, res))
			require.Equal(t, "remove", res.Header.Get("front-token"))
			require.Empty(t, c.cookies)
			require.Empty(t, c.access+c.refresh)
			require.Zero(t, db.Rows("sessions"))
			require.Equal(t, []string{"session.created ", "session.ended sign_out"}, b.eventNames())
		}
	})
}
