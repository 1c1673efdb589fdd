package store_test

import (
	"bytes"
	"cmp"
	"context"
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
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/test/sshd"
)

var (
	transfers = flag.Int("transfers", 300, "how many transfers TestSFTPSoak makes")
	seed      = flag.Uint64("seed", 0, "of TestSFTPSoak, 0 for a random one")
)

const (
	soakWorkers  = 8
	soakPatience = 3 * time.Second // of a transfer
	soakGrace    = 5 * time.Second // for a busy machine
)

// Eight workers store and read while the server is killed, its sessions are,
// and it stops for a while. Nothing may hang, leak, get lost or
// be invented.
func TestSFTPSoak(t *testing.T) {
	s := &soak{t: t, seed: cmp.Or(*seed, rand.Uint64()), root: t.TempDir(), seen: map[string][]byte{}}
	t.Logf("seed %d", s.seed)
	s.host = sshd.Start(t)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var err error
	if s.store, err = store.Open(s.host.Location(s.root)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for i := range soakWorkers {
			all.Go(func() { s.work(rand.New(rand.NewPCG(s.seed, uint64(i)))) })
		}
		all.Wait()
	}()
	s.trouble(done, rand.New(rand.NewPCG(s.seed, soakWorkers)))
	s.store.(io.Closer).Close()
	t.Logf("%d stored, %d read, %d failed", s.stored.Load(), s.read.Load(), s.failed.Load())
	if s.stored.Load() == 0 || s.read.Load() == 0 {
		t.Error("nothing succeeded")
	}
	s.check()
	eventually(t, "the server's sessions end", func() bool { return len(s.host.Signal(0)) == 1 })
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "files are closed", func() bool { return openFiles(t) <= files })
}

// A soak is what is known of the objects meanwhile.
type soak struct {
	t                          *testing.T
	seed                       uint64
	host                       *sshd.Server
	root                       string
	store                      store.Store
	next, stored, read, failed atomic.Int64
	mu                         sync.Mutex
	seen                       map[string][]byte // what a success has shown to be stored
}

// key is the name of one of the objects, of which three transfers each are
// made, in directories of a hundred.
func (s *soak) key(random *rand.Rand) string {
	n := random.IntN(max(*transfers/3, 1))
	return fmt.Sprintf("wal/%03d/%05d", n/100, n)
}

// contents are what one of two writers wants to store under a key.
func (s *soak) contents(key string, writer int) []byte {
	sum := s.seed
	for _, c := range key {
		sum = sum*31 + uint64(c)
	}
	random := rand.New(rand.NewPCG(sum, uint64(writer)))
	b := make([]byte, []int{0, 1, random.IntN(4 << 10), random.IntN(256 << 10), random.IntN(3 << 20)}[random.IntN(5)])
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func (s *soak) work(random *rand.Rand) {
	for s.next.Add(1) <= int64(*transfers) {
		key := s.key(random)
		patience := soakPatience/10 + time.Duration(random.Int64N(int64(soakPatience)))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		begun := time.Now()
		if random.IntN(2) == 0 {
			s.put(ctx, key, s.contents(key, min(random.IntN(8), 1)))
		} else {
			s.get(ctx, key)
		}
		cancel()
		if took := time.Since(begun); took > patience+soakGrace {
			s.t.Errorf("%s: %s, with patience for %s", key, took, patience)
		}
	}
}

func (s *soak) put(ctx context.Context, key string, contents []byte) {
	_, err := s.store.Put(ctx, key, func(w io.Writer) error {
		_, err := w.Write(contents)
		return err
	})
	switch {
	case err == nil:
		s.stored.Add(1)
		s.saw(key, contents)
	case errors.Is(err, store.ErrNotExist):
		s.t.Errorf("storing %s: %v", key, err)
	case !errors.Is(err, store.ErrDiffers):
		s.failed.Add(1)
	}
}

func (s *soak) get(ctx context.Context, key string) {
	before := s.known(key)
	body, err := s.store.Get(ctx, key, 0, -1)
	var contents []byte
	if err == nil {
		contents, err = io.ReadAll(body)
		body.Close()
	}
	switch {
	case err == nil:
		s.read.Add(1)
		s.saw(key, contents)
	case errors.Is(err, store.ErrNotExist):
		if before != nil {
			s.t.Errorf("%s was stored: %v", key, err)
		}
	default:
		s.failed.Add(1)
	}
}

func (s *soak) known(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

// saw holds what is there against what was there, and what may be.
func (s *soak) saw(key string, contents []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.seen[key]; ok && !bytes.Equal(before, contents) {
		s.t.Errorf("%s has two contents", key)
	}
	if !bytes.Equal(contents, s.contents(key, 0)) && !bytes.Equal(contents, s.contents(key, 1)) {
		s.t.Errorf("%s: nobody stored these %d bytes", key, len(contents))
	}
	s.seen[key] = append([]byte{}, contents...)
}

// trouble happens until all is done; the server is well in between.
func (s *soak) trouble(done <-chan struct{}, random *rand.Rand) {
	troubles := []func(time.Duration){s.down, s.cut, s.stop}
	for {
		if over(done, time.Duration(random.IntN(3000))*time.Millisecond) {
			return
		}
		troubles[random.IntN(len(troubles))](time.Duration(random.IntN(500)) * time.Millisecond)
	}
}

func over(done <-chan struct{}, wait time.Duration) bool {
	select {
	case <-done:
		return true
	case <-time.After(wait):
		return false
	}
}

func (s *soak) down(d time.Duration) {
	s.host.Kill()
	time.Sleep(d)
	s.host.Run()
}

func (s *soak) cut(time.Duration) { s.host.EndSessions() }

// stop is for shorter than a transfer's patience, or for longer.
func (s *soak) stop(d time.Duration) {
	s.host.Signal(syscall.SIGSTOP)
	time.Sleep(4 * d)
	s.host.Signal(syscall.SIGCONT)
}

// check looks at the disk of the server itself.
func (s *soak) check() {
	for key, contents := range s.seen {
		if stored, err := os.ReadFile(filepath.Join(s.root, key)); err != nil || !bytes.Equal(stored, contents) {
			s.t.Errorf("%s: %d of %d bytes there, %v", key, len(stored), len(contents), err)
		}
	}
	filepath.WalkDir(s.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			s.t.Error(err)
		} else if !e.IsDir() && !strings.HasPrefix(e.Name(), durable.TemporaryPrefix) {
			s.whole(path)
		}
		return nil
	})
}

// whole: also a transfer that failed leaves all or nothing under a name.
func (s *soak) whole(path string) {
	key, _ := filepath.Rel(s.root, path)
	contents, err := os.ReadFile(path)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.saw(filepath.ToSlash(key), contents)
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
