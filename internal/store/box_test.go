package store_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
)

var secret = []byte("the secret of a device")

func TestASealedSecretOpensInItsRow(t *testing.T) {
	t.Parallel()
	b := storetest.Open(t, "memory").Backend
	for _, secret := range [][]byte{secret, {}, {0}, []byte(strings.Repeat("long ", 1000))} {
		box, err := b.Seal(secret, "totp_devices", "user", "device")
		require.NoError(t, err)
		opened, err := b.Unseal(box, "totp_devices", "user", "device")
		require.NoError(t, err)
		assert.Equal(t, string(secret), string(opened))

		id, text, ok := strings.Cut(box, ".")
		require.True(t, ok)
		assert.Equal(t, "k1", id)
		data, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		assert.Len(t, data, 12+len(secret)+16, "nonce, ciphertext, tag")
		assert.False(t, len(secret) > 8 && strings.Contains(string(data), string(secret)))

		again, err := b.Seal(secret, "totp_devices", "user", "device")
		require.NoError(t, err)
		assert.NotEqual(t, box, again, "the nonce is random")
	}
}

// E-01: in another row, table or column order a box does not open.
func TestABoxOfAnotherRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := storetest.Open(t, "memory").Backend
	box, err := b.Seal(secret, "totp_devices", "user", "device")
	require.NoError(t, err)
	for _, row := range [][]string{
		{"totp_devices", "other", "device"}, {"totp_devices", "user", "other"}, {"totp_devices", "device", "user"}, {"totp_devices", "userdevice"},
		{"totp_devices", "user"}, {"totp_devices", "user", "device", ""}, {"totp_devices", "", "user", "device"}, {"signing_keys", "user", "device"},
	} {
		_, err := b.Unseal(box, row[0], row[1:]...)
		assert.EqualError(t, err, "storage: a secret in "+row[0]+`: key "k1" does not open it`, "%v", row)
	}
}

// E-01: a box that was changed does not open, whatever was changed.
func TestAChangedBoxDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := storetest.Open(t, "memory").Backend
	box, err := b.Seal(secret, "signing_keys", "kid")
	require.NoError(t, err)
	for i := range len(box) {
		for _, c := range []byte("A_.=") {
			if box[i] == c {
				continue
			}
			_, err := b.Unseal(box[:i]+string(c)+box[i+1:], "signing_keys", "kid")
			require.Error(t, err, "byte %d as %q", i, c)
		}
		_, err := b.Unseal(box[:i], "signing_keys", "kid")
		require.Error(t, err, "cut at %d", i)
	}
	for _, other := range []string{box + "A", box + "\n", " " + box, box + "=", "k1.", "", ".", "k1", "k1.AAAA"} {
		_, err := b.Unseal(other, "signing_keys", "kid")
		require.Error(t, err, "%q", other)
		assert.NotContains(t, err.Error(), string(secret))
	}
}

// E-03: a missing or wrong key is an error, and where keys are configured nothing is read in clear.
func TestAMissingOrWrongKeyIsAnError(t *testing.T) {
	t.Parallel()
	sealed := func(keys *store.Ring) (string, *store.Backend) {
		b := ringed(t, keys)
		box, err := b.Seal(secret, "signing_keys", "kid")
		require.NoError(t, err)
		return box, b
	}
	wrong, err := store.NewRing([]string{"k1"}, [][32]byte{{1}})
	require.NoError(t, err)
	box, _ := sealed(storetest.Keys(t, "k1"))
	clear, plain := sealed(nil)

	for name, c := range map[string]struct {
		b    *store.Backend
		box  string
		want string
	}{
		"another key":               {ringed(t, storetest.Keys(t, "k2")), box, `no key "k1" in Options.Keys`},
		"a wrong key of that name":  {ringed(t, wrong), box, `key "k1" does not open it`},
		"no key":                    {plain, box, `no key "k1" in Options.Keys`},
		"in clear, keys configured": {ringed(t, storetest.Keys(t, "k1")), clear, "it is not encrypted, but keys are configured"},
	} {
		_, err := c.b.Unseal(c.box, "signing_keys", "kid")
		assert.ErrorContains(t, err, "storage: a secret in signing_keys: "+c.want, name)
	}
	opened, err := plain.Unseal(clear, "signing_keys", "kid")
	require.NoError(t, err)
	assert.Equal(t, secret, opened)
	assert.Equal(t, "."+base64.RawURLEncoding.EncodeToString(secret), clear)
}

// ringed is a backend that only seals and opens.
func ringed(t *testing.T, keys *store.Ring) *store.Backend {
	t.Helper()
	b, err := store.Open(t.Context(), store.Config{Dialect: store.SQLite, Keys: keys, Write: fresh{driver: "sqlite", dsn: ":memory:"}.handle(t)})
	require.NoError(t, err)
	return b
}

