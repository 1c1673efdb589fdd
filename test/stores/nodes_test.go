package stores

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/store/storetest"
	"pgpipes/test/fixture"
	"pgpipes/test/s3"
)

// inside tells a test that it is in a network of its own.
const inside = "PGPIPES_TEST_NETWORK"

// TestNodes is about a server of four nodes. It runs again in a network of its
// own, where their address is.
func TestNodes(t *testing.T) {
	if !*nodes {
		t.Skip("it takes a server that make test does not build: -nodes, or make stores")
	}
	if os.Getenv(inside) == "" {
		s3.BuildNodes(t)
		inNetwork(t)
		return
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", s3.Address + "/32", "dev", "lo"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	n := s3.StartNodes(t, "bucket")
	t.Run("conformance", func(t *testing.T) {
		made := 0
		storetest.Run(t, func() store.Store {
			made++
			return openStore(t, n.Location(made%4, fmt.Sprintf("bucket/some prefix/%d", made)))
		})
	})
	t.Run("killed", func(t *testing.T) { killed(t, n) })
	t.Run("most killed", func(t *testing.T) { mostKilled(t, n) })
}

// inNetwork runs this test in a network namespace, where an ordinary user is
// root as well.
func inNetwork(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestNodes$", "-test.v", "-nodes")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		id := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, UidMappings: id,
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func openStore(t *testing.T, location string) store.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	s, err := store.Open(location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A site archives to a server of nodes.
type site struct {
	*host
	location  func(node int, path string) string
	prefix    string
	acked     atomic.Int64 // segments up to this one
	refused   atomic.Int64 // pushes
	delivered atomic.Int64 // gets that had the right bytes
	withheld  atomic.Int64 // gets that failed as they should
}

func (s *site) repo(node int) string { return s.location(node, s.prefix) }

// push pushes a segment once.
func (s *site) push(n uint64, node int) result {
	return s.run("wal-push", "--timeout", "5s", "--ahead", "0", "-r", s.repo(node), s.wal(n))
}

// archive pushes segments up to last one after the other, as a server does: each
// until it is acknowledged.
func (s *site) archive(last int64) {
	for s.acked.Load() < last {
		next := s.acked.Load() + 1
		switch r := s.push(uint64(next), 0); {
		case r.status == 0:
			s.acked.Store(next)
		case r.status == 111 && strings.Contains(r.err, "s3://"+s.prefix):
			if s.refused.Add(1) == 1 {
				s.t.Logf("refused: %s", r.err)
			}
		default:
			s.t.Errorf("push of %d: %+v", next, r)
		}
	}
}

// get fetches a segment that was acknowledged, and goes on trying for some time.
func (s *site) get(n uint64, node int, retry string) {
	file := filepath.Join(s.dir, fmt.Sprintf("got-%d-%d", n, rand.Int()))
	defer os.Remove(file)
	r := s.run("wal-get", "--timeout", "5s", "--ahead", "0", "--retry", retry, "-r", s.repo(node), segment(n), file)
	got, err := os.ReadFile(file)
	switch {
	case r.status == 0 && bytes.Equal(got, fixture.Segment{Name: segment(n)}.Bytes()):
		s.delivered.Add(1)
	case r.status == 254 && errors.Is(err, os.ErrNotExist) && strings.Contains(r.err, "s3://"+s.prefix):
		if s.withheld.Add(1) == 1 {
			s.t.Logf("withheld: %s", r.err)
		}
	default:
		s.t.Errorf("get of %d: %+v, %d bytes", n, r, len(got))
	}
}

// until waits for a condition.
func (s *site) until(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func newSite(t *testing.T, n *s3.Nodes, segments uint64) *site {
	s := &site{host: newHost(t), location: n.Location, prefix: "bucket/" + filepath.Base(t.Name())}
	s.write(1, segments)
	s.must("repo", "init", "-r", s.repo(0), "-D", s.data)
	return s
}

// more waits until a count has grown.
func (s *site) more(what string, count *atomic.Int64, by int64) {
	s.t.Helper()
	want := count.Load() + by
	s.until(what, func() bool { return count.Load() >= want })
}

// While two nodes, one after the other, are killed and come back, and then the
// two others that are not asked, a server archives and a standby reads: nothing
// that was acknowledged is lost, or called absent for a moment.
func killed(t *testing.T, n *s3.Nodes) {
	const segments = 60
	s := newSite(t, n, segments)
	var ended atomic.Bool
	var working sync.WaitGroup
	working.Go(func() { defer ended.Store(true); s.archive(segments) })
	working.Go(func() {
		for !ended.Load() {
			if last := s.acked.Load(); last > 0 {
				s.get(uint64(1+rand.Int64N(last)), 0, "0s")
			}
		}
	})
	for _, pair := range [][2]int{{2, 3}, {1, 2}} {
		s.more("pushes", &s.acked, 5)
		n.Kill(pair[0])
		s.more("pushes with one killed", &s.acked, 5)
		s.more("gets with one killed", &s.delivered, 3)
		n.Kill(pair[1])
		s.more("refusals with two killed", &s.refused, 1)
		s.more("gets with two killed", &s.delivered, 3)
		n.Run(pair[0])
		n.Run(pair[1])
		n.Healthy()
		s.more("pushes with all back", &s.acked, 5)
	}
	working.Wait()
	t.Logf("%d acknowledged, %d refused; %d delivered, %d withheld", s.acked.Load(), s.refused.Load(), s.delivered.Load(), s.withheld.Load())
	s.whole(segments)
}

// whole looks at all from every node. A node may need a while after it is back:
// until then it does not find objects that it lists.
func (s *site) whole(segments uint64) {
	s.t.Helper()
	before := s.delivered.Load()
	for i := uint64(1); i <= segments; i++ {
		s.get(i, int(i%4), "15s")
	}
	if got := s.delivered.Load() - before; got != int64(segments) {
		s.t.Errorf("%d of %d segments", got, segments)
	}
	if r := s.run("wal-get", "--ahead", "0", "--retry", "0s", "-r", s.repo(1), segment(segments+1), filepath.Join(s.dir, "none")); r.status != 1 {
		s.t.Errorf("what is absent: %+v", r)
	}
}

// A node by itself knows nothing for sure: it neither stores, nor delivers, nor
// says that anything is absent.
func mostKilled(t *testing.T, n *s3.Nodes) {
	s := newSite(t, n, 3)
	s.archive(2)
	for i := 1; i < 4; i++ {
		n.Kill(i)
	}
	withheld := s.withheld.Load()
	s.get(1, 0, "0s")
	s.get(2, 0, "0s")
	if s.withheld.Load() != withheld+2 {
		t.Error("one node delivers")
	}
	if r := s.run("wal-get", "--timeout", "5s", "--ahead", "0", "--retry", "0s", "-r", s.repo(0), segment(3), filepath.Join(s.dir, "none")); r.status != 254 {
		t.Errorf("what is absent, says one node: %+v", r)
	}
	if r := s.push(3, 0); r.status != 111 {
		t.Errorf("one node takes it: %+v", r)
	}
	if r := s.push(3, 1); r.status != 111 || !strings.Contains(r.err, "refused") {
		t.Errorf("one that is dead takes it: %+v", r)
	}
	for i := 1; i < 4; i++ {
		n.Run(i)
	}
	n.Healthy()
	s.archive(3)
	s.whole(3)
}
