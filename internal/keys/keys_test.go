package keys_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepup-auth/stepup/internal/keys"
	"github.com/stepup-auth/stepup/internal/store"
	"github.com/stepup-auth/stepup/internal/storetest"
	"github.com/stepup-auth/stepup/internal/token"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const interval = 168 * time.Hour

func config(db *storetest.DB) keys.Config {
	return keys.Config{
		Store: db.Backend, Log: slog.New(slog.DiscardHandler), Random: rand.Reader, Algorithm: token.ES256, Interval: interval,
		AccessValidity: time.Hour, RefreshValidity: 100 * 24 * time.Hour,
	}
}

func ids(published []*token.Key) []string {
	out := []string{}
	for _, k := range published {
		out = append(out, k.ID)
	}
	return out
}

// J-07: over two rotations each key is published 15 minutes before it signs, and as long as a token that it signed may live; private keys are encrypted
// and not published.
func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		s := keys.NewSigning(config(db))
		ctx := t.Context()
		signer := func(at time.Time) string {
			t.Helper()
			k, err := s.Signer(ctx, at, false)
			require.NoError(t, err)
			require.NotNil(t, k.Private)
			return k.ID
		}
		published := func(at time.Time) []string {
			t.Helper()
			set, _, err := s.Published(ctx, at, false)
			require.NoError(t, err)
			for _, k := range set {
				require.Nil(t, k.Private)
			}
			return ids(set)
		}
		first := fmt.Sprintf("d-%d", start.UnixMilli())
		require.Equal(t, first, signer(start))
		last := start.Add(interval - keys.Overlap)
		require.Equal(t, first, signer(last), "it still has its overlap")
		require.Equal(t, []string{first}, published(last))

		made := last.Add(time.Millisecond)
		second := fmt.Sprintf("d-%d", made.UnixMilli())
		require.Equal(t, []string{second, first}, published(made), "the key set makes a key when it is time")
		require.Equal(t, first, signer(made), "which is known before it signs")
		require.Equal(t, first, signer(made.Add(keys.Overlap-2*time.Millisecond)))
		require.Equal(t, second, signer(made.Add(keys.Overlap)))
		require.Equal(t, []string{second, first}, published(start.Add(interval+2*time.Hour-time.Millisecond)), "its last token may still live")
		end := start.Add(interval + 2*time.Hour)
		require.Equal(t, []string{second}, published(end))
		k, err := s.Verifier(ctx, end, first)
		require.NoError(t, err)
		require.Nil(t, k)

		idle := made.Add(10 * interval)
		third := signer(idle)
		require.Equal(t, fmt.Sprintf("d-%d", idle.UnixMilli()), third, "after a long pause the new key signs at once")
		require.Equal(t, 3, db.Rows("signing_keys"))
		require.NoError(t, s.DeleteExpired(ctx, idle))
		require.Equal(t, 1, db.Rows("signing_keys"))
		require.NotContains(t, db.Dump("signing_keys"), "private_box=.", "encrypted")
	})
}

func TestKeysOfALaterRelease(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	_, err := db.Backend.Query(t.Context(), `INSERT INTO {p}signing_keys (kid, kind, algorithm, follows, created_at, public_key, private_box)
		VALUES ('d-1', 'dynamic', 'ML-DSA-44', '', $1, 'of another form', 'and this')`, start.UnixMilli())
	require.NoError(t, err)
	s := keys.NewSigning(config(db))
	own, err := s.Signer(t.Context(), start, false)
	require.NoError(t, err)
	set, _, err := s.Published(t.Context(), start, false)
	require.NoError(t, err)
	require.Equal(t, []string{own.ID}, ids(set))
}

func TestAStaticKeyStays(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	s := keys.NewSigning(config(db))
	first, err := s.Signer(t.Context(), start, true)
	require.NoError(t, err)
	assert.Regexp(t, `^s-[0-9a-f-]{36}$`, first.ID)
	dynamic, err := s.Signer(t.Context(), start, false)
	require.NoError(t, err)
	later := start.Add(1000 * interval)
	again, err := s.Signer(t.Context(), later, true)
	require.NoError(t, err)
	assert.Equal(t, first.ID, again.ID)
	set, until, err := s.Published(t.Context(), start, true)
	require.NoError(t, err)
	assert.Equal(t, []string{dynamic.ID, first.ID}, ids(set), "the dynamic ones first")
	assert.Equal(t, start.Add(interval-keys.Overlap), until)
	require.NoError(t, s.DeleteExpired(t.Context(), later))
	k, err := s.Verifier(t.Context(), later, first.ID)
	require.NoError(t, err)
	assert.NotNil(t, k)
}

