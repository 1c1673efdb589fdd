package store_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/lib/store/storetest"
	"pgpipes/lib/wait"
)

// A dir is a store in a directory that can be filled fast.
type dir struct {
	store.Store
	root string
}

func (d dir) Fill(keys []string) error {
	one := filepath.Join(d.root, ".one")
	if err := os.WriteFile(one, []byte("x"), 0o666); err != nil {
		return err
	}
	for _, key := range keys {
		path := filepath.Join(d.root, key)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.Link(one, path); err != nil {
			return err
		}
	}
	return nil
}

func open(t *testing.T, root string) dir {
	t.Helper()
	s, err := store.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return dir{s, root}
}

func (d dir) put(t *testing.T, key, contents string) {
	t.Helper()
	if _, err := d.Put(context.Background(), key, write(contents)); err != nil {
		t.Fatal(err)
	}
}

func write(contents string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, contents)
		return err
	}
}

func (d dir) list(t *testing.T) (keys []string) {
	t.Helper()
	for info, err := range d.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func TestDirConforms(t *testing.T) {
	storetest.Run(t, func() store.Store { return open(t, t.TempDir()) })
}

func TestDirIsMadeButNotItsParent(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "new"))
	if _, err := d.Put(context.Background(), "a/k", write("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one of the file system: the root is not there", err)
	}
	d.put(t, "k", "x")
	d.put(t, "a/k", "x")
	away := open(t, filepath.Join(t.TempDir(), "not mounted", "repository"))
	if _, err := away.Put(context.Background(), "k", write("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one of the file system", err)
	}
}

