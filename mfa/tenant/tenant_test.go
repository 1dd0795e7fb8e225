package tenant_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/mfa/factor"
	"github.com/stepup-auth/stepup/mfa/tenant"
	"github.com/stepup-auth/stepup/session"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// offered is what the factors of the instance in these tests offer as second factors.
func offered(id factor.ID) bool { return id == factor.TOTP || id == factor.OTPEmail }

func attach(t testing.TB, db *storetest.DB, cfg tenant.Config) (*tenant.Recipe, *env.Env) {
	t.Helper()
	e := &env.Env{Store: db.Backend, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return start }, Random: rand.Reader}
	r, err := tenant.Attach(e, offered, cfg)
	require.NoError(t, err)
	return r, e
}

// each gives every database a recipe without overrides.
func each(t *testing.T, test func(t *testing.T, db *storetest.DB, r *tenant.Recipe)) {
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		r, _ := attach(t, db, tenant.Config{})
		test(t, db, r)
	})
}

func require400(t *testing.T, err error, message string) {
	t.Helper()
	var bad *session.BadInputError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, message, bad.Message)
}

type list = []factor.ID

func TestPublicAlwaysExists(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		want := &tenant.Tenant{ID: "public", CoreConfig: map[string]any{}}
		for _, id := range []string{"", "public", " PUBLIC "} {
			db.Probe.Reset()
			got, err := r.GetTenant(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, 1, db.Probe.Count())
		}
		all, err := r.ListAllTenants(context.Background())
		require.NoError(t, err)
		require.Equal(t, []*tenant.Tenant{want}, all)
	})
}

func TestCreateAndUpdate(t *testing.T) {
	t.Parallel()
	password, otp := list{factor.EmailPassword}, list{factor.OTPEmail, factor.TOTP}
	for name, c := range map[string]struct {
		update        tenant.Update
		fresh, public *tenant.Tenant // what a new tenant and public become
		full          *tenant.Tenant // what one becomes that has everything
	}{
		"nothing": {tenant.Update{},
			&tenant.Tenant{FirstFactors: list{}}, &tenant.Tenant{}, &tenant.Tenant{FirstFactors: password, RequiredSecondaryFactors: otp}},
		"lists": {tenant.Update{FirstFactors: tenant.Only("my-sso", factor.EmailPassword), RequiredSecondaryFactors: tenant.Only(factor.TOTP, "mine")},
			&tenant.Tenant{FirstFactors: list{"my-sso", "emailpassword"}, RequiredSecondaryFactors: list{"totp", "mine"}},
			&tenant.Tenant{FirstFactors: list{"my-sso", "emailpassword"}, RequiredSecondaryFactors: list{"totp", "mine"}},
			&tenant.Tenant{FirstFactors: list{"my-sso", "emailpassword"}, RequiredSecondaryFactors: list{"totp", "mine"}}},
		"empty lists": {tenant.Update{FirstFactors: tenant.Only(), RequiredSecondaryFactors: tenant.Only()},
			&tenant.Tenant{FirstFactors: list{}}, &tenant.Tenant{FirstFactors: list{}}, &tenant.Tenant{FirstFactors: list{}}},
		"unset": {tenant.Update{FirstFactors: tenant.Unset(), RequiredSecondaryFactors: tenant.Unset()},
			&tenant.Tenant{}, &tenant.Tenant{}, &tenant.Tenant{}},
		"one only": {tenant.Update{RequiredSecondaryFactors: tenant.Unset()},
			&tenant.Tenant{FirstFactors: list{}}, &tenant.Tenant{}, &tenant.Tenant{FirstFactors: password}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
				ctx := context.Background()
				_, err := r.CreateOrUpdateTenant(ctx, "full", tenant.Update{FirstFactors: tenant.Only(password...), RequiredSecondaryFactors: tenant.Only(otp...)})
				require.NoError(t, err)
				for id, want := range map[string]*tenant.Tenant{"fresh": c.fresh, "public": c.public, "full": c.full} {
					db.Probe.Reset()
					result, err := r.CreateOrUpdateTenant(ctx, " "+strings.ToUpper(id), c.update)
					require.NoError(t, err)
					require.Equal(t, id == "fresh", result.CreatedNew)
					require.LessOrEqual(t, db.Probe.Count(), 2)
					got, err := r.GetTenant(ctx, id)
					require.NoError(t, err)
					require.Equal(t, &tenant.Tenant{ID: id, FirstFactors: want.FirstFactors, RequiredSecondaryFactors: want.RequiredSecondaryFactors,
						CoreConfig: map[string]any{}}, got)

					db.Probe.Reset()
					result, err = r.CreateOrUpdateTenant(ctx, id, c.update)
					require.NoError(t, err)
					require.False(t, result.CreatedNew)
					require.Equal(t, 1, db.Probe.Count(), "what changes nothing writes nothing")
				}
			})
		})
	}
}

