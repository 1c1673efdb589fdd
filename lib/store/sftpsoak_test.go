package store_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

var (
	transfers = flag.Int("transfers", shortSoak, "how many transfers TestSFTPSoak makes")
	seed      = flag.Uint64("seed", 0, "of TestSFTPSoak, 0 for a random one")
)

const (
	shortSoak    = 150             // transfers,
	shortest     = 8 * time.Second // after which such a soak begins no more of them
	soakWorkers  = 8
	soakPatience = 1500 * time.Millisecond // of a transfer, at the median
	soakGrace    = 5 * time.Second         // for a busy machine
	soakPause    = 400 * time.Millisecond
)

// Eight workers store, read and list while one trouble follows the other at the
// server and on the way to it. Nothing may hang, leak, get lost or be invented.
func TestSFTPSoak(t *testing.T) {
	s := &soak{t: t, seed: cmp.Or(*seed, rand.Uint64()), objects: map[string]*object{}}
	t.Logf("seed %d", s.seed)
	if s.last = time.Now().Add(shortest); *transfers > shortSoak {
		s.last = time.Now().Add(24 * time.Hour)
	}
	far := startTroubled(t, rand.New(rand.NewPCG(s.seed, soakWorkers)))
	before := holdings(t)
	s.store = far.open()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for i := range soakWorkers {
			all.Go(func() { s.work(rand.New(rand.NewPCG(s.seed, uint64(i)))) })
		}
		all.Wait()
	}()
	far.happen(done)
	s.recovers()
	s.store.(io.Closer).Close()
	t.Logf("%d stored, %d read, %d lists, %d refused, %d failed", s.stored.Load(), s.read.Load(), s.lists.Load(), s.refused.Load(), s.failed.Load())
	eventually(t, "the server's sessions end", func() bool { return len(far.host.Signal(0)) == 1 })
	far.sweep()
	s.check(far.back)
	eventually(t, fmt.Sprintf("%+v becomes %+v", holdings(t), before), func() bool { return holdings(t).within(before) })
}

// A soak is what is known of the objects meanwhile.
type soak struct {
	t       *testing.T
	seed    uint64
	last    time.Time // when a transfer may begin
	store   store.Store
	next    atomic.Int64
	stored  atomic.Int64
	read    atomic.Int64
	lists   atomic.Int64
	refused atomic.Int64 // because others are there
	failed  atomic.Int64
	mu      sync.Mutex
	objects map[string]*object
}

// Writers want to store different contents under the same key; the last one
// never means it.
const (
	honestWriters = 2
	withdrawer    = honestWriters
)

var errWithdrawn = errors.New("withdrawn")

// An object is what is known of one.
type object struct {
	offered [honestWriters]bool
	there   bool // for certain, with the contents of writer
	writer  int
}

// key is the name of one of the objects, of which three transfers each are
// made, in directories of a hundred.
func (s *soak) key(random *rand.Rand) string {
	n := random.IntN(max(*transfers/3, 1))
	return fmt.Sprintf("wal/%03d/%05d", n/100, n)
}

// contents are what one of the writers wants to store under a key. None are
// empty, so that they tell of whom they are.
func (s *soak) contents(key string, writer int) []byte {
	source := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, s.seed, key, writer)))
	random := rand.New(source)
	size := []int{0, random.IntN(4 << 10), random.IntN(256 << 10), random.IntN(256 << 10), random.IntN(3 << 20)}[random.IntN(5)]
	b := make([]byte, 1+size)
	source.Read(b)
	b[0] = byte(writer)
	return b
}

func (s *soak) work(random *rand.Rand) {
	for s.next.Add(1) <= int64(*transfers) && time.Now().Before(s.last) {
		key := s.key(random)
		patience := soakPatience/2 + time.Duration(random.Int64N(int64(soakPatience)))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		begun := time.Now()
		var err error
		switch what := random.IntN(20); {
		case what < 10:
			err = s.put(ctx, key, min(random.IntN(8), 1))
		case what < 11:
			err = s.withdraw(ctx, key)
		case what < 18:
			err = s.get(ctx, key)
		default:
			err = s.list(ctx, key[:strings.LastIndexByte(key, '/')+1])
		}
		cancel()
		if took := time.Since(begun); took > patience+soakGrace {
			s.t.Errorf("%s: %s, with patience for %s", key, took, patience)
		}
		if err != nil {
			s.failed.Add(1)
			wait.Sleep(context.Background(), time.Duration(random.Int64N(int64(soakPause))))
		}
	}
}

// recovers has the store work again when there is no trouble any more.
func (s *soak) recovers() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, err := range []error{s.put(ctx, "after", 0), s.get(ctx, "after"), s.list(ctx, "wal/")} {
		if err != nil {
			s.t.Errorf("after all troubles: %v", err)
		}
	}
}

