package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// A backlog is a pg_wal with segments that are ready, and a repository.
type backlog struct {
	*testing.T
	dir    string
	repo   *archive.Repo
	pusher Pusher
}

func newBacklog(t *testing.T, numbers ...uint64) *backlog {
	s, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	b := &backlog{T: t, dir: t.TempDir(), repo: repository.New(t)}
	b.pusher = Pusher{Locations: []string{b.repo.Location}, Codec: codec.Options{Format: codec.Zstd}, Ahead: 8, State: s}
	if err := os.Mkdir(filepath.Join(b.dir, "archive_status"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		b.ready(n, 0)
	}
	return b
}

func (b *backlog) name(n uint64) string { return wal.SegmentSize(mib).Name(1, n) }

func (b *backlog) contents(n, seed uint64) []byte {
	return fixture.Segment{Name: b.name(n), Seed: seed}.Bytes()
}

func (b *backlog) write(path string, contents []byte) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, path), contents, 0o600); err != nil {
		b.Fatal(err)
	}
}

// ready makes a segment that is to be archived.
func (b *backlog) ready(n, seed uint64) {
	b.Helper()
	b.write(b.name(n), b.contents(n, seed))
	b.write("archive_status/"+b.name(n)+".ready", nil)
}

func (b *backlog) push(n uint64) error {
	b.Helper()
	s, err := archive.OpenSource(filepath.Join(b.dir, b.name(n)))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	return b.pusher.Push(context.Background(), &repository.Cluster, fixture.Name(b, b.name(n)), s).Err()
}

func (b *backlog) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// stored are the numbers of the segments in the repository.
func (b *backlog) stored() (numbers []uint64) {
	b.Helper()
	for _, key := range repository.Keys(b.T, b.repo, layout.WAL) {
		n, _, _ := layout.ParseWALKey(key)
		number, err := wal.SegmentSize(mib).Split(n)
		b.must(err)
		numbers = append(numbers, number)
	}
	return numbers
}

// noted reports whether a segment will be answered for without being stored
// again: the source is then not even read.
func (b *backlog) noted(n uint64) bool {
	b.Helper()
	s, err := archive.OpenSource(filepath.Join(b.dir, b.name(n)))
	b.must(err)
	defer s.Close()
	return notesOf(b.pusher.State, b.repo).has(context.Background(), b.repo, fixture.Name(b, b.name(n)), identity(s))
}

func TestPushStoresWhatIsReadyBehindIt(t *testing.T) {
	b := newBacklog(t, 3, 4, 5, 7) // 6 is not ready
	b.must(b.push(3))
	if got := b.stored(); !slices.Equal(got, []uint64{3, 4, 5}) {
		t.Fatalf("stored %d", got)
	}
	if b.noted(3) || !b.noted(4) || !b.noted(5) {
		t.Errorf("notes of 3, 4, 5: %v %v %v; want those that will be asked for", b.noted(3), b.noted(4), b.noted(5))
	}
	b.must(b.push(4))
	if b.noted(4) {
		t.Errorf("a note stays when it has served")
	}
	for _, n := range []uint64{3, 4, 5} {
		got, warned, err := get(t, &repository.Cluster, b.name(n), b.repo.Location)
		if err != nil || len(warned) > 0 || !bytes.Equal(got, b.contents(n, 0)) {
			t.Errorf("%d: %d bytes, %v, %v", n, len(got), warned, err)
		}
	}
}

func TestPushAheadHasItsLimits(t *testing.T) {
	b := newBacklog(t, 3, 4, 5, 6, 7, 8)
	b.pusher.Ahead = 2
	b.must(b.push(3))
	if got := b.stored(); !slices.Equal(got, []uint64{3, 4, 5}) {
		t.Errorf("stored %d", got)
	}
	b.pusher.State = nil // nothing could be remembered
	b.must(b.push(6))
	if got := b.stored(); !slices.Equal(got, []uint64{3, 4, 5, 6}) {
		t.Errorf("without a state directory: stored %d", got)
	}
}

// What is wrong with a later file is not the failure of the call, and what
// comes behind it is not stored: that would look like a hole.
func TestPushStopsAheadAtWhatIsWrong(t *testing.T) {
	for name, damage := range map[string]func(b *backlog){
		"vanished":  func(b *backlog) { b.must(os.Remove(filepath.Join(b.dir, b.name(5)))) },
		"too short": func(b *backlog) { b.write(b.name(5), []byte("x")) },
		"foreign": func(b *backlog) {
			b.write(b.name(5), fixture.Segment{Name: b.name(5), SystemID: fixture.SystemID + 1}.Bytes())
		},
		"in conflict": func(b *backlog) {
			b.must(pushed(b, &repository.Cluster, b.name(5), b.contents(5, 9), plain, b.repo.Location))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBacklog(t, 3, 4, 5, 6, 7)
			damage(b)
			b.must(b.push(3))
			got := slices.DeleteFunc(b.stored(), func(n uint64) bool { return n == 5 })
			if !slices.Equal(got, []uint64{3, 4}) {
				t.Errorf("stored %d", got)
			}
		})
	}
}