func TestCoreConfigIsMerged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		for _, step := range []struct{ change, want map[string]any }{
			{map[string]any{"passwordless_code_lifetime": 600_000, "passwordless_max_code_input_attempts": 100.0},
				map[string]any{"passwordless_code_lifetime": 600_000.0, "passwordless_max_code_input_attempts": 100.0}},
			{map[string]any{"passwordless_code_lifetime": nil, "password_reset_token_lifetime": json.Number("1"), "email_verification_token_lifetime": nil},
				map[string]any{"passwordless_max_code_input_attempts": 100.0, "password_reset_token_lifetime": 1.0}},
			{nil, map[string]any{"passwordless_max_code_input_attempts": 100.0, "password_reset_token_lifetime": 1.0}},
			{map[string]any{}, map[string]any{"passwordless_max_code_input_attempts": 100.0, "password_reset_token_lifetime": 1.0}},
			{map[string]any{"passwordless_max_code_input_attempts": nil, "password_reset_token_lifetime": nil}, map[string]any{}},
		} {
			_, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{CoreConfig: step.change})
			require.NoError(t, err)
			got, err := r.GetTenant(ctx, "t1")
			require.NoError(t, err)
			require.Equal(t, step.want, got.CoreConfig)
			require.Equal(t, list{}, got.FirstFactors, "nobody can sign in on a tenant that was made without first factors")
		}
	})
}

