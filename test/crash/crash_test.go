package crash

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/test/tracer"
)

// everywhere calls test for each scenario on each system, with the system calls
// that it makes there.
func everywhere(t *testing.T, test func(t *testing.T, s scenario, without []string, calls map[uint64]int)) {
	for name, s := range scenarios {
		for system, without := range variants {
			if s.direct && len(without) > 0 {
				continue
			}
			t.Run(name+"/"+system, func(t *testing.T) {
				t.Parallel()
				r := s.set(t, without)
				defer os.RemoveAll(r.dir)
				res, err := r.trace(tracer.Interruption{})
				if err != nil || res.Status != 0 {
					t.Fatalf("status %d: %s (%v)", res.Status, res.said, err)
				}
				if err := s.whole(r.dir, false, true); err != nil {
					t.Fatal(err)
				}
				test(t, s, without, res.Calls)
			})
		}
	}
}

// Killed at any system call, a program leaves nothing half-written under a final
// name, and the next attempt succeeds.
func TestKilledAtEverySystemCall(t *testing.T) {
	everywhere(t, func(t *testing.T, s scenario, without []string, calls map[uint64]int) {
		killed := 0
		for number, count := range calls {
			k, _ := kindOf(number)
			for nth := 1; nth <= places(number, count, without); nth++ {
				hit, err := s.kill(t, without, tracer.Interruption{Call: number, Nth: nth})
				if err != nil {
					t.Errorf("killed at %s number %d: %v", k.name, nth, err)
				}
				if hit {
					killed++
				}
			}
		}
		t.Logf("killed at %d places", killed)
		if killed < 20 {
			t.Errorf("killed at %d places only", killed)
		}
	})
}

func (s scenario) kill(t *testing.T, without []string, at tracer.Interruption) (hit bool, err error) {
	t.Helper()
	r := s.set(t, without)
	defer os.RemoveAll(r.dir)
	res, err := r.trace(at)
	if err == nil && res.Status != 0 && res.Status != 137 {
		err = fmt.Errorf("status %d: %s", res.Status, res.said)
	}
	if err != nil {
		return res.Hit, err
	}
	named := len(without) > 0
	if err := s.whole(r.dir, named, res.Status == 0); err != nil {
		return res.Hit, err
	}
	return res.Hit, s.again(r, named)
}

// Whatever fails, status 0 means that all is whole; otherwise nothing is
// visible, nothing is left over, and the next attempt succeeds.
func TestEverySystemCallFails(t *testing.T) {
	everywhere(t, func(t *testing.T, s scenario, without []string, calls map[uint64]int) {
		failed := 0
		for _, k := range kinds {
			errnos := []unix.Errno{unix.EIO}
			if slices.Contains(full, k.name) && len(without) == 0 {
				errnos = append(errnos, unix.ENOSPC)
			}
			for nth := 1; nth <= places(k.number, calls[k.number], without); nth++ {
				for _, errno := range errnos {
					status, err := s.fail(t, without, tracer.Interruption{Call: k.number, Nth: nth, Errno: errno})
					if err != nil {
						t.Errorf("%s number %d: %v: %v", k.name, nth, errno, err)
					}
					if status != 0 {
						failed++
					}
				}
			}
		}
		t.Logf("failed %d times", failed)
		if failed < 5 {
			t.Errorf("failed %d times only", failed)
		}
	})
}

// full are the calls that find out that the disk is full.
var full = []string{"write", "fsync", "linkat", "mkdirat", "pwrite64"}

func (s scenario) fail(t *testing.T, without []string, at tracer.Interruption) (status int, err error) {
	t.Helper()
	r := s.set(t, without)
	defer os.RemoveAll(r.dir)
	res, err := r.trace(at)
	// The write that failed may be one of Go's own, which wakes a thread of its
	// and never fails in earnest.
	woken := strings.Contains(res.said, "netpollBreak write failed")
	if err == nil && res.Status != 0 && !woken && !slices.Contains(s.statuses, res.Status) {
		err = fmt.Errorf("status %d: %s", res.Status, res.said)
	}
	if err != nil {
		return res.Status, err
	}
	unremovable := at.Call == unix.SYS_UNLINKAT || at.Call == unix.SYS_LINKAT && len(without) > 0
	if err := s.whole(r.dir, unremovable, res.Status == 0); err != nil {
		return res.Status, fmt.Errorf("status %d: %w (%s)", res.Status, err, res.said)
	}
	return res.Status, s.again(r, unremovable)
}

// A hole is a hole, whatever fails on the way to it: never is the answer
// "absent".
func TestFailuresAreNotAbsence(t *testing.T) {
	t.Parallel()
	s := scenario{
		argv:    []string{"wal-get", "--retry", "0", "-r", "r", "000000010000000000000000", "out"},
		prepare: map[string][]byte{"r/pgpipes": identity, stored: compressed, "r/wal/history/00000002.history": []byte("1\t0/900000\tx\n")},
	}
	try := func(at tracer.Interruption) result {
		r := s.set(t, nil)
		defer os.RemoveAll(r.dir)
		res, err := r.trace(at)
		if name, _ := kindOf(at.Call); err != nil || res.Status != 254 && !strings.Contains(res.said, "netpollBreak") {
			t.Errorf("%s number %d: status %d: %s (%v)", name.name, at.Nth, res.Status, res.said, err)
		}
		return res
	}
	calls := try(tracer.Interruption{}).Calls
	for _, k := range kinds {
		for nth := 1; nth <= calls[k.number]; nth++ {
			for _, errno := range []unix.Errno{unix.EIO, unix.EACCES} {
				try(tracer.Interruption{Call: k.number, Nth: nth, Errno: errno})
			}
		}
	}
}
