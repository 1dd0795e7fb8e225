package facts_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/facts"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
)

var (
	newTenant = store.SQL("test.tenant", `INSERT INTO {p}tenants VALUES ($1, $2, $3, $4, 0)`)
	newRole   = store.SQL("test.role", `INSERT INTO {p}roles VALUES ($1)`)
	giveRole  = store.SQL("test.role.give", `INSERT INTO {p}user_roles VALUES ($1, $2, $3)`)
	newDevice = store.SQL("test.device", `INSERT INTO {p}totp_devices VALUES ($1, $2, $3, 'box', 30, 1, $4, -1, 0)`)
	newRow    = store.SQL("test.metadata", `INSERT INTO {p}user_metadata VALUES ($1, $2, $3)`)
)

func fill(t *testing.T, db *storetest.DB) {
	t.Helper()
	for _, row := range []struct {
		statement *store.Statement
		args      []any
	}{
		{newTenant, []any{"t1", `["b","a"]`, `["totp"]`, `{"passwordless_code_lifetime":1}`}},
		{newTenant, []any{"t2", `[]`, nil, `{}`}},
		{newRole, []any{"b"}}, {newRole, []any{"a"}}, {newRole, []any{"c"}},
		{giveRole, []any{"t1", "u1", "b"}}, {giveRole, []any{"t1", "u1", "a"}}, {giveRole, []any{"t2", "u1", "c"}},
		{giveRole, []any{"t1", "u2", "c"}},
		{newDevice, []any{"d1", "u1", "phone", true}}, {newDevice, []any{"d2", "u1", "old phone", true}},
		{newDevice, []any{"d3", "u1", "unverified", false}}, {newDevice, []any{"d4", "u2", "other", true}},
		{newRow, []any{"u1", `{"a":1}`, `{"requiredSecondaryFactors":["totp"]}`}},
	} {
		_, err := db.Backend.Exec(context.Background(), row.statement, row.args...)
		require.NoError(t, err)
	}
}

// S-10: the facts of one tenant hold no roles of another.
func TestGet(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := context.Background()
		fill(t, db)
		metadata := facts.UserMetadata{HasMetadata: true, Metadata: `{"a":1}`, Supertokens: `{"requiredSecondaryFactors":["totp"]}`}
		devices := []facts.TOTPDevice{{Name: "old phone", Period: 30, Skew: 1}, {Name: "phone", Period: 30, Skew: 1}}
		t1 := &facts.Tenant{ID: "t1", FirstFactors: []factor.ID{"b", "a"}, RequiredSecondaryFactors: []factor.ID{"totp"},
			CoreConfig: `{"passwordless_code_lifetime":1}`}
		for key, want := range map[[2]string]*facts.Facts{
			{"t1", "u1"}:                          {Tenant: t1, UserMetadata: metadata, Roles: []string{"a", "b"}, TOTPDevices: devices},
			{"t2", "u1"}:                          {Tenant: &facts.Tenant{ID: "t2", FirstFactors: []factor.ID{}, CoreConfig: "{}"}, UserMetadata: metadata, Roles: []string{"c"}, TOTPDevices: devices},
			{"t1", "nobody"}:                      {Tenant: t1},
			{"public", ""}:                        {Tenant: &facts.Tenant{ID: "public", CoreConfig: "{}"}},
			{"t3", "u1"}:                          {UserMetadata: metadata, TOTPDevices: devices},
			{"' OR '1'='1", "' OR '1'='1"}:        {}, // I-02
			{"t1", "u1' UNION SELECT 'role','b'"}: {Tenant: t1},
		} {
			db.Probe.Reset()
			got, err := facts.Get(ctx, db.Backend, key[0], key[1])
			require.NoError(t, err)
			require.Equal(t, want, got, key)
			require.Equal(t, 1, db.Probe.Count())
		}
	})
}