func TestWhatCannotBe(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		before := db.Dump()
		first := func(ids ...factor.ID) tenant.Update {
			return tenant.Update{FirstFactors: tenant.Only(ids...)}
		}
		required := func(ids ...factor.ID) tenant.Update {
			return tenant.Update{RequiredSecondaryFactors: tenant.Only(ids...)}
		}
		core := func(key string, value any) tenant.Update {
			return tenant.Update{CoreConfig: map[string]any{key: value}}
		}
		const form, none = " should contain only 0-9,a-z,A-Z,_,.,- characters",
			" should not contain passwordless, which is no factor: use otp-email, otp-phone, link-email or link-phone"
		for name, c := range map[string]struct {
			id      string
			update  tenant.Update
			message string
		}{
			"blank id":            {" ", tenant.Update{}, "tenantId should not be an empty String"},
			"reserved id":         {"Users", tenant.Update{}, "Cannot use 'users' as a tenantId"},
			"id that is a route":  {"signin", tenant.Update{}, "Cannot use 'signin' as a tenantId"},
			"prefix of the core":  {"appid-1", tenant.Update{}, "tenantId must not start with 'appid-'"},
			"letters of an id":    {"a_b", tenant.Update{}, "tenantId can only contain letters, numbers and hyphens"},
			"long id":             {strings.Repeat("a", 65), tenant.Update{}, "tenantId must not be longer than 64 characters"},
			"first twice":         {"t1", first("a", "b", "a"), "firstFactors input should not contain duplicate values"},
			"first empty":         {"t1", first(""), "firstFactors" + form},
			"first letters":       {"t1", first("a b"), "firstFactors" + form},
			"first brackets":      {"t1", first("a(b)"), "firstFactors" + form},
			"first long":          {"t1", first(factor.ID(strings.Repeat("a", 129))), "firstFactors should contain no factor id of more than 128 characters"},
			"first passwordless":  {"t1", first("passwordless"), "firstFactors" + none},
			"second twice":        {"t1", required("totp", "totp"), "requiredSecondaryFactors input should not contain duplicate values"},
			"second letters":      {"public", required("é"), "requiredSecondaryFactors" + form},
			"second passwordless": {"t1", required("passwordless"), "requiredSecondaryFactors" + none},
			"second not offered": {"t1", required("totp", "mine", "link-email"),
				"requiredSecondaryFactors contains link-email, which no factor of this instance offers as a second factor"},
			"settings of public": {"public", core("passwordless_code_lifetime", 1), "Cannot modify base config"},
			"unknown setting":    {"t1", core("totp_max_attempts", nil), `Invalid core config: unknown setting "totp_max_attempts"`},
			"setting of 0": {"t1", core("passwordless_max_code_input_attempts", 0),
				"Invalid core config: passwordless_max_code_input_attempts must be a whole number from 1 to 100"},
			"setting of 101": {"t1", core("passwordless_max_code_input_attempts", 101),
				"Invalid core config: passwordless_max_code_input_attempts must be a whole number from 1 to 100"},
			"setting of 1.5": {"t1", core("passwordless_max_code_input_attempts", 1.5),
				"Invalid core config: passwordless_max_code_input_attempts must be a whole number from 1 to 100"},
			"setting that is a text": {"t1", core("passwordless_max_code_input_attempts", "5"),
				"Invalid core config: passwordless_max_code_input_attempts must be a whole number from 1 to 100"},
			"setting that is too large": {"t1", core("password_reset_token_lifetime", uint64(math.MaxUint64)),
				"Invalid core config: password_reset_token_lifetime must be a whole number from 1 to 9007199254740992"},
			"setting that is no JSON": {"t1", core("password_reset_token_lifetime", math.NaN()), "Invalid core config: json: unsupported value: NaN"},
		} {
			_, err := r.CreateOrUpdateTenant(ctx, c.id, c.update)
			require.Error(t, err, name)
			require400(t, err, c.message)
			require.Equal(t, before, db.Dump(), name)
		}
		_, err := r.CreateOrUpdateTenant(ctx, "t1", first(factor.ID(strings.Repeat("a", 128)), factor.WebAuthn, "Own_.-9"))
		require.NoError(t, err)
		_, err = r.CreateOrUpdateTenant(ctx, "public", tenant.Update{CoreConfig: map[string]any{}})
		require.NoError(t, err)
	})
}

// A route of a factor of the application's own is no tenant either.
func TestFirstSegmentsOfAllRoutesAreReserved(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	r, e := attach(t, db, tenant.Config{})
	e.Routes = []env.Route{{Path: "/recovery/use"}, {Path: "/backup"}}
	for _, id := range []string{"recovery", "Backup"} {
		_, err := r.CreateOrUpdateTenant(context.Background(), id, tenant.Update{})
		require400(t, err, fmt.Sprintf("Cannot use '%s' as a tenantId", strings.ToLower(id)))
	}
	_, err := r.CreateOrUpdateTenant(context.Background(), "use", tenant.Update{})
	require.NoError(t, err)
}

func TestAnUnknownTenantIsAnError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		for _, id := range append([]string{"t1", " ", "users", "\x00", "\xff"}, storetest.Hostile...) { // I-02
			got, err := r.GetTenant(context.Background(), id)
			require.ErrorIs(t, err, tenant.ErrTenantNotFound, "%q", id)
			require.Nil(t, got)
		}
	})
}

func TestTenantJSON(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		text := func(id string) string {
			got, err := r.GetTenant(ctx, id)
			require.NoError(t, err)
			raw, err := json.Marshal(got)
			require.NoError(t, err)
			return string(raw)
		}
		require.Equal(t, `{"tenantId":"public","coreConfig":{}}`, text("public"))
		_, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{RequiredSecondaryFactors: tenant.Only(factor.TOTP),
			CoreConfig: map[string]any{"passwordless_code_lifetime": 1}})
		require.NoError(t, err)
		require.Equal(t, `{"tenantId":"t1","firstFactors":[],"requiredSecondaryFactors":["totp"],"coreConfig":{"passwordless_code_lifetime":1}}`, text("t1"))
	})
}

