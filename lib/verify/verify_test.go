package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

const mib = wal.MinSegmentSize

// verified is what verifying a repository finds, what could not be looked at, and
// the error that has ended it. Parts are only read, not compared.
func verified(t *testing.T, r *archive.Repo, o Verification) (found []string, failed []error, err error) {
	t.Helper()
	o.Found = func(f Finding) error { found = append(found, f.String()); return nil }
	o.Failed = func(err error) { failed = append(failed, err) }
	o.Remark = func(string, ...any) {}
	o.Tars = func(_ context.Context, s Tars) iter.Seq2[manifest.Difference, error] {
		for _, p := range s.Parts {
			body, err := s.Open(p)
			if err == nil {
				_, err = io.Copy(io.Discard, body)
				body.Close()
			}
			s.Read(p, err)
		}
		return func(func(manifest.Difference, error) bool) {}
	}
	result, err := Run(t.Context(), r, o)
	if result.Findings != len(found) || result.Failures != len(failed) {
		t.Errorf("%+v, told of %q, %v", result, found, failed)
	}
	return found, failed, err
}

// stocked is a repository of ten segments, and a backup at either end of them.
func stocked(t *testing.T) *archive.Repo {
	t.Helper()
	r := repository.New(t)
	var names []string
	for n := 1; n <= 10; n++ {
		names = append(names, mib.Name(1, uint64(n)))
	}
	fixture.Archive(t, r.Location, codec.Options{Format: codec.Zstd}, names...)
	for label, first := range map[string]uint64{"old": 1, "new": 8} {
		placeBackup(t, r, label, first, first+1)
	}
	return r
}

// placeBackup puts one there that began and ended in these segments.
func placeBackup(t *testing.T, r *archive.Repo, label string, first, last uint64) {
	t.Helper()
	files, err := fixture.Backup{Label: label, First: first, Last: last, Stop: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)}.Files()
	if err != nil {
		t.Fatal(err)
	}
	for file, contents := range files {
		fixture.Place(t, r.Location, layout.BaseKey(label, file), contents)
	}
}

// A haunted store does something, once, just before an object is opened.
type haunted struct {
	store.Store
	key  string
	once *sync.Once
	do   func()
}

func (h haunted) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key == h.key {
		h.once.Do(h.do)
	}
	return h.Store.Get(ctx, key, offset, length)
}

// What goes while it is looked at because it is expired is no finding; what goes
// and is needed is one.
func TestVerifyWhileThingsVanish(t *testing.T) {
	first, middle := layout.WALKey(fixture.Name(t, mib.Name(1, 1)))+".zst", layout.WALKey(fixture.Name(t, mib.Name(1, 5)))+".zst"
	var oldest []string
	for n := uint64(1); n <= 7; n++ {
		oldest = append(oldest, layout.WALKey(fixture.Name(t, mib.Name(1, n)))+".zst")
	}
	old := []string{"base/old/manifest", "base/old/000.tar"}
	for _, c := range []struct {
		what, when string
		gone       []string
		want       string
	}{
		{"nothing", first, nil, ""},
		{"a backup when its parts are read", "base/old/000.tar", old, ""},
		{"a backup when it is listed", "base/old/manifest", old, ""},
		{"a backup when it is compared", "base/new/manifest", old, ""},
		{"a backup and its WAL", first, slices.Concat(old, oldest), ""},
		{"a backup and its WAL, late", middle, slices.Concat(old, oldest), ""},
		{"a part", "base/old/000.tar", old[1:], "missing\tbase/old/000.tar\t"},
		{"a segment that a backup needs", first, []string{first}, "missing\t" + mib.Name(1, 1) + "\t"},
		{"a segment between others", middle, []string{middle}, "missing\t" + mib.Name(1, 5) + "\t"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := stocked(t)
			h := haunted{r.Store, c.when, new(sync.Once), func() {
				for _, key := range c.gone {
					if err := r.Remove(context.Background(), key); err != nil {
						t.Error(err)
					}
				}
			}}
			found, failed, err := verified(t, &archive.Repo{Store: h, Location: r.Location, Identity: r.Identity}, Verification{})
			found = slices.DeleteFunc(found, func(f string) bool { // said twice, as what a backup needs
				return len(found) > 1 && strings.HasPrefix(f, FoundHole+"\t"+mib.Name(1, 1))
			})
			if err != nil || len(failed) > 0 || (c.want == "") != (len(found) == 0) || len(found) > 1 {
				t.Fatalf("%q, %v, %v", found, failed, err)
			}
			if c.want != "" && !strings.HasPrefix(found[0], c.want) {
				t.Errorf("%q", found)
			}
		})
	}
}

