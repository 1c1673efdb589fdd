package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// variants are the two ways to make a file: without a name, and with a
// temporary one where the file system cannot do that.
var variants = map[string]func(path string, perm fs.FileMode) (*File, error){
	"unnamed": Create,
	"named":   createNamed,
}

type create func(t *testing.T, path, contents string) *File

func eachVariant(t *testing.T, test func(t *testing.T, create create)) {
	for name, variant := range variants {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, path, contents string) *File {
				t.Helper()
				f, err := variant(path, 0o640)
				if err != nil {
					t.Fatal(err)
				}
				if (f.temp == "") != (name == "unnamed") {
					t.Fatalf("temporary name %q", f.temp)
				}
				if _, err := io.WriteString(f, contents); err != nil {
					t.Fatal(err)
				}
				return f
			})
		})
	}
}

// holds fails unless dir has exactly these files with these contents.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, known := want[e.Name()]; !known {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	for name, contents := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != contents {
			t.Errorf("%s: %q, %v; want %q", name, got, err, contents)
		}
	}
}

func TestPublish(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		f := create(t, filepath.Join(dir, "a"), "new")
		if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("visible before Publish: %v", err)
		}
		if err := f.Publish(); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, map[string]string{"a": "new"})
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		holds(t, dir, map[string]string{"a": "new"})
	})
}

func TestPublishNeverOverwrites(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		for name, make := range map[string]func(string) error{
			"file":     func(p string) error { return os.WriteFile(p, []byte("old"), 0o600) },
			"link":     func(p string) error { return os.Symlink(filepath.Join(dir, "nowhere"), p) },
			"fifo":     func(p string) error { return syscall.Mkfifo(p, 0o600) },
			"emptydir": func(p string) error { return os.Mkdir(p, 0o700) },
		} {
			path := filepath.Join(dir, name)
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			f := create(t, path, "new")
			if err := f.Publish(); !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s was replaced: %v", name, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		holds(t, dir, nil)
	})
}

func TestPublishAgainAfterAnError(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		f := create(t, path, "new")
		defer f.Close()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Publish(); !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := f.Publish(); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, map[string]string{"a": "new"})
	})
}

// Of many files that want one name one gets it, whole.
func TestPublishRace(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		var files []*File
		for range 16 {
			files = append(files, create(t, path, "contents"))
		}
		errs := make([]error, len(files))
		var all sync.WaitGroup
		for i, f := range files {
			all.Go(func() { errs[i] = errors.Join(f.Publish(), f.Close()) })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d got the name", won)
		}
		holds(t, dir, map[string]string{"a": "contents"})
	})
}

func TestReplace(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		for _, contents := range []string{"first", "second", ""} {
			f := create(t, path, contents)
			if err := errors.Join(f.Replace(), f.Close()); err != nil {
				t.Fatal(err)
			}
			holds(t, dir, map[string]string{"a": contents})
		}
		f := create(t, path, "unsynced")
		if err := errors.Join(f.ReplaceUnsynced(), f.Close()); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, map[string]string{"a": "unsynced"})
	})
}

// A replacement that fails leaves what was there, and nothing else.
func TestReplaceFails(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		path := filepath.Join(dir, "d")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		f := create(t, path, "new")
		if err := f.Replace(); err == nil {
			t.Error("a directory was replaced")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
		holds(t, dir, nil)
	})
}

func TestCloseWithoutNameLeavesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		if err := create(t, filepath.Join(dir, "a"), "given up").Close(); err != nil {
			t.Error(err)
		}
		holds(t, dir, nil)
	})
}

// A file that is another's meanwhile is not removed by Close.
func TestCloseAfterPublishKeepsTheFile(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		dir := t.TempDir()
		f := create(t, filepath.Join(dir, "a"), "kept")
		if err := f.Publish(); err != nil {
			t.Fatal(err)
		}
		RemoveTemporaries()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		holds(t, dir, map[string]string{"a": "kept"})
	})
}

func TestReadAt(t *testing.T) {
	eachVariant(t, func(t *testing.T, create create) {
		f := create(t, filepath.Join(t.TempDir(), "a"), "0123456789")
		defer f.Close()
		got := make([]byte, 4)
		if n, err := f.ReadAt(got, 3); n != 4 || err != nil || string(got) != "3456" {
			t.Errorf("%q, %v", got[:n], err)
		}
		if _, err := io.WriteString(f, "abc"); err != nil {
			t.Fatal(err)
		}
		if n, err := f.ReadAt(got, 10); n != 3 || err != io.EOF || string(got[:n]) != "abc" {
			t.Errorf("%q, %v", got[:n], err)
		}
	})
}

func TestModeIsLessTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	eachVariant(t, func(t *testing.T, create create) {
		path := filepath.Join(t.TempDir(), "a")
		f := create(t, path, "x")
		if err := errors.Join(f.Publish(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
}

func TestCreateInNoDirectory(t *testing.T) {
	for name, create := range variants {
		if f, err := create(filepath.Join(t.TempDir(), "no/a"), 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

func TestTemporaryNamesAreHiddenAndBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	f, err := createNamed(filepath.Join(dir, "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if filepath.Dir(f.temp) != dir || filepath.Base(f.temp)[:len(TemporaryPrefix)] != TemporaryPrefix || TemporaryPrefix[0] != '.' {
		t.Errorf("temporary name %s", f.temp)
	}
	if other := temporaryName(f.path); other == f.temp {
		t.Error("two temporary names are the same")
	}
}

func TestRemoveTemporaries(t *testing.T) {
	dir := t.TempDir()
	f, err := createNamed(filepath.Join(dir, "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, TemporaryPrefix+"another's.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	RemoveTemporaries()
	holds(t, dir, map[string]string{TemporaryPrefix + "another's.tmp": ""})
	if err := f.Publish(); err == nil {
		t.Error("published although it was removed")
	}
	_ = f.Close()
}

// Without hard links a rename that does not overwrite has to do.
func TestLinkOrMoveOfAFileThatIsTaken(t *testing.T) {
	dir := t.TempDir()
	for name, contents := range map[string]string{"temp": "new", "a": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := linkOrMove(filepath.Join(dir, "temp"), filepath.Join(dir, "a")); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	holds(t, dir, map[string]string{"temp": "new", "a": "old"})
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write := func(contents string, err error) error {
		return WriteFile(path, 0o600, func(w io.Writer) error {
			_, werr := io.WriteString(w, contents)
			return errors.Join(werr, err)
		})
	}
	if err := write("first", nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := write("half", broken); !errors.Is(err, broken) {
		t.Error(err)
	}
	holds(t, dir, map[string]string{"a": "first"})
	if err := write("second", nil); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, map[string]string{"a": "second"})
}

func TestMkdir(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := Mkdir(filepath.Join(dir, "d"), 0o750); err != nil {
			t.Error(err)
		}
	}
	if err := Mkdir(filepath.Join(dir, "no/d"), 0o750); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Mkdir(filepath.Join(dir, "file"), 0o750); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := os.Symlink("d", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := Mkdir(filepath.Join(dir, "link"), 0o750); err != nil {
		t.Error(err)
	}
}

func TestSync(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := SyncFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(SyncFile(path), SyncDir(dir)); err != nil {
		t.Error(err)
	}
	if err := SyncDir(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