func TestAllKeysOpenTheFirstSeals(t *testing.T) {
	t.Parallel()
	old, err := ringed(t, storetest.Keys(t, "k1")).Seal(secret, "signing_keys", "kid")
	require.NoError(t, err)
	b := ringed(t, storetest.Keys(t, "k2", "k1"))
	opened, err := b.Unseal(old, "signing_keys", "kid")
	require.NoError(t, err)
	assert.Equal(t, secret, opened)
	assert.True(t, b.Stale(old))
	box, err := b.Seal(secret, "signing_keys", "kid")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(box, "k2."))
	assert.False(t, b.Stale(box))

	assert.True(t, b.Stale(".AAAA"), "in clear")
	assert.False(t, ringed(t, nil).Stale(".AAAA"))
}

func TestKeyIDsAreChecked(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "A-Z_0", strings.Repeat("x", 32)} {
		_, err := store.NewRing([]string{id}, make([][32]byte, 1))
		assert.NoError(t, err, id)
	}
	for _, id := range []string{"", "a.b", "a b", "ä", strings.Repeat("x", 33), "a\n"} {
		_, err := store.NewRing([]string{id}, make([][32]byte, 1))
		assert.ErrorContains(t, err, "want 1 to 32 of A-Z a-z 0-9 _ -", id)
	}
	_, err := store.NewRing([]string{"a", "b", "a"}, make([][32]byte, 3))
	assert.EqualError(t, err, `two keys have the id "a"`)
}

var (
	putBox = map[string]*store.Statement{
		"totp_devices": store.SQL("test.box.device", `INSERT INTO {p}totp_devices (device_id, user_id, name, secret_box, period, skew, verified,
			last_counter, created_at) VALUES ($2, $1, $2, $3, 30, 1, TRUE, -1, 0)`),
		"signing_keys": store.SQL("test.box.signing", `INSERT INTO {p}signing_keys (kid, kind, algorithm, follows, created_at, public_key, private_box)
			VALUES ($1, 'dynamic', 'ES256', $1, 0, '', $2)`),
		"refresh_keys": store.SQL("test.box.refresh", `INSERT INTO {p}refresh_keys (key_id, follows, created_at, key_box) VALUES ($1, $1, 0, $2)`),
		"tenant_provider_clients": store.SQL("test.box.client", `INSERT INTO {p}tenant_provider_clients (tenant_id, third_party_id, client_type,
			client_id, secret_box, config) VALUES ($1, $2, $3, '', $4, '{}')`),
	}
	putProvider = store.SQL("test.provider", `INSERT INTO {p}tenant_providers (tenant_id, third_party_id, position, config)
		VALUES ('public', 'google', 0, '{}')`)
	rows = map[string]*store.Statement{
		"totp_devices": store.SQL("test.boxes.device", `SELECT user_id, device_id, '', secret_box FROM {p}totp_devices`),
		"signing_keys": store.SQL("test.boxes.signing", `SELECT kid, '', '', private_box FROM {p}signing_keys`),
		"refresh_keys": store.SQL("test.boxes.refresh", `SELECT key_id, '', '', key_box FROM {p}refresh_keys`),
		"tenant_provider_clients": store.SQL("test.boxes.client", `SELECT tenant_id, third_party_id, client_type, secret_box
			FROM {p}tenant_provider_clients`),
	}
	moveDevice = store.SQL("test.device.move", `UPDATE {p}totp_devices SET user_id = $3, secret_box = $4 WHERE device_id = $1 AND secret_box = $2`)
)

// columns is the number of columns that bind a box of the table to its row.
var columns = map[string]int{"totp_devices": 2, "signing_keys": 1, "refresh_keys": 1, "tenant_provider_clients": 3}

func putSecret(t *testing.T, b *store.Backend, table string, row ...string) {
	t.Helper()
	box, err := b.Seal([]byte("secret of "+strings.Join(row, " ")), table, row...)
	require.NoError(t, err)
	args := make([]any, 0, 4)
	for _, column := range row {
		args = append(args, column)
	}
	_, err = b.Exec(t.Context(), putBox[table], append(args, box)...)
	require.NoError(t, err)
}

type boxRow struct {
	row []string
	box string
}

func boxRows(t *testing.T, b *store.Backend, table string) []boxRow {
	t.Helper()
	all, err := store.Rows(t.Context(), b, rows[table], nil, func(scan func(...any) error) (boxRow, error) {
		r := boxRow{row: make([]string, 3)}
		err := scan(&r.row[0], &r.row[1], &r.row[2], &r.box)
		r.row = r.row[:columns[table]]
		return r, err
	})
	require.NoError(t, err)
	return all
}

// fill puts n devices, and some secrets of all other kinds, into the database.
func fill(t *testing.T, b *store.Backend, n int) {
	t.Helper()
	for i := range n {
		putSecret(t, b, "totp_devices", fmt.Sprintf("user %d", i), fmt.Sprintf("device %d", i))
	}
	_, err := b.Exec(t.Context(), putProvider)
	require.NoError(t, err)
	for i := range 3 {
		putSecret(t, b, "signing_keys", fmt.Sprintf("kid %d", i))
		putSecret(t, b, "refresh_keys", fmt.Sprintf("key %d", i))
		putSecret(t, b, "tenant_provider_clients", "public", "google", strings.Repeat("x", i)) // '' is a client type
	}
}