// A root that is gone proves nothing about what was in it.
func TestDirVanishedIsNotAbsent(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "gone"))
	_, gerr := d.Get(context.Background(), "k", 0, -1)
	_, serr := d.Stat(context.Background(), "k")
	rerr := d.Remove(context.Background(), "k")
	var lerr error
	for _, lerr = range d.List(context.Background(), "wal/", "") {
	}
	for what, err := range map[string]error{"Get": gerr, "Stat": serr, "Remove": rerr, "List": lerr} {
		if err == nil || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestDirModes(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	root := filepath.Join(t.TempDir(), "r")
	d := open(t, root)
	d.put(t, "k", "x")
	d.put(t, "a/k", "x")
	for path, want := range map[string]fs.FileMode{root: 0o750, root + "/a": 0o750, root + "/a/k": 0o640} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestDirHidesTemporaries(t *testing.T) {
	d := open(t, t.TempDir())
	d.put(t, "a/k", "x")
	for _, name := range []string{"." + "x", "a/" + durable.TemporaryPrefix + "ABC.tmp", "a/.nfs0001", ".lost/k"} {
		if err := d.Fill([]string{name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(d.root, "a/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.list(t); !slices.Equal(got, []string{"a/k"}) {
		t.Errorf("listed %q", got)
	}
	if body, err := d.Get(context.Background(), "a/fifo", 0, -1); err == nil {
		body.Close()
		t.Error("a named pipe was opened")
	}
}

// An administrator may keep a part of a repository on another disk.
func TestDirFollowsLinks(t *testing.T) {
	base := t.TempDir()
	elsewhere := filepath.Join(base, "elsewhere")
	if err := os.MkdirAll(filepath.Join(base, "r"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(elsewhere, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(base, "r/wal")); err != nil {
		t.Fatal(err)
	}
	d := open(t, filepath.Join(base, "r"))
	d.put(t, "wal/x/k", "contents")
	if err := os.Symlink("k", filepath.Join(elsewhere, "x/link")); err != nil {
		t.Fatal(err)
	}
	var sizes int64
	var keys []string
	for info, err := range d.List(context.Background(), "wal/", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys, sizes = append(keys, info.Key), sizes+info.Size
	}
	if !slices.Equal(keys, []string{"wal/x/k", "wal/x/link"}) || sizes != 16 {
		t.Errorf("listed %q, %d bytes", keys, sizes)
	}
}

// A link that leads nowhere proves nothing about what is behind it.
func TestDirDanglingLinkIsNotAbsent(t *testing.T) {
	for _, link := range []string{"wal", "wal/x", "wal/x/k"} {
		d := open(t, t.TempDir())
		d.put(t, "pgpipes", "identity")
		if err := os.MkdirAll(filepath.Join(d.root, filepath.Dir(link)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/not/mounted", filepath.Join(d.root, link)); err != nil {
			t.Fatal(err)
		}
		_, gerr := d.Get(context.Background(), "wal/x/k", 0, -1)
		_, serr := d.Stat(context.Background(), "wal/x/k")
		faults := map[string]error{"Get": gerr, "Stat": serr}
		for _, prefix := range []string{"", "wal", "wal/", "wal/x/", "wal/x/k"} {
			var lerr error
			for _, lerr = range d.List(context.Background(), prefix, "") {
			}
			faults["List "+prefix] = lerr
		}
		for what, err := range faults {
			if err == nil || errors.Is(err, store.ErrNotExist) {
				t.Errorf("link %s: %s: %v", link, what, err)
			}
		}
	}
}

func TestDirRemovesEmptyDirectories(t *testing.T) {
	d := open(t, t.TempDir())
	d.put(t, "a/b/c/k", "x")
	d.put(t, "a/k", "x")
	if err := d.Remove(context.Background(), "a/b/c/k"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.root, "a/b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a/b is still there: %v", err)
	}
	if err := d.Remove(context.Background(), "a/k"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.root); err != nil {
		t.Errorf("the root went, too: %v", err)
	}
}

// A directory in the place of an object, or an object in that of a directory,
// is an error and never an answer.
func TestDirInTheWay(t *testing.T) {
	d := open(t, t.TempDir())
	d.put(t, "a/k", "x")
	if _, err := d.Put(context.Background(), "a", write("y")); err == nil {
		t.Error("an object put in the place of a directory")
	}
	if _, err := d.Put(context.Background(), "a/k/z", write("y")); err == nil {
		t.Error("an object put below an object")
	}
	if got := d.list(t); !slices.Equal(got, []string{"a/k"}) {
		t.Errorf("listed %q", got)
	}
}

func TestDirUnreadable(t *testing.T) {
	if os.Geteuid() == 0 { // whom no permission holds back: once more without that power
		powerless(t)
		return
	}
	d := open(t, t.TempDir())
	d.put(t, "a/k", "x")
	path := filepath.Join(d.root, "a")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, 0o700) })
	_, gerr := d.Get(context.Background(), "a/k", 0, -1)
	_, serr := d.Stat(context.Background(), "a/k")
	_, perr := d.Put(context.Background(), "a/new", write("x"))
	var lerr error
	for _, lerr = range d.List(context.Background(), "a/", "") {
	}
	for what, err := range map[string]error{"Get": gerr, "Stat": serr, "Put": perr, "List": lerr} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// powerless runs a test again as an ordinary user.
func powerless(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "test")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for at := filepath.Dir(binary); len(at) > len(os.TempDir()); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDirLockFile(t *testing.T) {
	d, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	locks := d.(interface{ LockFile(string) (string, error) })
	path, err := locks.LockFile("backup")
	if err != nil || !strings.HasSuffix(path, "/lock/backup") {
		t.Errorf("%q, %v", path, err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../x", ".x", "a\n"} {
		if path, err := locks.LockFile(name); !errors.Is(err, store.ErrKey) {
			t.Errorf("%q: %q, %v", name, path, err)
		}
	}
}

// A file system that hangs when it is to sync is seen by whoever watches.
func TestDirSyncIsWatched(t *testing.T) {
	d := open(t, t.TempDir())
	pipe := filepath.Join(d.root, "k")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // opening it takes until somebody writes
		t.Fatal(err)
	}
	var watch wait.Watch
	done := make(chan error, 1)
	go func() {
		done <- d.Store.(*store.Dir).Sync(wait.WithWatch(context.Background(), &watch), "k")
	}()
	eventually(t, "it is watched", func() bool {
		what, _ := watch.Longest(wait.Request)
		return what == "syncing k in "+d.root
	})
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := <-done; err == nil {
		t.Error("a pipe was synced")
	}
	if what, _ := watch.Longest(wait.Request); what != "" {
		t.Errorf("it has ended, and %s is under way", what)
	}
}
