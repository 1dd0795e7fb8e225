package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/storetest"
)

func TestAFreshDatabaseHoldsTheTenantPublic(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		require.Len(t, storetest.Tables(), 22)
		require.Equal(t, 1, db.Rows("tenants"))
		require.Contains(t, db.Dump("tenants"), "tenants tenant_id=public first_factors=<nil>")
	})
}
