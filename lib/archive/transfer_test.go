package archive

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// backUp places a complete backup.
func (r *Repo) backUp(t testing.TB, b fixture.Backup) {
	t.Helper()
	b.Stop = time.Now()
	files, err := b.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, contents := range files {
		r.place(t, layout.BaseKey(b.Label, name), contents)
	}
}

func transfer(from, to *Repo) error {
	return Transfer{From: from, To: to, Jobs: 2, Copied: func(string, int64) {}}.Run(context.Background())
}

// has says which backups and segments are there, by their last digits.
func (r *Repo) has(t testing.TB) string {
	t.Helper()
	var all []string
	backups, err := r.Backups(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for label := range byLabel(backups) {
		all = append(all, label)
	}
	for n, err := range r.segments(context.Background(), layout.WAL, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.String()[23:])
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

func (r *Repo) watched(prefix string, happen func()) *Repo {
	return &Repo{&meanwhile{r.Store, prefix, happen}, r.Location, r.Identity}
}

const (
	segment1 = "000000010000000000000001"
	segment2 = "000000010000000000000002"
)

// A backup that ends while WAL is copied comes with its last segment, or later.
func TestTransferWhileABackupEnds(t *testing.T) {
	from, to := repository(t), repository(t)
	pushed(t, from, plain, segment1)
	busy := from.watched(layout.WAL, func() {
		pushed(t, from, plain, segment2)
		from.backUp(t, fixture.Backup{Label: "late", First: 1, Last: 2})
	})
	if err := transfer(busy, to); err != nil || to.has(t) != "1" {
		t.Errorf("%v, there is %q", err, to.has(t))
	}
	if err := transfer(from, to); err != nil || to.has(t) != "late 1 2" {
		t.Errorf("again: %v, there is %q", err, to.has(t))
	}
}

// A backup whose WAL expire removes in the copy meanwhile is not carried.
func TestTransferWhileWALExpires(t *testing.T) {
	from, to := repository(t), repository(t)
	pushed(t, from, plain, segment1, segment2)
	from.backUp(t, fixture.Backup{Label: "b", First: 1, Last: 2})
	busy := to.watched(layout.BaseKey("b", ""), func() {
		if err := to.Remove(context.Background(), layout.WALKey(name(t, segment1))); err != nil {
			t.Error(err)
		}
	})
	if err := transfer(from, busy); err == nil || to.has(t) != "2" {
		t.Errorf("%v, there is %q", err, to.has(t))
	}
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
			from, to := repository(t), repository(t)
			pushed(t, from, plain, test.stored...)
			if test.history {
				from.branch(t, wal.Timeline(2), "1\t0/100000\tno recovery target specified\n")
			}
			test.backup.Label = "b"
			from.backUp(t, test.backup)
			err := transfer(from, to)
			_, serr := os.Stat(filepath.Join(to.Location, "base/b/manifest"))
			if (err == nil) != test.want || errors.Is(serr, os.ErrNotExist) == test.want {
				t.Errorf("%v, %v", err, serr)
			}
		})
	}
}