// Whoever is first makes the key, and all have the same one.
func TestProcessesThatStartAtOnceMakeOneKey(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		const processes, each = 4, 25
		var mu sync.Mutex
		seen := map[string]int{}
		var group sync.WaitGroup
		for range processes {
			cfg := config(db.Again(storetest.Keys(t, "k1")))
			signing, refresh := keys.NewSigning(cfg), keys.NewRefresh(cfg)
			for range each {
				group.Go(func() {
					a, err := signing.Signer(t.Context(), start, false)
					if !assert.NoError(t, err) {
						return
					}
					b, err := refresh.Current(t.Context(), start)
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					seen[a.ID]++
					seen[b.ID]++
				})
			}
		}
		group.Wait()
		require.Len(t, seen, 2)
		for _, n := range seen {
			require.Equal(t, processes*each, n)
		}
		require.Equal(t, 1, db.Rows("signing_keys"))
		require.Equal(t, 1, db.Rows("refresh_keys"))
	})
}

func TestTwoProcessesRotateOnce(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		a, b := config(db), config(db.Again(storetest.Keys(t, "k1")))
		signA, signB, refreshA, refreshB := keys.NewSigning(a), keys.NewSigning(b), keys.NewRefresh(a), keys.NewRefresh(b)
		for i := range 4 {
			now := start.Add(time.Duration(i) * interval)
			one, err := signA.Signer(t.Context(), now, false)
			require.NoError(t, err)
			two, err := signB.Signer(t.Context(), now.Add(time.Millisecond), false)
			require.NoError(t, err)
			require.Equal(t, one.ID, two.ID)
			r1, err := refreshA.Current(t.Context(), now)
			require.NoError(t, err)
			r2, err := refreshB.Current(t.Context(), now.Add(time.Millisecond))
			require.NoError(t, err)
			require.Equal(t, r1, r2)
			require.Equal(t, i+1, db.Rows("signing_keys"))
			require.Equal(t, i+1, db.Rows("refresh_keys"))
		}
	})
}

// An unknown id, which anybody can send, is looked for once in half a second; a key of another process is found.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite")
	ours, theirs := keys.NewSigning(config(db)), keys.NewSigning(config(db.Again(storetest.Keys(t, "k1"))))
	_, err := ours.Signer(t.Context(), start, true)
	require.NoError(t, err)
	made, err := theirs.Signer(t.Context(), start, false)
	require.NoError(t, err)

	db.Probe.Reset()
	k, err := ours.Verifier(t.Context(), start, "d-unknown")
	require.NoError(t, err)
	require.Nil(t, k)
	require.Equal(t, 1, db.Probe.Count())
	for range 100 {
		k, err = ours.Verifier(t.Context(), start.Add(499*time.Millisecond), "d-unknown")
		require.NoError(t, err)
		require.Nil(t, k)
	}
	require.Equal(t, 1, db.Probe.Count())
	k, err = ours.Verifier(t.Context(), start, made.ID)
	require.NoError(t, err)
	require.Equal(t, made.ID, k.ID, "read with the unknown one")
	_, err = ours.Verifier(t.Context(), start.Add(500*time.Millisecond), "d-unknown")
	require.NoError(t, err)
	require.Equal(t, 2, db.Probe.Count())
}

func TestKeysAreReadAgainAfterFiveMinutes(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	s := keys.NewSigning(config(db))
	k, err := s.Signer(t.Context(), start, false)
	require.NoError(t, err)
	find := func(at time.Time) *token.Key {
		t.Helper()
		k, err := s.Verifier(t.Context(), at, k.ID)
		require.NoError(t, err)
		return k
	}
	_, err = db.Backend.Query(t.Context(), "DELETE FROM {p}signing_keys") // an operator's
	require.NoError(t, err)
	db.Probe.Reset()
	require.NotNil(t, find(start.Add(5*time.Minute-time.Millisecond)))
	require.Zero(t, db.Probe.Count())
	require.Nil(t, find(start.Add(5*time.Minute)), "gone")
	require.NotZero(t, db.Probe.Count())
}

// A database that is away does not end the sessions of those who are signed in.
func TestVerificationGoesOnWithoutDatabase(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "memory")
	var logged bytes.Buffer
	cfg := config(db)
	cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
	s, r := keys.NewSigning(cfg), keys.NewRefresh(cfg)
	k, err := s.Signer(t.Context(), start, false)
	require.NoError(t, err)
	current, err := r.Current(t.Context(), start)
	require.NoError(t, err)
	later := start.Add(time.Hour)

	db.Probe.FailAt(1)
	found, err := s.Verifier(t.Context(), later, k.ID)
	require.NoError(t, err)
	require.NotNil(t, found)
	require.True(t, db.Probe.Failed())
	require.Contains(t, logged.String(), "injected failure")
	db.Probe.FailAt(1)
	_, ok, err := r.Find(t.Context(), later, current.ID)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, db.Probe.Failed())

	db.Probe.FailAt(1)
	_, err = s.Signer(t.Context(), later.Add(time.Hour), false)
	require.ErrorIs(t, err, storetest.ErrInjected, "what signs must know the present keys")
	db.Probe.FailAt(1)
	_, err = r.Current(t.Context(), later.Add(time.Hour))
	require.ErrorIs(t, err, storetest.ErrInjected)
	fresh := keys.NewSigning(cfg)
	db.Probe.FailAt(1)
	_, err = fresh.Verifier(t.Context(), later, k.ID)
	require.ErrorIs(t, err, storetest.ErrInjected, "and who knows none asks")
}