func TestListAllTenantsIsSorted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		for _, id := range []string{"z", "b-1", "b", "0"} {
			_, err := r.CreateOrUpdateTenant(ctx, id, tenant.Update{FirstFactors: tenant.Only("x", factor.ID(id))})
			require.NoError(t, err)
		}
		db.Probe.Reset()
		all, err := r.ListAllTenants(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, db.Probe.Count())
		var ids []string
		for _, one := range all {
			ids = append(ids, one.ID)
			got, err := r.GetTenant(ctx, one.ID)
			require.NoError(t, err)
			require.Equal(t, got, one)
		}
		require.Equal(t, []string{"0", "b", "b-1", "public", "z"}, ids)
	})
}

func TestARequestRemembersATenantUntilOneIsWritten(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := db.Backend.Remember(context.Background())
		_, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{FirstFactors: tenant.Only("a")})
		require.NoError(t, err)
		db.Probe.Reset()
		first, err := r.GetTenant(ctx, "t1")
		require.NoError(t, err)
		first.FirstFactors[0], first.CoreConfig["x"] = "changed", true
		second, err := r.GetTenant(ctx, "t1")
		require.NoError(t, err)
		require.Equal(t, &tenant.Tenant{ID: "t1", FirstFactors: list{"a"}, CoreConfig: map[string]any{}}, second, "private copies")
		require.Equal(t, 1, db.Probe.Count())
		_, err = r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{FirstFactors: tenant.Only("b")})
		require.NoError(t, err)
		third, err := r.GetTenant(ctx, "t1")
		require.NoError(t, err)
		require.Equal(t, list{"b"}, third.FirstFactors)
	})
}

// A failure at any statement, or at the commit, reaches the caller and leaves everything as it was.
func TestFailuresOfTheDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		for _, c := range []struct {
			name string
			call func() error
		}{
			{"make", func() error { _, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{}); return err }},
			{"update", func() error {
				_, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{FirstFactors: tenant.Only("a"), RequiredSecondaryFactors: tenant.Only("b"),
					CoreConfig: map[string]any{"passwordless_code_lifetime": 1}})
				return err
			}},
			{"get", func() error { // C-02
				got, err := r.GetTenant(ctx, "t1")
				require.Equal(t, err != nil, got == nil)
				return err
			}},
			{"list", func() error { _, err := r.ListAllTenants(ctx); return err }},
		} {
			db.FailsWhole(c.name, c.call)
		}
	})
}

// C-02
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		broken := store.SQL("test.broken", `INSERT INTO {p}tenants VALUES ($1, $2, $3, $4, 0)`)
		for _, row := range [][]any{{"t1", `[`, nil, `{}`}, {"t2", nil, `{}`, `{}`}, {"t3", nil, nil, `{`}} {
			_, err := db.Backend.Exec(ctx, broken, row...)
			require.NoError(t, err)
			id := row[0].(string)
			got, err := r.GetTenant(ctx, id)
			require.ErrorContains(t, err, "unreadable", id)
			require.Nil(t, got)
			_, err = r.ListAllTenants(ctx)
			require.ErrorContains(t, err, "unreadable", id)
			_, err = db.Backend.Exec(ctx, store.SQL("test.repair", `DELETE FROM {p}tenants WHERE tenant_id = $1`), id)
			require.NoError(t, err)
		}
	})
}

func TestAHostThatRollsBackChangesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		db.RollsBack(func(inTx context.Context) {
			result, err := r.CreateOrUpdateTenant(inTx, "t1", tenant.Update{})
			require.NoError(t, err)
			require.True(t, result.CreatedNew)
			_, err = r.CreateOrUpdateTenant(inTx, "public", tenant.Update{FirstFactors: tenant.Only("a")})
			require.NoError(t, err)
			got, err := r.GetTenant(inTx, "t1")
			require.NoError(t, err)
			require.Equal(t, "t1", got.ID)
		})
		require.Contains(t, db.Dump("tenants"), fmt.Sprintf("tenant_id=t1 first_factors=[] required_secondary_factors=<nil> core_config={} created_at=%d", start.UnixMilli()))
	})
}