// A note counts only for the very file and the very object it was written for.
func TestNotesThatDoNotCount(t *testing.T) {
	for what, change := range map[string]func(b *backlog){
		"the file was recycled": func(b *backlog) {
			other := filepath.Join(b.dir, "other")
			b.must(os.Rename(filepath.Join(b.dir, b.name(4)), other))
			b.must(os.Rename(other, filepath.Join(b.dir, b.name(4))))
		},
		"the file was written to": func(b *backlog) { b.write(b.name(4), b.contents(4, 1)) },
		"the object is gone": func(b *backlog) {
			b.must(b.repo.Remove(context.Background(), layout.WALKey(fixture.Name(b, b.name(4)))+".zst"))
		},
		"the object has another size": func(b *backlog) {
			b.must(os.Truncate(filepath.Join(b.repo.Location, layout.WALKey(fixture.Name(b, b.name(4)))+".zst"), 10))
		},
		"it is another repository": func(b *backlog) {
			b.must(os.RemoveAll(b.repo.Location))
			r, err := archive.OpenFor(context.Background(), b.repo.Location, repository.Cluster)
			b.must(err)
			b.repo = r
		},
		"the note is cut": func(b *backlog) {
			dir, err := b.pusher.State.Path("push", b.repo.ID)
			b.must(err)
			path := filepath.Join(dir, b.name(4))
			text, err := os.ReadFile(path)
			b.must(err)
			b.must(os.WriteFile(path, text[:len(text)-1], 0o600))
		},
		"the note is another file's": func(b *backlog) {
			dir, err := b.pusher.State.Path("push", b.repo.ID)
			b.must(err)
			b.must(os.Rename(filepath.Join(dir, b.name(5)), filepath.Join(dir, b.name(4))))
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBacklog(t, 3, 4, 5)
			b.must(b.push(3))
			if !b.noted(4) {
				t.Fatal("not noted")
			}
			if change(b); b.noted(4) {
				t.Error("the note still counts")
			}
		})
	}
}

// A file that one repository has is not compared again while another one fails.
func TestPushNotesWhatOneRepositoryHas(t *testing.T) {
	b := newBacklog(t, 3)
	b.pusher.Locations = append(b.pusher.Locations, filepath.Join(t.TempDir(), "no/repository"))
	if err := b.push(3); err == nil || !b.noted(3) {
		t.Errorf("%v, noted: %v", err, b.noted(3))
	}
	b.pusher.Locations = b.pusher.Locations[:1]
	if err := b.push(3); err != nil || b.noted(3) {
		t.Errorf("%v, noted: %v", err, b.noted(3))
	}
}

// A wayward store takes its time at random, records the order in which objects
// become visible, and fails for one key.
type wayward struct {
	store.Store
	mutex   sync.Mutex
	order   []string
	failing string
}

func (w *wayward) Put(ctx context.Context, key string, write func(io.Writer) error) (store.Receipt, error) {
	return w.Store.Put(ctx, key, func(out io.Writer) error {
		time.Sleep(rand.N(20 * time.Millisecond))
		if key == w.failing {
			return errors.New("failing")
		}
		err := write(out)
		if err == nil {
			w.mutex.Lock()
			defer w.mutex.Unlock()
			w.order = append(w.order, key)
		}
		return err
	})
}

func TestConvoyKeepsTheOrder(t *testing.T) {
	for _, fails := range []uint64{0, 3, 5} {
		t.Run(fmt.Sprint("failing at ", fails), func(t *testing.T) {
			b := newBacklog(t, 3, 4, 5, 6, 7, 8, 9)
			w := &wayward{Store: b.repo.Store, failing: layout.WALKey(fixture.Name(t, b.name(fails))) + ".zst"}
			b.repo.Store = w
			s, err := archive.OpenSource(filepath.Join(b.dir, b.name(3)))
			b.must(err)
			defer s.Close()
			b.pusher.Codec.Jobs = 4
			_, err = b.pusher.convoy(b.repo, &repository.Cluster, fixture.Name(t, b.name(3)), s).gather(b.pusher.Ahead).run(context.Background())
			if (err != nil) != (fails == 3) {
				t.Errorf("failing at %d: %v", fails, err)
			}
			want := map[uint64]int{0: 7, 3: 0, 5: 2}[fails]
			if len(w.order) != want || !slices.IsSorted(w.order) {
				t.Errorf("visible: %q, want the first %d in order", w.order, want)
			}
		})
	}
}

// While one repository lacks a segment the server asks for that one alone. The
// archive in another gets on all the same, call by call.
func TestPushGoesOnWhereItCan(t *testing.T) {
	b := newBacklog(t, 3)
	b.pusher.Ahead = 2
	b.pusher.Locations = append(b.pusher.Locations, filepath.Join(t.TempDir(), "away/r"))
	lacking := func(want ...uint64) {
		t.Helper()
		if err := b.push(3); err == nil {
			t.Error("stored in a repository that is not there")
		}
		if got := b.stored(); !slices.Equal(got, want) {
			t.Errorf("stored %d, want %d", got, want)
		}
	}
	lacking(3)
	for n := range uint64(5) {
		b.ready(4+n, 0)
	}
	lacking(3, 4, 5, 6, 7, 8)
	b.ready(9, 0)
	b.ready(10, 0)
	for _, note := range []uint64{5, 8} { // one that was lost, and one that lies
		notesOf(b.pusher.State, b.repo).remove(fixture.Name(b, b.name(note)))
	}
	b.must(notesOf(b.pusher.State, b.repo).add(fixture.Name(b, b.name(8)), "another file", store.Info{Key: "k"}))
	lacking(3, 4, 5, 6, 7, 8, 9, 10)

	b.pusher.Locations[1] = filepath.Join(t.TempDir(), "r")
	for n := range uint64(8) {
		b.must(b.push(3 + n))
	}
	if b.noted(4) || b.noted(8) || b.noted(10) {
		t.Error("notes stay when they have served")
	}
}