func TestWhatOneStatementReadIsFreeForAllWhoAsk(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		fill(t, db)
		ctx := db.Backend.Remember(context.Background())
		ask := func() {
			f, err := facts.Get(ctx, db.Backend, "t1", "u1")
			require.NoError(t, err)
			tenant, err := facts.GetTenant(ctx, db.Backend, "t1")
			require.NoError(t, err)
			require.Equal(t, f.Tenant, tenant)
			metadata, err := facts.GetMetadata(ctx, db.Backend, "u1")
			require.NoError(t, err)
			require.Equal(t, f.UserMetadata, metadata)
		}
		db.Probe.Reset()
		ask()
		ask()
		require.Equal(t, 1, db.Probe.Count())

		_, err := facts.Get(ctx, db.Backend, "t2", "u1")
		require.NoError(t, err)
		tenant, err := facts.GetTenant(ctx, db.Backend, "t3")
		require.NoError(t, err)
		require.Nil(t, tenant)
		_, err = facts.GetTenant(ctx, db.Backend, "t3")
		require.NoError(t, err)
		_, err = facts.GetMetadata(ctx, db.Backend, "u2")
		require.NoError(t, err)
		require.Equal(t, 4, db.Probe.Count(), "another tenant, one that does not exist, and another person")

		db.Backend.Forget(ctx, store.Facts)
		db.Probe.Reset()
		ask()
		require.Equal(t, 1, db.Probe.Count())

		db.Probe.Reset()
		_, err = facts.ReadMetadata(ctx, db.Backend, "u1")
		require.NoError(t, err)
		require.NoError(t, db.Backend.Tx(ctx, func(ctx context.Context) error {
			_, err := facts.Get(ctx, db.Backend, "t1", "u1")
			return err
		}))
		require.Equal(t, 2, db.Probe.Count(), "what decides is read")
	})
}

func TestWhoeverWroteTheDevicesKnowsThem(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		fill(t, db)
		ctx := db.Backend.Remember(context.Background())
		var before []*facts.Facts
		for _, id := range []string{"u1", "u2"} {
			f, err := facts.Get(ctx, db.Backend, "t1", id)
			require.NoError(t, err)
			before = append(before, f)
		}
		_, err := db.Backend.Exec(ctx, newDevice, "d5", "u1", "new", true)
		require.NoError(t, err)
		devices := []facts.TOTPDevice{{Name: "phone", Period: 30, Skew: 1}, {Name: "old phone", Period: 30, Skew: 1}, {Name: "new", Period: 30, Skew: 1}}
		facts.TOTPDevicesChanged(ctx, db.Backend, "t1", "u1", devices)
		db.Probe.Reset()
		remembered, err := facts.Get(ctx, db.Backend, "t1", "u1")
		require.NoError(t, err)
		listed, err := facts.GetTOTPDevices(ctx, db.Backend, "u1")
		require.NoError(t, err)
		require.Zero(t, db.Probe.Count())
		stored, err := facts.Get(context.Background(), db.Backend, "t1", "u1")
		require.NoError(t, err)
		require.Equal(t, stored, remembered)
		require.Equal(t, stored.TOTPDevices, listed)
		require.Len(t, before[0].TOTPDevices, 2, "what was given out stays as it was")
		require.Equal(t, "phone", devices[0].Name)

		db.Probe.Reset()
		_, err = facts.Get(ctx, db.Backend, "t1", "u2")
		require.NoError(t, err)
		require.Equal(t, 1, db.Probe.Count(), "of anybody else nothing is known any more")

		// Nothing was remembered, or a transaction is open: it only forgets.
		for _, ctx := range []context.Context{db.Backend.Remember(context.Background()), context.Background()} {
			facts.TOTPDevicesChanged(ctx, db.Backend, "t1", "u1", nil)
			f, err := facts.Get(ctx, db.Backend, "t1", "u1")
			require.NoError(t, err)
			require.Len(t, f.TOTPDevices, 3)
		}
		require.NoError(t, db.Backend.Tx(ctx, func(ctx context.Context) error {
			facts.TOTPDevicesChanged(ctx, db.Backend, "t1", "u1", nil)
			return nil
		}))
		f, err := facts.Get(ctx, db.Backend, "t1", "u1")
		require.NoError(t, err)
		require.Len(t, f.TOTPDevices, 3)
	})
}

// C-02: what cannot be read is an error, never an empty list.
func TestErrorsAreNeverEmptyLists(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		ctx := db.Backend.Remember(context.Background())
		for name, row := range map[string][]any{
			"not-json": {"not-json", `[`, nil, `{}`}, "null": {"null", nil, `null`, `{}`}, "no-list": {"no-list", `{}`, nil, `{}`},
		} {
			_, err := db.Backend.Exec(ctx, newTenant, row...)
			require.NoError(t, err)
			_, err = facts.Get(ctx, db.Backend, name, "u1")
			require.ErrorContains(t, err, "the lists of factors of the tenant "+name+" are unreadable")
			_, err = facts.GetTenant(ctx, db.Backend, name)
			require.Error(t, err)
		}
		for _, read := range []func() error{
			func() error { _, err := facts.Get(ctx, db.Backend, "public", "u1"); return err },
			func() error { _, err := facts.GetTenant(ctx, db.Backend, "public"); return err },
			func() error { _, err := facts.GetMetadata(ctx, db.Backend, "u1"); return err },
		} {
			db.Probe.FailAt(1)
			require.ErrorIs(t, read(), storetest.ErrInjected)
			db.Probe.FailAt(1)
			require.ErrorIs(t, read(), storetest.ErrInjected, "a failure is not remembered")
		}
	})
}