// opensAll checks that every secret opens, in its row, and is under that key; devices keep theirs wherever they are moved.
func opensAll(t *testing.T, b *store.Backend, n int, key string) {
	t.Helper()
	for table := range columns {
		all := boxRows(t, b, table)
		if table == "totp_devices" {
			assert.Len(t, all, n)
		} else {
			assert.Len(t, all, 3, table)
		}
		for _, r := range all {
			opened, err := b.Unseal(r.box, table, r.row...)
			require.NoError(t, err, "%s %v", table, r.row)
			if table != "totp_devices" {
				assert.Equal(t, "secret of "+strings.Join(r.row, " "), string(opened))
			} else {
				assert.True(t, strings.HasSuffix(string(opened), " "+r.row[1]))
			}
			assert.True(t, strings.HasPrefix(r.box, key+"."), "%s %v: %s", table, r.row, r.box)
		}
	}
}

// E-02: keys are rotated twice while secrets are read, written and moved; the oldest may go each time.
func TestKeysAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		const n = 1200 // more than two pages
		fill(t, db.Backend, n)
		for round, ring := range [][]string{{"k2", "k1"}, {"k3", "k2"}} {
			b := db.Again(storetest.Keys(t, ring...)).Backend
			ctx, stop := context.WithCancel(t.Context())
			var moved atomic.Int64
			var wg sync.WaitGroup
			for writer := range 4 {
				wg.Go(func() {
					for i := writer; ctx.Err() == nil; i = (i + 4) % n {
						moved.Add(moveSecret(t, b, fmt.Sprintf("device %d", i), fmt.Sprintf("user %d of round %d", i, round)))
					}
				})
			}
			for moved.Load() < 100 && ctx.Err() == nil && !t.Failed() {
				require.NoError(t, b.ReencryptSecrets(t.Context()))
			}
			stop()
			wg.Wait()
			require.NoError(t, b.ReencryptSecrets(t.Context()))
			opensAll(t, db.Again(storetest.Keys(t, ring[0])).Backend, n, ring[0]) // without the older key
		}
	})
}

var oneDevice = store.SQL("test.device.box", `SELECT user_id, secret_box FROM {p}totp_devices WHERE device_id = $1`)

// moveSecret gives a device to another user, as a link of accounts does.
func moveSecret(t *testing.T, b *store.Backend, device, to string) int64 {
	var from, box string
	_, err := b.Row(t.Context(), oneDevice, []any{device}, &from, &box)
	if !assert.NoError(t, err) {
		return 0
	}
	opened, err := b.Unseal(box, "totp_devices", from, device)
	if !assert.NoError(t, err) {
		return 0
	}
	sealed, err := b.Seal(opened, "totp_devices", to, device)
	if !assert.NoError(t, err) {
		return 0
	}
	n, err := b.Exec(t.Context(), moveDevice, device, box, to, sealed)
	assert.NoError(t, err)
	return n
}

// E-02: an application that stored secrets in clear moves to keys, and those that no key opens do not stop the others.
func TestReencryptionMovesAllThatItCan(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		if db.Name == "memory" {
			t.Skip("it is opened once, with one ring")
		}
		const n = 600
		fill(t, db.Again(nil).Backend, n)
		b := db.Backend
		require.NoError(t, b.ReencryptSecrets(t.Context()))
		opensAll(t, b, n, "k1")

		db.Probe.Reset()
		require.NoError(t, b.ReencryptSecrets(t.Context()))
		assert.Equal(t, len(columns), db.Probe.Count(), "a second run finds nothing: one statement per table")

		lost := db.Again(storetest.Keys(t, "lost")).Backend
		putSecret(t, lost, "totp_devices", "u", "a lost one") // sorts before the others
		putSecret(t, lost, "signing_keys", "a lost one")
		next := db.Again(storetest.Keys(t, "k2", "k1")).Backend
		err := next.ReencryptSecrets(t.Context())
		require.EqualError(t, err, `storage: 2 secrets were left as they are, the first of them in totp_devices: no key "lost" in Options.Keys`)
		under := map[string]int{}
		for table := range columns {
			for _, r := range boxRows(t, next, table) {
				id, _, _ := strings.Cut(r.box, ".")
				under[id]++
			}
		}
		assert.Equal(t, map[string]int{"k2": n + 9, "lost": 2}, under)
	})
}

func TestReencryptionStopsWhenTheDatabaseFails(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		fill(t, db.Again(storetest.Keys(t, "k0")).Backend, 2)
		db = db.Again(storetest.Keys(t, "k1", "k0"))
		for n := 1; ; n++ {
			db.Probe.FailAt(n)
			err := db.Backend.ReencryptSecrets(t.Context())
			if !db.Probe.Failed() {
				require.NoError(t, err)
				break
			}
			require.ErrorIs(t, err, storetest.ErrInjected, "statement %d", n)
		}
		db.Probe.FailAt(0)
		opensAll(t, db.Backend, 2, "k1")
	})
}
