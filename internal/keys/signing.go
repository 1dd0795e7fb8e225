package keys

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/token"
	"github.com/stepup-auth/stepup/internal/uuid"
)

// Config of both kinds of keys.
type Config struct {
	Store     *store.Backend
	Log       *slog.Logger
	Random    io.Reader
	Algorithm string        // of new signing keys
	Interval  time.Duration // between two keys
	// AccessValidity and RefreshValidity are the longest that a token of a replaced key may still live.
	AccessValidity, RefreshValidity time.Duration
}

// Signing are the keys of access tokens.
type Signing struct {
	cfg   Config
	cache cache[*signingKey]
}

// signingKey is a row. The private key is opened when it first signs.
type signingKey struct {
	token.Key
	box string

	mu     sync.Mutex
	opened *token.Key
}

const (
	dynamic = "dynamic"
	static  = "static"
)

var (
	listSigningKeys = store.SQL("key.list", `SELECT kid, kind, algorithm, created_at, public_key, private_box FROM {p}signing_keys
ORDER BY created_at DESC, kid DESC`)
	insertSigningKey = store.SQL("key.insert", `INSERT INTO {p}signing_keys (kid, kind, algorithm, follows, created_at, public_key, private_box)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`)
	resealSigningKey = store.SQL("key.reseal", `UPDATE {p}signing_keys SET private_box = $3 WHERE kid = $1 AND private_box = $2`)
	deleteSigningKey = store.SQL("key.delete", `DELETE FROM {p}signing_keys WHERE kind = 'dynamic' AND created_at < $1`)
)

const signingTable = "signing_keys"

// NewSigning reads nothing yet.
func NewSigning(cfg Config) *Signing {
	s := &Signing{cfg: cfg}
	s.cache.log = cfg.Log
	s.cache.read = func(ctx context.Context) ([]*signingKey, error) {
		all, err := store.Rows(ctx, cfg.Store, listSigningKeys, nil, scanSigningKey)
		// A later release, which runs beside this one, may have made keys of other algorithms.
		return slices.DeleteFunc(all, func(k *signingKey) bool { return !token.Supports(k.Algorithm) }), err
	}
	return s
}

func scanSigningKey(scan func(dest ...any) error) (*signingKey, error) {
	k := &signingKey{}
	var kind, public string
	var created int64
	if err := scan(&k.ID, &kind, &k.Algorithm, &created, &public, &k.box); err != nil {
		return nil, err
	}
	k.Static, k.Created = kind == static, time.UnixMilli(created).UTC()
	if !token.Supports(k.Algorithm) {
		return k, nil
	}
	var err error
	k.Public, err = token.ParsePublic(k.Algorithm, public)
	return k, err
}

// life is how long a dynamic key verifies after it was made.
func (s *Signing) life() time.Duration { return s.cfg.Interval + 2*s.cfg.AccessValidity }

func (s *Signing) alive(k *signingKey, now time.Time) bool {
	return k.Static || now.Before(k.Created.Add(s.life()))
}

// Verifier returns the key of an id, nil if there is none that still verifies. It asks the database only now and then.
func (s *Signing) Verifier(ctx context.Context, now time.Time, kid string) (*token.Key, error) {
	k, ok, err := s.cache.find(ctx, now, func(k *signingKey) bool { return k.ID == kid })
	if err != nil || !ok || !s.alive(k, now) {
		return nil, err
	}
	return &k.Key, nil
}

// Signer returns the key to sign with, and makes one when it is time.
func (s *Signing) Signer(ctx context.Context, now time.Time, isStatic bool) (*token.Key, error) {
	k, err := s.signer(ctx, now, isStatic)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, k)
}

