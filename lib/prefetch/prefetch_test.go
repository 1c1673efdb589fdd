package prefetch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/lock"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

func TestFill(t *testing.T) {
	for _, test := range []struct {
		what  string
		there []string // in the repository
		after string
		n     int
		want  []string
	}{
		{"a full window", names(1, 9), numbered(2), 4, names(3, 6)},
		{"to the end", names(1, 4), numbered(2), 16, names(3, 4)},
		{"nothing follows", names(1, 4), numbered(4), 16, nil},
		{"nothing at all", nil, numbered(4), 16, nil},
		{"not itself there", names(5, 6), numbered(4), 16, names(5, 6)},
		{"the next log", names(0xFFE, 0x1002), numbered(0xFFE), 3, names(0xFFF, 0x1001)},
		{"a window of none", names(1, 4), numbered(2), 0, nil},
		{"another timeline", []string{numbered(3), mib.Name(2, 4), mib.Name(2, 5)}, numbered(3), 4, nil},
		{"its own timeline", append(names(1, 9), mib.Name(2, 4), mib.Name(2, 5), mib.Name(3, 6)), mib.Name(2, 3), 4, []string{mib.Name(2, 4), mib.Name(2, 5)}},
	} {
		c, _ := newCache(t)
		r := repository.New(t)
		fixture.Archive(t, r.Location, plain, test.there...)
		fixture.Mark(t, r.Location, numbered(3)+".00000028.backup", numbered(5)+".partial", "00000002.history")
		if n := c.filled(t, test.after, test.n, r.Location); n != len(test.want) {
			t.Errorf("%s: %d fetched", test.what, n)
		}
		if got := c.on(r); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.what, got, test.want)
		}
	}
}

// counting counts what is asked of a store for each segment.
type counting struct {
	store.Store
	mu    sync.Mutex
	asked map[string]int
}

func (c *counting) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.mu.Lock()
	if n, _, ok := layout.ParseWALKey(key); ok {
		c.asked[n.String()]++
	}
	c.mu.Unlock()
	return c.Store.Get(ctx, key, offset, length)
}

// One request for each, and hardly any beyond the first that is absent.
func TestFillAsksForLittle(t *testing.T) {
	for _, format := range []codec.Format{codec.Zstd, codec.Gzip, codec.None} {
		c, _ := newCache(t)
		r := repository.New(t)
		there := append(names(3, 6), names(8, 12)...)
		fixture.Archive(t, r.Location, codec.Options{Format: format}, there...)
		asked := &counting{Store: r.Store, asked: map[string]int{}}
		r.Store = asked
		w, err := windowAfter(fixture.Name(t, numbered(2)), mib, 20)
		if err != nil {
			t.Fatal(err)
		}
		const jobs = 3
		f := newFilling(r, []shelf{c.shelf(r.Identity, r.Location)}, w, w.first)
		if err := f.run(context.Background(), Supply{Jobs: jobs}); err != nil || f.next != 7 {
			t.Errorf("%s: ended at %d, %v", format, f.next, err)
		}
		if got := c.on(r); !slices.Equal(got[:4], names(3, 6)) || len(got) >= 4+jobs {
			t.Errorf("%s: %v", format, got)
		}
		for n, times := range asked.asked {
			if n > numbered(6+jobs) || times > 2 || format == codec.Zstd && times > 1 {
				t.Errorf("%s: %s was asked for %d times", format, n, times)
			}
		}
	}
}

// While segments are taken away, others take their place.
func TestFillFollows(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(2, 16)...)
	if _, err := c.open(context.Background(), r.Location); err != nil { // Deliver wants to know of it
		t.Fatal(err)
	}
	taking := &taker{t: t, Store: r.Store, cache: c, repo: r}
	r.Store = taking
	w, err := windowAfter(fixture.Name(t, numbered(1)), mib, 4)
	if err != nil {
		t.Fatal(err)
	}
	f := newFilling(r, []shelf{c.shelf(r.Identity, r.Location)}, w, w.first)
	if err := f.run(context.Background(), Supply{Jobs: 1}); err != nil {
		t.Fatal(err)
	}
	if got := c.on(r); taking.taken != 10 || !slices.Equal(got, names(12, 15)) {
		t.Errorf("%v are left after %d were taken", got, taking.taken)
	}
}

// A taker takes ten segments out of the cache, each before the next is fetched.
type taker struct {
	t *testing.T
	store.Store
	cache *Cache
	repo  *archive.Repo
	taken int
}

func (k *taker) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if k.taken < 10 && k.cache.delivers(k.t, numbered(2+k.taken), k.repo.Location) {
		k.taken++
	}
	return k.Store.Get(ctx, key, offset, length)
}

