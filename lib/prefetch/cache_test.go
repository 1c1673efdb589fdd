package prefetch

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/lock"
	"pgpipes/lib/state"
	"pgpipes/lib/wait"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// newCache makes one in a new state directory.
func newCache(t testing.TB) (*Cache, *state.Dir) {
	t.Helper()
	s, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCache(s)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// numbered is the name of a segment on timeline 1.
func numbered(number int) string { return mib.Name(1, uint64(number)) }

// names are those of the segments from the first to the last number.
func names(first, last int) (all []string) {
	for n := first; n <= last; n++ {
		all = append(all, numbered(n))
	}
	return all
}

func (c *Cache) filled(t testing.TB, after string, n int, locations ...string) int {
	t.Helper()
	fetched, err := c.Fill(context.Background(), locations, fixture.Name(t, after), Supply{Segments: n, Jobs: 3})
	if err != nil {
		t.Fatal(err)
	}
	return fetched
}

// on lists the names of the segments on a repository's shelf.
func (c *Cache) on(r *archive.Repo) (found []string) {
	for _, s := range c.shelf(r.Identity, r.Location).all() {
		found = append(found, s.Name.String())
	}
	return found
}

// delivers asks for a segment and compares it with what was pushed.
func (c *Cache) delivers(t testing.TB, s string, locations ...string) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	if !c.Deliver(context.Background(), locations, repository.Cluster, fixture.Name(t, s), path) {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s: not delivered, but there", s)
		}
		return false
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, fixture.Segment{Name: s}.Bytes()) {
		t.Errorf("%s: other contents were delivered: %d bytes, %v", s, len(got), err)
	}
	return true
}

func TestCacheDeliversOnce(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	for i, format := range codec.Formats() {
		fixture.Archive(t, r.Location, codec.Options{Format: format}, numbered(i+1))
	}
	last := len(codec.Formats())
	if n := c.filled(t, numbered(1), last-1, r.Location); n != last-1 {
		t.Fatalf("%d fetched", n)
	}
	for _, want := range []bool{true, false} {
		for _, s := range names(2, last) {
			if got := c.delivers(t, s, r.Location); got != want {
				t.Errorf("%s: delivered %t, want %t", s, got, want)
			}
		}
	}
	if left, _ := os.ReadDir(c.shelf(r.Identity, r.Location).dir); len(left) != 1 || left[0].Name() != lockFile {
		t.Errorf("left: %v", left)
	}
}

func TestCacheChecksWhatItDelivers(t *testing.T) {
	good := fixture.Segment{Name: three}.Bytes()
	flipped := bytes.Clone(good)
	flipped[1<<19] ^= 1
	sum := func(b []byte) uint32 {
		s, err := checksum(memory(b))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for what, test := range map[string]struct {
		contents []byte
		sum      uint32
	}{
		"a flipped bit":      {flipped, sum(good)},
		"cut":                {good[:1<<19], sum(good)},
		"empty":              {nil, sum(good)},
		"zeros":              {make([]byte, len(good)), sum(good)},
		"longer":             {append(bytes.Clone(good), 0), sum(good)},
		"another segment":    {fixture.Segment{Name: numbered(4)}.Bytes(), sum(fixture.Segment{Name: numbered(4)}.Bytes())},
		"another cluster's":  {fixture.Segment{Name: three, SystemID: 1}.Bytes(), sum(fixture.Segment{Name: three, SystemID: 1}.Bytes())},
		"the right one":      {good, sum(good)},
		"a directory":        {nil, 1},
		"an unfinished copy": {good[:100], sum(good[:100])},
	} {
		c, _ := newCache(t)
		r, err := c.open(context.Background(), repository.New(t).Location)
		if err != nil {
			t.Fatal(err)
		}
		dir := c.shelf(r.Identity, r.Location).dir
		path := filepath.Join(dir, cached{fixture.Name(t, three), test.sum}.String())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if what == "a directory" {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, test.contents, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := c.delivers(t, three, r.Location); got != (what == "the right one") {
			t.Errorf("%s: delivered %t", what, got)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", what, left)
		}
	}
}

// Of many who ask for one segment, one has it, and the others fetch it.
func TestCacheDeliversToOne(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 4)...)
	c.filled(t, numbered(1), 3, r.Location)
	for _, s := range names(2, 4) {
		var served atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if c.delivers(t, s, r.Location) {
					served.Add(1)
				}
			})
		}
		all.Wait()
		if served.Load() != 1 {
			t.Errorf("%s: %d were served", s, served.Load())
		}
	}
}

