package transfer

import (
	"context"
	"errors"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/lock"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

var plain = codec.Options{Format: codec.None}

// backUp places a complete backup.
func backUp(t testing.TB, r *archive.Repo, b fixture.Backup) {
	t.Helper()
	b.Stop = time.Now()
	files, err := b.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, contents := range files {
		fixture.Place(t, r.Location, layout.BaseKey(b.Label, name), contents)
	}
}

func transfer(from, to *archive.Repo) error {
	return Transfer{From: from, To: to, Jobs: 2, Copied: func(string, int64) {}}.Run(context.Background())
}

// has says which backups and segments are there, by their last digits.
func has(t testing.TB, r *archive.Repo) string {
	t.Helper()
	var all []string
	backups, err := r.Backups(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for label := range byLabel(backups) {
		all = append(all, label)
	}
	for info, err := range r.SegmentObjects(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path.Base(info.Key)[23:])
	}
	return strings.Join(all, " ")
}

// meanwhile is a store in which something happens when objects have been listed.
type meanwhile struct {
	store.Store
	prefix string
	happen func()
}

func (m *meanwhile) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		m.Store.List(ctx, prefix, after)(yield)
		if prefix == m.prefix && m.happen != nil {
			m.happen()
			m.happen = nil
		}
	}
}

func watched(r *archive.Repo, prefix string, happen func()) *archive.Repo {
	return &archive.Repo{Store: &meanwhile{r.Store, prefix, happen}, Location: r.Location, Identity: r.Identity}
}

const (
	segment1 = "000000010000000000000001"
	segment2 = "000000010000000000000002"
)

// A backup that ends while WAL is copied comes with its last segment, or later.
func TestTransferWhileABackupEnds(t *testing.T) {
	from, to := repository.New(t), repository.New(t)
	fixture.Archive(t, from.Location, plain, segment1)
	busy := watched(from, layout.WAL, func() {
		fixture.Archive(t, from.Location, plain, segment2)
		backUp(t, from, fixture.Backup{Label: "late", First: 1, Last: 2})
	})
	if err := transfer(busy, to); err != nil || has(t, to) != "1" {
		t.Errorf("%v, there is %q", err, has(t, to))
	}
	if err := transfer(from, to); err != nil || has(t, to) != "late 1 2" {
		t.Errorf("again: %v, there is %q", err, has(t, to))
	}
}

// A backup whose WAL expire removes in the copy meanwhile is not carried.
func TestTransferWhileWALExpires(t *testing.T) {
	from, to := repository.New(t), repository.New(t)
	fixture.Archive(t, from.Location, plain, segment1, segment2)
	backUp(t, from, fixture.Backup{Label: "b", First: 1, Last: 2})
	busy := watched(to, layout.BaseKey("b", ""), func() {
		if err := to.Remove(context.Background(), layout.WALKey(fixture.Name(t, segment1))); err != nil {
			t.Error(err)
		}
	})
	if err := transfer(from, busy); err == nil || has(t, to) != "2" {
		t.Errorf("%v, there is %q", err, has(t, to))
	}
}

// An expire in the copy that is at work, and so knows nothing of a backup on its way
// there, is waited for: what it removes is missed.
func TestTransferWaitsForExpire(t *testing.T) {
	from, to := repository.New(t), repository.New(t)
	fixture.Archive(t, from.Location, plain, segment1, segment2)
	backUp(t, from, fixture.Backup{Label: "b", First: 1, Last: 2})
	asked, ended := make(chan bool), make(chan error, 1)
	err := to.WithoutExpire(t.Context(), "expire", func(ctx context.Context) error {
		busy := &archive.Repo{Store: &asks{to.Store, sync.OnceFunc(func() { close(asked) })}, Location: to.Location, Identity: to.Identity}
		go func() { ended <- transfer(from, busy) }()
		select {
		case <-asked:
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		}
		return to.Remove(ctx, layout.WALKey(fixture.Name(t, segment1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || has(t, to) != "2" {
		t.Errorf("%v, there is %q", err, has(t, to))
	}
}

// asks is a store that tells when a lock is about to be taken.
type asks struct {
	store.Store
	tell func()
}

func (a *asks) LockFile(name string) (string, error) {
	a.tell()
	return a.Store.(lock.Files).LockFile(name)
}

// What WAL a backup needs is known from its manifest.
func TestTransferAsksForWAL(t *testing.T) {
	tests := map[string]struct {
		backup  fixture.Backup
		stored  []string
		history bool
		want    bool
	}{
		"all there":        {fixture.Backup{First: 1, Last: 2}, []string{segment1, segment2}, false, true},
		"the first lacks":  {fixture.Backup{First: 1, Last: 2}, []string{segment2}, false, false},
		"the last lacks":   {fixture.Backup{First: 1, Last: 2}, []string{segment1}, false, false},
		"it holds it":      {fixture.Backup{First: 1, Last: 2, WAL: true}, nil, false, true},
		"with its history": {fixture.Backup{Timeline: 2, First: 1, Last: 1}, []string{"000000020000000000000001"}, true, true},
		"without":          {fixture.Backup{Timeline: 2, First: 1, Last: 1}, []string{"000000020000000000000001"}, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			from, to := repository.New(t), repository.New(t)
			fixture.Archive(t, from.Location, plain, test.stored...)
			if test.history {
				fixture.Branch(t, from.Location, wal.Timeline(2), "1\t0/100000\tno recovery target specified\n")
			}
			test.backup.Label = "b"
			backUp(t, from, test.backup)
			err := transfer(from, to)
			_, serr := os.Stat(filepath.Join(to.Location, "base/b/manifest"))
			if (err == nil) != test.want || errors.Is(serr, os.ErrNotExist) == test.want {
				t.Errorf("%v, %v", err, serr)
			}
		})
	}
}