// A repository that goes away while it is looked at is a failure, whatever seems
// to be missing then.
func TestVerifyWhatIsUnmounted(t *testing.T) {
	for _, when := range []string{"base/old/manifest", layout.WALKey(fixture.Name(t, mib.Name(1, 3))) + ".zst", "base/old/000.tar"} {
		r := stocked(t)
		h := haunted{r.Store, when, new(sync.Once), func() { fixture.Remove(t, r.Location, "") }}
		found, failed, err := verified(t, &archive.Repo{Store: h, Location: r.Location, Identity: r.Identity}, Verification{})
		if len(found) > 0 || err == nil && len(failed) == 0 {
			t.Errorf("%s: %q, %v, %v", when, found, failed, err)
		}
		if errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// Whoever is told of a finding can end it all.
func TestVerifyEndsWhenNobodyListens(t *testing.T) {
	r := stocked(t)
	fixture.Remove(t, r.Location, layout.WALKey(fixture.Name(t, mib.Name(1, 2)))+".zst")
	full := errors.New("no space left")
	_, err := Run(t.Context(), r, Verification{
		Quick: true, Found: func(Finding) error { return full }, Failed: func(error) {}, Remark: func(string, ...any) {},
	})
	if !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

func TestWrongSize(t *testing.T) {
	r := repository.New(t)
	v := &verifier{Repo: r}
	segment, history := fixture.Name(t, mib.Name(1, 2)), fixture.Name(t, mib.Name(1, 2)+".00000028.backup")
	for _, c := range []struct {
		format codec.Format
		size   int64
		wrong  bool
	}{
		{codec.None, 1 << 20, false}, {codec.None, 1<<20 - 1, true}, {codec.None, 0, true}, {codec.None, 2 << 20, true},
		{codec.Zstd, 0, true}, {codec.Zstd, 31, true}, {codec.Zstd, 32, false}, {codec.Zstd, 1<<20 + 50, false}, {codec.Gzip, 2 << 20, true},
	} {
		if got := v.wrongSize(segment, c.format, c.size); (got != "") != c.wrong {
			t.Errorf("%s, %d bytes: %q", c.format, c.size, got)
		}
	}
	for size, wrong := range map[int64]bool{0: true, 1: false, 300: false, archive.TextLimit + 1: true} {
		if got := v.wrongSize(history, codec.None, size); (got != "") != wrong {
			t.Errorf("%d bytes: %q", size, got)
		}
	}
}

// What random bytes and zeros are compressed to is of a possible size.
func TestNoSegmentIsOfWrongSize(t *testing.T) {
	v := &verifier{Repo: repository.New(t)}
	for _, f := range codec.Formats() {
		for i, s := range []fixture.Segment{{Name: mib.Name(1, 1)}, {Name: mib.Name(1, 2), Sparse: true}} {
			contents := s.Bytes()
			if s.Sparse {
				contents = make([]byte, mib)
			}
			stored := len(fixture.Compressed(t, codec.Options{Format: f}, contents))
			if wrong := v.wrongSize(fixture.Name(t, s.Name), f, int64(stored)); wrong != "" {
				t.Errorf("%s, %d: %d bytes: %s", f, i, stored, wrong)
			}
		}
	}
}

func TestFindingIsOneLine(t *testing.T) {
	f := Finding{FoundDamaged, "base/b/000.tar", "two\nlines\tand a tab"}
	if got, want := f.String(), "damaged\tbase/b/000.tar\ttwo lines and a tab"; got != want {
		t.Errorf("%q", got)
	}
	if got := complaint("k", fmt.Errorf("k: %w: why", archive.ErrDamaged)); got != "why" {
		t.Errorf("%q", got)
	}
}