func TestCacheDeliversToAnotherFileSystem(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 2)...)
	c.filled(t, numbered(1), 1, r.Location)
	dir, err := os.MkdirTemp("/dev/shm", "pgpipes")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("TMPDIR", dir) // of delivers
	if !c.delivers(t, numbered(2), r.Location) {
		t.Error("not delivered")
	}
	if left, _ := os.ReadDir(c.shelf(r.Identity, r.Location).dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestCacheIsOfOneCluster(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 2)...)
	c.filled(t, numbered(1), 1, r.Location)
	other := repository.Cluster
	other.SystemID++
	if c.Deliver(context.Background(), []string{r.Location}, other, fixture.Name(t, numbered(2)), filepath.Join(t.TempDir(), "x")) {
		t.Error("delivered to another cluster")
	}
	if !c.delivers(t, numbered(2), r.Location) {
		t.Error("not delivered")
	}
}

// A repository counts as proved for a while, on this machine.
func TestCacheLease(t *testing.T) {
	head := func(location string, ago time.Duration) string {
		return fmt.Sprintf("%s%d\n", leaseHead(location), int64((wait.Uptime()-ago)/time.Second))
	}
	for what, test := range map[string]struct {
		head   func(location string) string
		proved bool
	}{
		"just now":                  {func(l string) string { return head(l, 0) }, true},
		"half a minute ago":         {func(l string) string { return head(l, leaseLife/2) }, true},
		"long ago":                  {func(l string) string { return head(l, leaseLife+time.Second) }, false},
		"in the future":             {func(l string) string { return head(l, -time.Hour) }, false},
		"elsewhere":                 {func(l string) string { return head(l+"x", 0) }, false},
		"before the machine's boot": {func(l string) string { return fmt.Sprintf("%q\t%s\t%d\n", l, "boot", int64(wait.Uptime()/time.Second)) }, false},
		"never":                     {func(string) string { return "\n" }, false},
	} {
		c, _ := newCache(t)
		r := repository.New(t)
		fixture.Archive(t, r.Location, plain, names(1, 3)...)
		c.filled(t, numbered(1), 2, r.Location)
		if err := os.WriteFile(c.lease(r.Location), []byte(test.head(r.Location)+r.Identity.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		away := r.Location + ".away"
		if err := os.Rename(r.Location, away); err != nil {
			t.Fatal(err)
		}
		if got := c.delivers(t, numbered(2), r.Location); got != test.proved {
			t.Errorf("%s: delivered %t", what, got)
		}
		another, err := archive.OpenFor(context.Background(), r.Location, repository.Cluster)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.delivers(t, numbered(3), another.Location); got != test.proved {
			t.Errorf("%s: delivered %t, and there is another repository", what, got)
		}
	}
}

func TestCacheLeaseDamaged(t *testing.T) {
	c, _ := newCache(t)
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 2)...)
	c.filled(t, numbered(1), 1, r.Location)
	whole, err := os.ReadFile(c.lease(r.Location))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(c.lease(r.Location), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if id, _ := c.remembered(r.Location); id != (archive.Identity{}) {
			t.Fatalf("%d bytes are taken for %v", n, id)
		}
	}
	for _, id := range []string{"..", "../x", "a/b", "lock.d", "location-1"} {
		text := strings.Replace(string(whole), r.ID, id, 1)
		if err := os.WriteFile(c.lease(r.Location), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := c.remembered(r.Location); got.ID != "" {
			t.Errorf("a directory is named %q", got.ID)
		}
	}
}

func TestPruneCache(t *testing.T) {
	c, s := newCache(t)
	if err := PruneCache(s); err != nil {
		t.Error(err)
	}
	r := repository.New(t)
	fixture.Archive(t, r.Location, plain, names(1, 4)...)
	c.filled(t, numbered(1), 3, r.Location)
	if err := PruneCache(s); err != nil || len(c.on(r)) != 3 {
		t.Errorf("%v, %v", c.on(r), err)
	}
	shelf := c.shelf(r.Identity, r.Location)
	old := time.Now().Add(-cacheLife - time.Minute)
	paths := []string{c.lease(r.Location), filepath.Join(shelf.dir, lockFile)}
	for _, f := range shelf.all()[:2] {
		paths = append(paths, filepath.Join(shelf.dir, f.String()))
	}
	for _, path := range paths {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := PruneCache(s); err != nil {
		t.Error(err)
	}
	if got := c.on(r); !slices.Equal(got, names(4, 4)) {
		t.Errorf("left %v", got)
	}
	if id, _ := c.remembered(r.Location); id.ID != "" {
		t.Error("an old lease is left")
	}
	if l, err := lock.Acquire(context.Background(), paths[1], "test", 0); err != nil || l.Release() != nil {
		t.Error(err)
	}
}

func FuzzParseCached(f *testing.F) {
	for _, s := range []string{three + ".0123abcd", three, three + ".0123ABCD", three + ".123", "x.0123abcd", "", "00000002.history.0123abcd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parseCached(s); ok && c.String() != s {
			t.Errorf("%q is read as %s", s, c)
		}
	})
}