// Updates of different fields at the same time lose nothing, and one of all makes the tenant.
func TestParallelUpdates(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *storetest.DB, r *tenant.Recipe) {
		ctx := context.Background()
		updates := []tenant.Update{{FirstFactors: tenant.Only("a")}, {RequiredSecondaryFactors: tenant.Only("b")}}
		want := tenant.Tenant{FirstFactors: list{"a"}, RequiredSecondaryFactors: list{"b"}, CoreConfig: map[string]any{}}
		for i, key := range []string{"password_reset_token_lifetime", "email_verification_token_lifetime", "passwordless_code_lifetime"} {
			updates = append(updates, tenant.Update{CoreConfig: map[string]any{key: i + 1}})
			want.CoreConfig[key] = float64(i + 1)
		}
		const tenants = 20
		var created atomic.Int32
		var wg sync.WaitGroup
		for i := range tenants {
			for _, update := range updates {
				wg.Go(func() {
					result, err := r.CreateOrUpdateTenant(ctx, fmt.Sprintf("t%d", i), update)
					if err != nil {
						t.Error(err)
					}
					if result.CreatedNew {
						created.Add(1)
					}
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, tenants, created.Load())
		for i := range tenants {
			want.ID = fmt.Sprintf("t%d", i)
			got, err := r.GetTenant(ctx, want.ID)
			require.NoError(t, err)
			require.Equal(t, &want, got)
		}
	})
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	failure := errors.New("down")
	var called []string
	r, e := attach(t, db, tenant.Config{Override: tenant.Override{
		Functions: func(original tenant.Functions, functions *tenant.Functions) {
			note := func(ctx context.Context, name string) {
				require.NotNil(t, env.FromContext(ctx), "the instance is in ctx")
				called = append(called, name)
			}
			functions.GetTenantID = func(ctx context.Context, in tenant.GetTenantIDInput) (string, error) {
				note(ctx, "GetTenantID")
				switch in.TenantIDFromFrontend {
				case "down":
					return "", failure
				case "panics":
					panic("override")
				case "acme":
					return " Customer1 ", nil
				case "empty":
					return "", nil
				case "strange":
					return "no tenant", nil
				}
				return original.GetTenantID(ctx, in)
			}
			functions.CreateOrUpdateTenant = func(ctx context.Context, in tenant.CreateOrUpdateTenantInput) (tenant.CreateOrUpdateTenantResult, error) {
				note(ctx, "CreateOrUpdateTenant")
				return original.CreateOrUpdateTenant(ctx, in)
			}
			functions.GetTenant = func(ctx context.Context, in tenant.GetTenantInput) (*tenant.Tenant, error) {
				note(ctx, "GetTenant")
				if in.TenantID == "forgotten" {
					return nil, nil
				}
				return original.GetTenant(ctx, in)
			}
			functions.ListAllTenants = func(ctx context.Context, in tenant.ListAllTenantsInput) ([]*tenant.Tenant, error) {
				note(ctx, "ListAllTenants")
				return original.ListAllTenants(ctx, in)
			}
		},
	}})
	ctx := context.Background()
	_, err := r.CreateOrUpdateTenant(ctx, "t1", tenant.Update{})
	require.NoError(t, err)
	_, err = r.GetTenant(ctx, "t1")
	require.NoError(t, err)
	_, err = r.ListAllTenants(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"CreateOrUpdateTenant", "GetTenant", "ListAllTenants"}, called)
	_, err = r.GetTenant(ctx, "forgotten")
	require.EqualError(t, err, "tenant: GetTenant was overridden and returned neither a tenant nor an error")

	for fromPath, want := range map[string]string{"t1": "t1", "public": "public", "acme": "customer1", "empty": "public"} {
		got, err := e.TenantID(ctx, fromPath)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = e.TenantID(ctx, "strange")
	require.ErrorIs(t, err, tenant.ErrTenantNotFound)
	_, err = e.TenantID(ctx, "down")
	require.ErrorIs(t, err, failure)
	require.PanicsWithValue(t, "override", func() { e.TenantID(ctx, "panics") })
}

func TestAFunctionThatIsMissingIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	e := &env.Env{}
	_, err := tenant.Attach(e, nil, tenant.Config{Override: tenant.Override{
		Functions: func(_ tenant.Functions, functions *tenant.Functions) { functions.GetTenant = nil },
	}})
	require.EqualError(t, err, "Tenants.Override.Functions left the function GetTenant nil")
	require.Nil(t, e.TenantID)
}