// put stores. Who is refused because others are there knows which.
func (s *soak) put(ctx context.Context, key string, writer int) error {
	s.offer(key, writer)
	contents := s.contents(key, writer)
	_, err := s.store.Put(ctx, key, write(string(contents)))
	switch {
	case err == nil:
		s.stored.Add(1)
		s.saw(key, writer)
	case errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrVanished):
		s.t.Errorf("storing %s: %v", key, err)
	case errors.Is(err, store.ErrDiffers):
		s.refused.Add(1)
		s.saw(key, 1-writer)
		return nil
	}
	return err
}

// withdraw begins to store what nobody may ever see.
func (s *soak) withdraw(ctx context.Context, key string) error {
	contents := s.contents(key, withdrawer)
	_, err := s.store.Put(ctx, key, func(w io.Writer) error {
		if _, err := w.Write(contents); err != nil {
			return err
		}
		return errWithdrawn
	})
	if err == nil {
		s.t.Errorf("%s was stored, and withdrawn", key)
	}
	if errors.Is(err, errWithdrawn) {
		return nil
	}
	return err
}

func (s *soak) get(ctx context.Context, key string) error {
	before := s.certain(key)
	contents, err := read(ctx, s.store, key, 0, -1)
	switch {
	case err == nil:
		s.read.Add(1)
		s.identify(key, []byte(contents))
	case errors.Is(err, store.ErrNotExist):
		if before {
			s.t.Errorf("%s was stored: %v", key, err)
		}
		return nil
	}
	return err
}

// list misses nothing that was there before, and tells of nothing else.
func (s *soak) list(ctx context.Context, prefix string) error {
	before := s.allCertain(prefix)
	for info, err := range s.store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		delete(before, info.Key)
		if !s.mayBe(info) {
			s.t.Errorf("%s: listed with %d bytes, which nobody stored", info.Key, info.Size)
		}
	}
	s.lists.Add(1)
	for key := range before {
		s.t.Errorf("%s was stored, and is not listed", key)
	}
	return nil
}

// of is what is known of an object; mu is held.
func (s *soak) of(key string) *object {
	if s.objects[key] == nil {
		s.objects[key] = &object{}
	}
	return s.objects[key]
}

func (s *soak) offer(key string, writer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(key).offered[writer] = true
}

func (s *soak) certain(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(key).there
}

func (s *soak) allCertain(prefix string) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := map[string]bool{}
	for key, o := range s.objects {
		if o.there && strings.HasPrefix(key, prefix) {
			keys[key] = true
		}
	}
	return keys
}

// mayBe reports whether somebody may have stored this.
func (s *soak) mayBe(info store.Info) bool {
	s.mu.Lock()
	o := *s.of(info.Key)
	s.mu.Unlock()
	for writer, offered := range o.offered {
		if offered && (!o.there || o.writer == writer) && info.Size == int64(len(s.contents(info.Key, writer))) {
			return true
		}
	}
	return false
}

// identify finds out whose contents these are.
func (s *soak) identify(key string, contents []byte) {
	for writer := range honestWriters {
		if bytes.Equal(contents, s.contents(key, writer)) {
			s.saw(key, writer)
			return
		}
	}
	s.t.Errorf("%s: nobody stored these %d bytes", key, len(contents))
}

// saw holds what is there against what was there, and what may be.
func (s *soak) saw(key string, writer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.of(key)
	if !o.offered[writer] {
		s.t.Errorf("%s: nobody stored what is there", key)
	}
	if o.there && o.writer != writer {
		s.t.Errorf("%s has two contents", key)
	}
	o.there, o.writer = true, writer
}

// check looks at the disk of the server itself: all that is there is whole, has
// been offered and not refused, and what is known to be there is. A transfer that
// failed may have stored all or nothing.
func (s *soak) check(root string) {
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), durable.TemporaryPrefix) {
			s.t.Errorf("%s was swept", name)
			return nil
		}
		contents, err := os.ReadFile(path)
		found[filepath.ToSlash(name)] = true
		s.identify(filepath.ToSlash(name), contents)
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	for key, o := range s.objects {
		if o.there && !found[key] {
			s.t.Errorf("%s was stored, and is lost", key)
		}
	}
}

// held is what a process has that may leak.
type held struct{ goroutines, files, children int }

// holdings are those of the process, without the threads that serve a file
// system.
func holdings(t *testing.T) held {
	t.Helper()
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	h := held{files: openFiles(t)}
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if !strings.Contains(stack, "/go-fuse/") {
			h.goroutines++
		}
	}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || lists == nil {
		t.Fatalf("no lists of children: %v", err)
	}
	for _, list := range lists {
		pids, _ := os.ReadFile(list) // of a thread that may end
		h.children += len(strings.Fields(string(pids)))
	}
	return h
}

func (h held) within(other held) bool {
	return h.goroutines <= other.goroutines && h.files <= other.files && h.children <= other.children
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func eventually(t *testing.T, what string, happens func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !happens(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("in vain: %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