// signer is the key to sign with, not opened yet.
func (s *Signing) signer(ctx context.Context, now time.Time, isStatic bool) (*signingKey, error) {
	const tries = 5
	for try := range tries {
		all, err := s.cache.get(ctx, now, false)
		if try > 0 && err == nil {
			all, err = s.cache.reload(ctx, now)
		}
		if err != nil {
			return nil, err
		}
		ours := s.ofKind(all, isStatic)
		use, due := s.choose(ours, now, isStatic)
		if !due {
			return ours[use], nil
		}
		if err := s.make(ctx, now.Add(time.Duration(try)*time.Millisecond), isStatic, ours); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("keys: no signing key could be made")
}

func (s *Signing) ofKind(all []*signingKey, isStatic bool) []*signingKey {
	var ours []*signingKey
	for _, k := range all {
		if k.Static == isStatic && k.Algorithm == s.cfg.Algorithm {
			ours = append(ours, k)
		}
	}
	return ours
}

func (s *Signing) choose(ours []*signingKey, now time.Time, isStatic bool) (use int, due bool) {
	if isStatic {
		return 0, len(ours) == 0
	}
	created := make([]time.Time, len(ours))
	for i, k := range ours {
		created[i] = k.Created
	}
	return next(created, now, s.cfg.Interval, s.cfg.Interval)
}

// make writes a key that follows the newest one. When another process was first, theirs is read afterwards.
func (s *Signing) make(ctx context.Context, now time.Time, isStatic bool, ours []*signingKey) error {
	if err := s.cfg.Store.RefuseInTx(ctx); err != nil {
		return err // what a rollback takes back must sign nothing
	}
	kind, id := dynamic, "d-"+decimal(now.UnixMilli())
	if isStatic {
		random, err := uuid.New(s.cfg.Random)
		if err != nil {
			return err
		}
		kind, id = static, "s-"+random
	}
	private, public, err := token.Generate(s.cfg.Algorithm)
	if err != nil {
		return err
	}
	defer clear(private)
	box, err := s.cfg.Store.Seal(private, signingTable, id)
	if err != nil {
		return err
	}
	follows := ""
	if len(ours) > 0 {
		follows = ours[0].ID
	}
	_, err = s.cfg.Store.Exec(ctx, insertSigningKey, id, kind, s.cfg.Algorithm, follows, now.UnixMilli(), public, box)
	return err
}

// open decrypts the private key, and encrypts it anew where the host's keys have changed.
func (s *Signing) open(ctx context.Context, k *signingKey) (*token.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.opened != nil {
		return k.opened, nil
	}
	private, err := s.cfg.Store.Unseal(k.box, signingTable, k.ID)
	if err != nil {
		return nil, err
	}
	defer clear(private)
	opened := k.Key
	if opened.Private, err = token.ParsePrivate(private); err != nil {
		return nil, err
	}
	k.opened = &opened
	reseal(ctx, s.cfg, resealSigningKey, k.box, private, signingTable, k.ID)
	return k.opened, nil
}

// reseal moves a secret to the host's present key. It may fail: the next one tries again.
func reseal(ctx context.Context, cfg Config, update *store.Statement, box string, secret []byte, table, id string) {
	if !cfg.Store.Stale(box) || cfg.Store.InTx(ctx) {
		return
	}
	sealed, err := cfg.Store.Seal(secret, table, id)
	if err == nil {
		_, err = cfg.Store.Exec(ctx, update, id, box, sealed)
	}
	if err != nil {
		cfg.Log.WarnContext(ctx, "a key could not be encrypted anew", "table", table, "id", id, "error", err)
	}
}

// Published are the keys that verify now, the dynamic ones first, the newest first, and the time from which a further one may be among them; zero:
// not known. The key of the kind in use is made when it is time, so that it is published before it signs.
func (s *Signing) Published(ctx context.Context, now time.Time, isStatic bool) (published []*token.Key, until time.Time, err error) {
	if _, err := s.signer(ctx, now, isStatic); err != nil {
		return nil, time.Time{}, err
	}
	all, err := s.cache.get(ctx, now, true)
	if err != nil {
		return nil, time.Time{}, err
	}
	var statics []*token.Key
	for _, k := range all {
		switch {
		case k.Static:
			statics = append(statics, &k.Key)
		case s.alive(k, now):
			published = append(published, &k.Key)
			if until.IsZero() {
				until = k.Created.Add(s.cfg.Interval - Overlap)
			}
		}
	}
	return append(published, statics...), until, nil
}

// DeleteExpired removes the keys that verify nothing any more.
func (s *Signing) DeleteExpired(ctx context.Context, now time.Time) error {
	_, err := s.cfg.Store.Exec(ctx, deleteSigningKey, now.Add(-s.life()).UnixMilli())
	return err
}