func TestRefreshKeysRotate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *storetest.DB) {
		cfg := config(db)
		r := keys.NewRefresh(cfg)
		ctx := t.Context()
		current := func(at time.Time) token.RefreshKey {
			t.Helper()
			k, err := r.Current(ctx, at)
			require.NoError(t, err)
			require.Len(t, k.Secret, 32)
			require.Regexp(t, "^[0-9a-f]{16}$", k.ID)
			return k
		}
		checks := func(at time.Time, id string) bool {
			t.Helper()
			_, ok, err := r.Find(ctx, at, id)
			require.NoError(t, err)
			return ok
		}
		first := current(start)
		made := start.Add(interval)
		require.Equal(t, first, current(made), "the new one is known before it is used")
		second := current(made.Add(keys.Overlap))
		require.NotEqual(t, first.ID, second.ID)
		end := made.Add(keys.Overlap + cfg.RefreshValidity)
		require.True(t, checks(end, first.ID), "a token of its last moment still lives")
		require.True(t, checks(end, second.ID))
		require.False(t, checks(end.Add(time.Millisecond), first.ID))
		require.False(t, checks(end, "0000000000000000"))

		require.NoError(t, r.DeleteExpired(ctx, end))
		require.Equal(t, 2, db.Rows("refresh_keys"))
		require.NoError(t, r.DeleteExpired(ctx, end.Add(time.Second)))
		require.Equal(t, 1, db.Rows("refresh_keys"))
		require.True(t, checks(end.Add(time.Hour), second.ID), "the newest stays for ever")
		require.NotContains(t, db.Dump("refresh_keys"), "key_box=.", "encrypted")
	})
}

// E-02: what is used moves to the host's present key, and the older one may then go.
func TestKeysMoveToTheHostsPresentKey(t *testing.T) {
	t.Parallel()
	storetest.Shared(t, func(t *testing.T, db *storetest.DB) {
		use := func(ring *store.Ring) (string, string, error) {
			cfg := config(db.Again(ring))
			s, err := keys.NewSigning(cfg).Signer(t.Context(), start, false)
			if err != nil {
				return "", "", err
			}
			r, err := keys.NewRefresh(cfg).Current(t.Context(), start)
			return s.ID, r.ID, err
		}
		signing, refresh, err := use(storetest.Keys(t, "k1"))
		require.NoError(t, err)
		again, againRefresh, err := use(storetest.Keys(t, "k2", "k1"))
		require.NoError(t, err)
		require.Equal(t, []string{signing, refresh}, []string{again, againRefresh})
		require.NotContains(t, db.Dump("signing_keys", "refresh_keys"), "box=k1.")
		_, _, err = use(storetest.Keys(t, "k2"))
		require.NoError(t, err)
		_, _, err = use(storetest.Keys(t, "k3"))
		require.ErrorContains(t, err, `no key "k2"`, "E-03: never a new key beside the one that cannot be read")
	})
}

// A key that the host's rollback takes away must not have signed anything.
func TestNoKeyIsMadeInATransactionOfTheHost(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, "sqlite")
	raw := openRaw(t, db)
	tx, err := raw.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	ctx := db.WithTx(t.Context(), tx)
	_, err = keys.NewSigning(config(db)).Signer(ctx, start, false)
	require.ErrorIs(t, err, store.ErrInsideTx)
	_, err = keys.NewRefresh(config(db)).Current(ctx, start)
	require.ErrorIs(t, err, store.ErrInsideTx)
}

func openRaw(t *testing.T, db *storetest.DB) *sql.DB {
	t.Helper()
	raw, err := sql.Open("sqlite", rawPath(t, db))
	require.NoError(t, err)
	t.Cleanup(func() { raw.Close() })
	return raw
}

// rawPath finds the file of a database.
func rawPath(t *testing.T, db *storetest.DB) string {
	t.Helper()
	rows, err := db.Backend.Query(context.Background(), "PRAGMA database_list")
	require.NoError(t, err)
	for _, column := range rows[0] {
		if column.Name == "file" {
			return "file:" + strings.TrimSpace(column.Value.(string))
		}
	}
	t.Fatal("no file")
	return ""
}
