package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/store"
	"pgpipes/test/slowfs"
)

// Another process is this test binary again, which locks a file, says so, and
// waits until its standard input ends.
const otherProcess = "LOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(otherProcess)
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := Acquire(context.Background(), path, "a test", 0); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// hold locks path in another process until the returned function is called,
// which kills it.
func hold(t *testing.T, path string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), otherProcess+"="+path)
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(kill)
	line := make([]byte, 7)
	if n, err := stdout.Read(line); string(line[:n]) != "locked\n" {
		t.Fatalf("%q, %v", line[:n], err)
	}
	return kill
}

func acquire(t *testing.T, path string) *Lock {
	t.Helper()
	l, err := Acquire(t.Context(), path, "test", 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A full disk is when expire is wanted most: there need be no room for a name.
func TestFullDisk(t *testing.T) {
	disk := slowfs.Mount(t, t.TempDir())
	path := filepath.Join(disk.Dir, "l")
	if err := acquire(t, path).Release(); err != nil {
		t.Fatal(err)
	}
	disk.Set(slowfs.Weather{Full: true})
	l := acquire(t, path)
	defer l.Release()
	if _, err := Acquire(t.Context(), path, "other", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
}

func TestBusyNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l, err := Acquire(t.Context(), path, "backup  --fast\nnow", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(t.Context(), path, "other", 0)
	host, _ := os.Hostname()
	if !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprint("pid ", os.Getpid()), host, "backup --fast now", time.Now().UTC().Format("2006-01-")} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\t") {
		t.Errorf("%q is not a line", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if err := acquire(t, path).Release(); err != nil {
		t.Error(err)
	}
}

// A lock of a process that was killed is free at once, and what it wrote into
// the file is no obstacle.
func TestKilledHolderBlocksNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	kill := hold(t, path)
	if _, err := Acquire(t.Context(), path, "other", 0); !errors.Is(err, ErrBusy) {
		t.Fatalf("%v", err)
	}
	kill()
	l := acquire(t, path)
	defer l.Release()
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), fmt.Sprintf("%d\t", os.Getpid())) || strings.Count(string(text), "\n") != 1 {
		t.Errorf("%q, %v", text, err)
	}
}

// After a reboot the file is there, with the number of a process that may well
// be alive and somebody else's.
func TestStaleFile(t *testing.T) {
	for name, text := range map[string]string{
		"own pid": fmt.Sprintf("%d\thost\t2020-01-01T00:00:00Z\tbackup\n", os.Getppid()),
		"empty":   "", "garbage": "\x00\xff\n\n\t", "long": strings.Repeat("9999\t", 5000),
	} {
		path := filepath.Join(t.TempDir(), "l")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := acquire(t, path)
		got, err := os.ReadFile(path)
		if err != nil || strings.Count(string(got), "\t") != 3 || strings.Count(string(got), "\n") != 1 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
}

// A holder that has not said yet who it is.
func TestBusyWithoutText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	defer acquire(t, path).Release()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Acquire(t.Context(), path, "other", 0)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "held by") {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := acquire(t, path)
	start := time.Now()
	if _, err := Acquire(t.Context(), path, "other", 120*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Fatal(err)
	}
	if waited := time.Since(start); waited < 120*time.Millisecond {
		t.Errorf("gave up after %s", waited)
	}
	result := make(chan error)
	go func() {
		other, err := Acquire(t.Context(), path, "other", time.Minute)
		if err == nil {
			err = other.Release()
		}
		result <- err
	}()
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	defer acquire(t, path).Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Acquire(ctx, path, "other", time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExclusion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	var inside atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l, err := Acquire(t.Context(), path, "test", time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d hold the lock", n)
			}
			inside.Add(-1)
			if err := l.Release(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A program that is started while the lock is held keeps it only if it shall.
func TestInherit(t *testing.T) {
	for _, inherited := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "l")
		l := acquire(t, path)
		if inherited {
			if err := l.Inherit(); err != nil {
				t.Fatal(err)
			}
		}
		child := exec.Command("cat")
		stdin, err := child.StdinPipe()
		if err := errors.Join(err, child.Start(), l.Release()); err != nil {
			t.Fatal(err)
		}
		_, err = Acquire(t.Context(), path, "other", 0)
		if errors.Is(err, ErrBusy) != inherited {
			t.Errorf("inherited %v: %v", inherited, err)
		}
		if err := errors.Join(stdin.Close(), child.Wait()); err != nil {
			t.Error(err)
		}
		if inherited {
			if err := acquire(t, path).Release(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A lock file that another user has made can be locked by whoever can read it.
func TestFileOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	path, like := filepath.Join(dir, "l"), filepath.Join(dir, "like")
	if err := errors.Join(acquire(t, path).Release(), os.WriteFile(like, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	made, err1 := os.Stat(path)
	readable, err2 := os.Stat(like)
	if err := errors.Join(err1, err2); err != nil || made.Mode() != readable.Mode() {
		t.Errorf("%v, %v", made.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	asOrdinaryUser(t)
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	l := acquire(t, path)
	if _, err := Acquire(t.Context(), path, "other", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("%q, %v; before %q", after, err, before)
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(t.Context(), path, "other", 0); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

// Leases that cannot be read say where they are and who has to read them.
func TestLeaseOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Take(t.Context(), s, "expire", "test", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	asOrdinaryUser(t)
	for _, path := range []string{filepath.Join(dir, leaseKey("expire", l.epoch)), filepath.Join(dir, leasePrefix("expire"))} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		_, err := Take(t.Context(), s, "expire", "other", time.Minute, 0)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "below lease/expire/") {
			t.Errorf("%v", err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, leasePrefix("expire")), 0o700); err != nil {
		t.Fatal(err)
	}
}

// asOrdinaryUser has the modes of files count, for this test's thread, also when the
// superuser runs it.
func asOrdinaryUser(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	fewer := all
	fewer[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	if err := unix.Capset(&header, &fewer[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Capset(&header, &all[0]); err != nil {
			t.Error(err)
		}
	})
}

func TestNoDirectory(t *testing.T) {
	if _, err := Acquire(t.Context(), filepath.Join(t.TempDir(), "no/l"), "test", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Nothing that a link leads to is written to.
func TestAcquireFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(precious, []byte("precious"), 0o600), os.Symlink(precious, filepath.Join(dir, "lock"))); err != nil {
		t.Fatal(err)
	}
	if l, err := Acquire(t.Context(), filepath.Join(dir, "lock"), "test", 0); err == nil {
		l.Release()
		t.Error("a link was locked")
	}
	if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	is := func(want bool) {
		t.Helper()
		if held, err := IsHeld(path); held != want || err != nil {
			t.Errorf("%v, %v", held, err)
		}
	}
	is(false)
	l, err := Acquire(t.Context(), path, "test", 0)
	if err != nil {
		t.Fatal(err)
	}
	is(true)
	l.Release()
	is(false)
}
