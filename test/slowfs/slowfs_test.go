package slowfs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/lib/store/storetest"
	"pgpipes/test/slowfs"
)

// A place is a store in a mirrored directory; it is filled from behind.
type place struct {
	store.Store
	back string
}

func (p place) Fill(keys []string) error {
	for _, key := range keys {
		file := filepath.Join(p.back, key)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// A store works in it as everywhere.
func TestStore(t *testing.T) {
	t.Parallel()
	f := slowfs.Mount(t, t.TempDir())
	places := 0
	storetest.Run(t, func() store.Store {
		places++
		name := strconv.Itoa(places)
		if err := os.Mkdir(filepath.Join(f.Back, name), 0o777); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(filepath.Join(f.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return place{s, filepath.Join(f.Back, name)}
	})
}

// What a file costs to make, to find and to read.
func TestRoundTrips(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	file := filepath.Join(f.Dir, "file")
	tests := []struct {
		name string
		do   func() error
		want int64
	}{
		// Looking for the temporary name and taking it, the bytes, looking for
		// the name twice (os.Rename does once) and for the temporary one, the rename,
		// the directory.
		{"write", func() error { return durable.WriteFile(file, 0o600, writeNothing) }, 8},
		{"stat", func() error { _, err := os.Stat(file); return err }, 1},
		{"read", func() error { _, err := os.ReadFile(file); return err }, 1},
		{"look for another", func() error { _, err := os.Stat(file + "2"); return only(err, os.ErrNotExist) }, 1},
		{"list", func() error { _, err := os.ReadDir(f.Dir); return err }, 1},
		{"stat what was listed", func() error { _, err := os.Stat(file); return err }, 0},
		{"read what was listed", func() error { _, err := os.ReadFile(file); return err }, 1},
		{"stat the directory", func() error { _, err := os.Stat(f.Dir); return err }, 0},
	}
	for _, test := range tests {
		before := f.Trips()
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := f.Trips() - before; got != test.want {
			t.Errorf("%s: %d round trips, want %d", test.name, got, test.want)
		}
	}
}

func writeNothing(io.Writer) error { return nil }

// only is no error if err is that.
func only(err, that error) error {
	if errors.Is(err, that) {
		return nil
	}
	return fmt.Errorf("%v, want %v", err, that)
}

func TestLatency(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	f.Set(slowfs.Weather{Latency: 30 * time.Millisecond})
	begin, before := time.Now(), f.Trips()
	if err := durable.WriteFile(filepath.Join(f.Dir, "file"), 0o600, writeNothing); err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(begin), 30*time.Millisecond*time.Duration(f.Trips()-before); took < least {
		t.Errorf("%v for %v of latency", took, least)
	}
}

// Some requests fail, the same ones for the same seed. A list takes two.
func TestFailures(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	pattern := func(seed uint64) string {
		f.Set(slowfs.Weather{Failures: 0.3, Seed: seed})
		var ends strings.Builder
		for range 200 {
			switch _, err := os.ReadDir(f.Dir); {
			case err == nil:
				ends.WriteByte('.')
			case errors.Is(err, syscall.EIO):
				ends.WriteByte('x')
			default:
				t.Fatal(err)
			}
		}
		return ends.String()
	}
	one := pattern(1)
	if n := strings.Count(one, "x"); n < 60 || n > 150 {
		t.Errorf("%d of 200 failed", n)
	}
	if again := pattern(1); again != one {
		t.Errorf("the same seed:\n%s\n%s", one, again)
	}
	if other := pattern(2); other == one {
		t.Error("another seed, and the same failures")
	}
}

func TestAway(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	file := filepath.Join(f.Dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EIO, syscall.ENOTCONN} {
		f.Set(slowfs.Weather{Away: errno})
		_, statRoot := os.Stat(f.Dir)
		_, stat := os.Stat(file)
		_, list := os.ReadDir(f.Dir)
		for what, err := range map[string]error{"root": statRoot, "file": stat, "list": list, "new": os.WriteFile(file+"2", nil, 0o666)} {
			if !errors.Is(err, errno) {
				t.Errorf("%v: %s: %v", errno, what, err)
			}
		}
	}
	f.Set(slowfs.Weather{})
	if _, err := os.Stat(file); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// On a full disk what is there can be read and removed.
func TestFull(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	file, other := filepath.Join(f.Dir, "file"), filepath.Join(f.Dir, "other")
	if err := os.WriteFile(file, []byte("contents"), 0o666); err != nil {
		t.Fatal(err)
	}
	open, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	f.Set(slowfs.Weather{Full: true})
	_, write := open.WriteString("more")
	for what, err := range map[string]error{
		"write": write, "sync": open.Sync(), "new": os.WriteFile(other, nil, 0o666), "directory": os.Mkdir(other, 0o777), "link": os.Link(file, other),
	} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := os.ReadFile(file); string(got) != "contents" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := os.Remove(file); err != nil {
		t.Error(err)
	}
	f.Set(slowfs.Weather{})
	if err := os.WriteFile(other, nil, 0o666); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A request hangs until it is let go of, or its process killed.
func TestHang(t *testing.T) {
	f := slowfs.Mount(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(f.Back, "file"), []byte("contents"), 0o666); err != nil {
		t.Fatal(err)
	}
	f.Set(slowfs.Weather{Hang: true})
	killed, patient := reader(t, f), reader(t, f)
	killed.Process.Kill()
	if err := killed.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("killed: %v", err)
	}
	f.Set(slowfs.Weather{})
	if err := patient.Wait(); err != nil {
		t.Errorf("let go: %v", err)
	}
	if got := patient.Stdout.(*strings.Builder).String(); got != "contents" {
		t.Errorf("read %q", got)
	}
}

// reader is a process that waits for a hanging request.
func reader(t *testing.T, f *slowfs.FS) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("cat", filepath.Join(f.Dir, "file"))
	cmd.Stdout = &strings.Builder{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waiting := fmt.Sprintf("/proc/%d/wchan", cmd.Process.Pid)
	until(t, "a process in a request", func() bool {
		in, _ := os.ReadFile(waiting)
		return strings.Contains(string(in), "request_wait_answer") || strings.Contains(string(in), "fuse")
	})
	return cmd
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still no %s", what)
		}
	}
}

// leaveMounted has the test binary mount and then wait for its end.
const leaveMounted = "SLOWFS_LEAVE_MOUNTED"

// A process that is killed leaves no mount behind.
func TestKilled(t *testing.T) {
	if os.Getenv(leaveMounted) != "" {
		fmt.Println(slowfs.Mount(t, os.Getenv(leaveMounted)).Dir)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
	cmd.Env = append(os.Environ(), leaveMounted+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "/") {
			dir = lines.Text()
		}
	}
	if !mounted(t, dir) {
		t.Errorf("not mounted: %q", dir)
	}
	cmd.Process.Kill()
	cmd.Wait()
	until(t, "unmount", func() bool { return !mounted(t, dir) })
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+dir+" ")
}

func TestDisk(t *testing.T) {
	d := slowfs.MountDisk(t, 1)
	file := filepath.Join(d.Dir, "file")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o666); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("2 MiB: %v", err)
	}
	d.Resize(t, 4)
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o666); err != nil {
		t.Errorf("with more room: %v", err)
	}
}
