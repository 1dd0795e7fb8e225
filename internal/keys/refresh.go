package keys

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/token"
)

// Refresh are the keys of refresh tokens.
type Refresh struct {
	cfg   Config
	cache cache[refreshKey]
}

type refreshKey struct {
	token.RefreshKey
	created  time.Time
	replaced time.Time // when its successor was made; zero: it is the newest
}

var (
	listRefreshKeys = store.SQL("refreshkey.list", `SELECT key_id, created_at, key_box FROM {p}refresh_keys
ORDER BY created_at DESC, key_id DESC`)
	insertRefreshKey = store.SQL("refreshkey.insert", `INSERT INTO {p}refresh_keys (key_id, follows, created_at, key_box)
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`)
	resealRefreshKey = store.SQL("refreshkey.reseal", `UPDATE {p}refresh_keys SET key_box = $3 WHERE key_id = $1 AND key_box = $2`)
	deleteRefreshKey = store.SQL("refreshkey.delete", `DELETE FROM {p}refresh_keys WHERE created_at < (SELECT max(r.created_at)
FROM {p}refresh_keys r WHERE r.created_at < $1)`)
)

const refreshTable = "refresh_keys"

// NewRefresh reads nothing yet.
func NewRefresh(cfg Config) *Refresh {
	r := &Refresh{cfg: cfg}
	r.cache.log = cfg.Log
	r.cache.read = r.read
	return r
}

func (r *Refresh) read(ctx context.Context) ([]refreshKey, error) {
	type row struct {
		refreshKey
		box string
	}
	rows, err := store.Rows(ctx, r.cfg.Store, listRefreshKeys, nil, func(scan func(dest ...any) error) (k row, err error) {
		var created int64
		err = scan(&k.ID, &created, &k.box)
		k.created = time.UnixMilli(created).UTC()
		return k, err
	})
	if err != nil {
		return nil, err
	}
	all := make([]refreshKey, len(rows))
	for i, k := range rows {
		if k.Secret, err = r.cfg.Store.Unseal(k.box, refreshTable, k.ID); err != nil {
			return nil, err
		}
		if i > 0 {
			k.replaced = rows[i-1].created
		}
		reseal(ctx, r.cfg, resealRefreshKey, k.box, k.Secret, refreshTable, k.ID)
		all[i] = k.refreshKey
	}
	return all, nil
}

// Current returns the key that authenticates new tokens, and makes one when it is time.
func (r *Refresh) Current(ctx context.Context, now time.Time) (token.RefreshKey, error) {
	const tries = 5
	for try := range tries {
		all, err := r.cache.get(ctx, now, false)
		if try > 0 && err == nil {
			all, err = r.cache.reload(ctx, now)
		}
		if err != nil {
			return token.RefreshKey{}, err
		}
		created := make([]time.Time, len(all))
		for i, k := range all {
			created[i] = k.created
		}
		use, due := next(created, now, r.cfg.Interval, math.MaxInt64)
		if !due {
			return all[use].RefreshKey, nil
		}
		if err := r.make(ctx, now, all); err != nil {
			return token.RefreshKey{}, err
		}
	}
	return token.RefreshKey{}, errors.New("keys: no key of refresh tokens could be made")
}

func (r *Refresh) make(ctx context.Context, now time.Time, all []refreshKey) error {
	if err := r.cfg.Store.RefuseInTx(ctx); err != nil {
		return err
	}
	random := make([]byte, 8+32)
	if _, err := io.ReadFull(r.cfg.Random, random); err != nil {
		return err
	}
	defer clear(random)
	id := hex.EncodeToString(random[:8])
	box, err := r.cfg.Store.Seal(random[8:], refreshTable, id)
	if err != nil {
		return err
	}
	follows := ""
	if len(all) > 0 {
		follows = all[0].ID
	}
	_, err = r.cfg.Store.Exec(ctx, insertRefreshKey, id, follows, now.UnixMilli(), box)
	return err
}

// Find returns the key of an id. One that was replaced checks tokens as long as one of them may live.
func (r *Refresh) Find(ctx context.Context, now time.Time, id string) (key token.RefreshKey, ok bool, err error) {
	k, ok, err := r.cache.find(ctx, now, func(k refreshKey) bool { return k.ID == id })
	if err != nil || !ok || !k.replaced.IsZero() && now.After(k.replaced.Add(Overlap+r.cfg.RefreshValidity)) {
		return token.RefreshKey{}, false, err
	}
	return k.RefreshKey, true, nil
}

// DeleteExpired removes the keys that check nothing any more: those before one that itself was made longer ago than a token lives.
func (r *Refresh) DeleteExpired(ctx context.Context, now time.Time) error {
	_, err := r.cfg.Store.Exec(ctx, deleteRefreshKey, now.Add(-Overlap-r.cfg.RefreshValidity).UnixMilli())
	return err
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