// What is there is kept, and what is not ahead is removed: older segments, those
// too far ahead, other timelines', and what was left unfinished.
func TestFillMovesOn(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 12)...)
	fixture.Archive(t, r.Location, plain, mib.Name(2, 6), mib.Name(2, 7))
	for _, step := range []struct {
		after   string
		fetched int
		want    []string
	}{
		{numbered(1), 4, names(2, 5)},
		{numbered(1), 0, names(2, 5)},
		{numbered(3), 2, names(4, 7)},
		{numbered(10), 2, names(11, 12)},
		{numbered(2), 4, names(3, 6)}, // recovery begins anew
		{mib.Name(2, 5), 2, []string{mib.Name(2, 6), mib.Name(2, 7)}},
	} {
		dir := c.shelf(r.Identity, r.Location).dir
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, rest := range []string{numbered(3), ".pgpipes-X.tmp", numbered(5) + ".0", "odd"} {
			if err := os.WriteFile(filepath.Join(dir, rest), []byte("left by one who was killed"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.filled(t, step.after, 4, r.Location); n != step.fetched {
			t.Errorf("%s: %d fetched, want %d", step.after, n, step.fetched)
		}
		var want []string
		for _, f := range c.shelf(r.Identity, r.Location).all() {
			want = append(want, f.String())
		}
		if got := c.on(r); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.after, got, step.want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(want)+1 {
			t.Errorf("%s: %v, %v", step.after, entries, err)
		}
	}
}

// A damaged segment is not kept, and does not keep the others away.
func TestFillLeavesDamageAlone(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 6)...)
	fixture.Place(t, r.Location, layout.WALKey(fixture.Name(t, numbered(3))), fixture.Segment{Name: numbered(4)}.Bytes())
	fixture.Archive(t, r.Location, codec.Options{Format: codec.Gzip}, numbered(7))
	fixture.Place(t, r.Location, layout.WALKey(fixture.Name(t, numbered(7)))+".zst", []byte("nonsense")) // and a good one in gzip
	if n := c.filled(t, numbered(1), 16, r.Location); n != 4 {
		t.Errorf("%d fetched", n)
	}
	if want, got := []string{numbered(2), numbered(4), numbered(5), numbered(6)}, c.on(r); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestFillFromSeveral(t *testing.T) {
	down := filepath.Join(t.TempDir(), "not/mounted")
	c, _ := newCache(t)
	old, recent := repository.New(t), repository.New(t)
	fixture.Archive(t, old.Location, plain, names(1, 4)...)
	fixture.Archive(t, recent.Location, plain, names(3, 9)...)
	n, err := c.Fill(context.Background(), []string{down, old.Location, recent.Location}, fixture.Name(t, numbered(2)), Supply{Segments: 5, Jobs: 2})
	if n != 5 || !errors.Is(err, archive.ErrNoRepository) {
		t.Errorf("%d fetched, %v", n, err)
	}
	if a, b := c.on(old), c.on(recent); !slices.Equal(a, names(3, 4)) || !slices.Equal(b, names(5, 7)) {
		t.Errorf("%v and %v", a, b)
	}
	for _, s := range names(3, 7) {
		if !c.delivers(t, s, down, old.Location, recent.Location) {
			t.Errorf("%s: not delivered", s)
		}
	}
}

func TestFillIsAlone(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 4)...)
	l, err := c.shelf(r.Identity, r.Location).lock(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Fill(context.Background(), []string{r.Location}, fixture.Name(t, numbered(1)), Supply{Segments: 4, Jobs: 2})
	if n != 0 || !errors.Is(err, lock.ErrBusy) || len(c.on(r)) > 0 {
		t.Errorf("%d fetched, %v", n, err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if n := c.filled(t, numbered(1), 4, r.Location); n != 3 {
		t.Errorf("%d fetched", n)
	}
}

func TestFillEndsWithItsContext(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 4)...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if n, err := c.Fill(ctx, []string{r.Location}, fixture.Name(t, numbered(1)), Supply{Segments: 4, Jobs: 2}); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d fetched, %v", n, err)
	}
}

// broken is a store that has one segment and does not give it.
type broken struct {
	store.Store
	name string
}

var errBroken = errors.New("broken")

func (b broken) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if n, _, ok := layout.ParseWALKey(key); ok && n.String() == b.name {
		return nil, errBroken
	}
	return b.Store.Get(ctx, key, offset, length)
}

// When one fails, all end, those too that wait for it.
func TestFillEndsWithAFailure(t *testing.T) {
	for _, at := range []int{2, 3, 7} {
		c, _ := newCache(t)
		r := repository.New(t)
		fixture.Archive(t, r.Location, plain, names(2, 9)...)
		r.Store = broken{r.Store, numbered(at)}
		w, err := windowAfter(fixture.Name(t, numbered(1)), mib, 8)
		if err != nil {
			t.Fatal(err)
		}
		f := newFilling(r, []shelf{c.shelf(r.Identity, r.Location)}, w, w.first)
		if err := f.run(context.Background(), Supply{Jobs: 3, Linger: time.Hour}); !errors.Is(err, errBroken) {
			t.Errorf("%d: %v", at, err)
		}
	}
}

const tooMany = 1 << 40 // segments, more than any disk has room for

func TestFillNeedsRoom(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 4)...)
	n, err := c.Fill(context.Background(), []string{r.Location}, fixture.Name(t, numbered(1)), Supply{Segments: tooMany, Jobs: 2})
	if n != 0 || !errors.Is(err, errNoRoom) || len(c.on(r)) > 0 {
		t.Errorf("%d fetched, %v", n, err)
	}
}

func TestLow(t *testing.T) {
	c, _ := newCache(t)
	r, other := repository.New(t), repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 9)...)
	low := func(after, n int, locations ...string) bool {
		return c.Low(context.Background(), locations, fixture.Name(t, numbered(after)), n)
	}
	if !low(1, 4, r.Location) {
		t.Error("an empty cache is not low")
	}
	c.filled(t, numbered(1), 4, r.Location) // 2 to 5
	for after, want := range []bool{0: false, 1: false, 2: false, 3: false, 4: true, 5: true} {
		if got := low(after, 4, r.Location); got != want {
			t.Errorf("after %d: low %t", after, got)
		}
		if got := low(after, 4, other.Location, r.Location); got != want {
			t.Errorf("after %d, with another repository: low %t", after, got)
		}
		if got, want := c.on(r), names(max(after+1, 2), 5); !slices.Equal(got, want) {
			t.Errorf("after %d: %v are left, want %v", after, got, want)
		}
	}
	if low(5, tooMany, r.Location) {
		t.Error("low without room")
	}
	l, err := c.shelf(r.Identity, r.Location).lock(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if low(5, 4, r.Location) {
		t.Error("low while somebody is at it")
	}
}
