package totp

import (
	"context"
	"encoding/hex"
	"io"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/session"
)

const (
	boxTable   = "totp_devices" // its name is bound into the boxes of the secrets
	unverified = 24 * time.Hour // how long an unverified device lives
)

// device is a row of totp_devices.
type device struct {
	id, name    string
	userID      string
	box         string // the secret, sealed for this user and id
	period      int64  // seconds
	skew        int
	verified    bool
	lastCounter int64 // of the last code accepted, -1 before the first
	createdAt   int64 // milliseconds
}

func (d device) public() Device {
	return Device{Name: d.name, Period: time.Duration(d.period) * time.Second, Skew: d.skew, Verified: d.verified}
}

// expired devices are treated as if they did not exist.
func (d device) expired(now time.Time) bool { return !d.verified && d.createdAt <= oldest(now) }

// oldest is the time of creation at which an unverified device is too old.
func oldest(now time.Time) int64 { return now.Add(-unverified).UnixMilli() }

const columns = `device_id, user_id, name, secret_box, period, skew, verified, last_counter, created_at`

var (
	listRows = store.SQL("totp.list", `SELECT `+columns+` FROM {p}totp_devices WHERE user_id = $1 ORDER BY created_at, name`)
	// The last branch proves the tenant, for functions that take one: its row has no id and comes first.
	listRowsOnTenant = store.SQL("totp.list", `SELECT `+columns+` FROM {p}totp_devices WHERE user_id = $1
UNION ALL SELECT '', '', '', '', 0, 0, FALSE, 0, -1 FROM {p}tenants WHERE tenant_id = $2 ORDER BY created_at, name`)
	putRow = store.SQL("totp.put", `INSERT INTO {p}totp_devices AS d (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, -1, $8)
ON CONFLICT (user_id, name) DO UPDATE SET device_id = excluded.device_id, secret_box = excluded.secret_box, period = excluded.period,
	skew = excluded.skew, verified = excluded.verified, last_counter = -1, created_at = excluded.created_at
WHERE NOT d.verified`)
	// A stale box is replaced by the way, unless somebody else did that meanwhile.
	useCounter = store.SQL("totp.use", `UPDATE {p}totp_devices SET last_counter = $2,
	secret_box = CASE WHEN secret_box = $3 THEN $4 ELSE secret_box END
WHERE device_id = $1 AND verified AND last_counter < $2`)
	verifyRow = store.SQL("totp.verify", `UPDATE {p}totp_devices SET verified = TRUE, last_counter = $2,
	secret_box = CASE WHEN secret_box = $3 THEN $4 ELSE secret_box END
WHERE device_id = $1 AND NOT verified AND last_counter < $2`)
	renameRow = store.SQL("totp.rename", `UPDATE {p}totp_devices SET name = $2 WHERE device_id = $1`)
	deleteRow = store.SQL("totp.delete", `DELETE FROM {p}totp_devices WHERE device_id = $1 AND (NOT verified OR CAST($2 AS BOOLEAN))`)
	sweepRows = store.SQL("totp.sweep", `DELETE FROM {p}totp_devices WHERE user_id = $1 AND NOT verified AND created_at <= $2`)
	cleanRows = store.SQL("clean.totp", `DELETE FROM {p}totp_devices WHERE device_id IN
	(SELECT device_id FROM {p}totp_devices WHERE NOT verified AND created_at <= $1 ORDER BY created_at LIMIT 500 {skip})`)
)

const cleanPage = 500

func scanDevice(scan func(dest ...any) error) (d device, err error) {
	err = scan(&d.id, &d.userID, &d.name, &d.box, &d.period, &d.skew, &d.verified, &d.lastCounter, &d.createdAt)
	return d, err
}

// devices reads the devices of a person, oldest first, without those that have expired.
func (r *Recipe) devices(ctx context.Context, userID string, now time.Time) (live []device, expired bool, err error) {
	all, err := store.Rows(ctx, r.env.Store, listRows, []any{userID}, scanDevice)
	live = alive(all, now)
	return live, len(live) < len(all), err
}

// devicesOnTenant is devices for functions that take a tenant, and session.ErrTenantNotFound if there is none.
func (r *Recipe) devicesOnTenant(ctx context.Context, q question) ([]device, error) {
	all, err := store.Rows(ctx, r.env.Store, listRowsOnTenant, []any{q.userID, q.tenantID}, scanDevice)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 || all[0].id != "" {
		return nil, session.ErrTenantNotFound
	}
	return alive(all[1:], q.now), nil
}

func alive(all []device, now time.Time) []device {
	live := make([]device, 0, len(all))
	for _, d := range all {
		if !d.expired(now) {
			live = append(live, d)
		}
	}
	return live
}

// change runs f in a transaction while nobody else changes the devices of the person or checks a code of them: all of them take the lock of the
// budget first. f gets the live devices; the expired ones are deleted.
func (r *Recipe) change(ctx context.Context, userID string, now time.Time, f func(ctx context.Context, devices []device) error) error {
	return r.env.Store.Tx(ctx, func(ctx context.Context) error {
		if _, err := r.attempts.Lock(ctx, r.env.Store, userID, now); err != nil {
			return err
		}
		devices, expired, err := r.devices(ctx, userID, now)
		if err != nil {
			return err
		}
		if expired {
			if _, err := r.env.Store.Exec(ctx, sweepRows, userID, oldest(now)); err != nil {
				return err
			}
		}
		return f(ctx, devices)
	})
}

// put writes a new device, or puts it in the place of an unverified one of its name. ok false: a verified one has the name.
func (r *Recipe) put(ctx context.Context, d device, secret []byte) (ok bool, err error) {
	box, err := r.env.Store.Seal(secret, boxTable, d.userID, d.id)
	if err != nil {
		return false, err
	}
	n, err := r.env.Store.Exec(ctx, putRow, d.id, d.userID, d.name, box, d.period, d.skew, d.verified, d.createdAt)
	return n == 1, err
}

// accept writes the counter of a right code by useCounter or verifyRow; ok false: the device is not there any more, or the counter was passed.
func (r *Recipe) accept(ctx context.Context, statement *store.Statement, d device, secret []byte, counter int64) (ok bool, err error) {
	box := d.box
	if r.env.Store.Stale(box) {
		if box, err = r.env.Store.Seal(secret, boxTable, d.userID, d.id); err != nil {
			return false, err
		}
	}
	n, err := r.env.Store.Exec(ctx, statement, d.id, counter, d.box, box)
	return n == 1, err
}

// unseal opens the secret of a device.
func (r *Recipe) unseal(d device) ([]byte, error) {
	return r.env.Store.Unseal(d.box, boxTable, d.userID, d.id)
}

// sweepUnverified deletes what has expired, of everybody, in pages.
func (r *Recipe) sweepUnverified(ctx context.Context) error {
	now := r.env.Now()
	for {
		n, err := r.env.Store.Exec(ctx, cleanRows, oldest(now))
		if err != nil || n < cleanPage {
			return err
		}
	}
}

// random reads n bytes from the random source of the instance.
func (r *Recipe) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r.env.Random, b)
	return b, err
}

func (r *Recipe) newID() (string, error) {
	b, err := r.random(16)
	return hex.EncodeToString(b), err
}
