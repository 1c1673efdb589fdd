package restore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/lock"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

func TestRestoreRefusesTargets(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, dir string)
		want  string
	}{
		{"a file in it", func(t *testing.T, dir string) { fixture.MakeFiles(t, dir, "x") }, "not empty: it holds x"},
		{"a data directory", func(t *testing.T, dir string) { fixture.MakeFiles(t, dir, "PG_VERSION", "global/pg_control") }, "a data directory"},
		{"a server in it", func(t *testing.T, dir string) { fixture.MakeFiles(t, dir, "PG_VERSION", "postmaster.pid") }, "a server runs"},
		{"lost+found", func(t *testing.T, dir string) { os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700) }, "lost+found"},
		{"a data directory with a mark", func(t *testing.T, dir string) {
			fixture.MakeFiles(t, dir, stream.DataMark, "PG_VERSION", "global/pg_control")
		}, "a data directory"},
		{"a server in remains", func(t *testing.T, dir string) { fixture.MakeFiles(t, dir, stream.DataMark, "postmaster.pid") }, "a server runs"},
		{"a link as mark", func(t *testing.T, dir string) {
			fixture.MakeFiles(t, dir, "x")
			os.Symlink("x", filepath.Join(dir, stream.DataMark))
		}, "not empty"},
		{"a tablespace", func(t *testing.T, dir string) {
			fixture.MakeFiles(t, dir, stream.TablespaceMark, "PG_15_202209061/5/1")
		}, "a tablespace in use"},
		{"a file", func(t *testing.T, dir string) { os.WriteFile(dir, nil, 0o600) }, "not a directory"},
		{"a link to nowhere", func(t *testing.T, dir string) { os.Symlink("nowhere", dir) }, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "pg")
			c.setup(t, dir)
			before := filesIn(t, parent)
			err := restore(t, fixture.SmallBackup(t), Options{Dir: dir})
			if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
			if after := filesIn(t, parent); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("left\n%q\nof\n%q", after, before)
			}
		})
	}
	if err := restore(t, fixture.SmallBackup(t), Options{Dir: filepath.Join(t.TempDir(), "a", "b")}); !errors.Is(err, ErrTarget) {
		t.Errorf("no parent: error %v", err)
	}
	if err := restore(t, fixture.SmallBackup(t), Options{}); !errors.Is(err, ErrTarget) {
		t.Errorf("no directory: error %v", err)
	}
}

func TestRestoreThroughLinkToDirectory(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	mustRestore(t, fixture.SmallBackup(t), Options{Dir: link})
	if _, err := os.Stat(filepath.Join(dir, pgdata.ControlFile)); err != nil {
		t.Error(err)
	}
}

// What a killed restore has left is removed, but nothing that links in it lead
// to.
func TestRestoreOverRemains(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	fixture.MakeFiles(t, outside, "x")
	fixture.MakeFiles(t, dir, stream.DataMark, "base/1/1259", "PG_VERSION")
	for link, to := range map[string]string{"link": outside, "base/link": filepath.Join(outside, "x")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	mustRestore(t, fixture.SmallBackup(t), Options{Dir: dir})
	if _, err := os.Stat(filepath.Join(outside, "x")); err != nil {
		t.Error(err)
	}
	clean := filepath.Join(t.TempDir(), "pg")
	mustRestore(t, fixture.SmallBackup(t), Options{Dir: clean})
	if got, want := filesIn(t, dir), filesIn(t, clean); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("left\n%q\nwant\n%q", got, want)
	}
}

func TestRestoreWhileAnotherIsUnderWay(t *testing.T) {
	dir := t.TempDir()
	fixture.MakeFiles(t, dir, stream.DataMark, "PG_VERSION")
	mark, err := os.Open(filepath.Join(dir, stream.DataMark))
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Close()
	if err := unix.Flock(int(mark.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	before := filesIn(t, dir)
	if err := restore(t, fixture.SmallBackup(t), Options{Dir: dir}); !errors.Is(err, lock.ErrBusy) {
		t.Errorf("error %v", err)
	}
	if after := filesIn(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("left %q of %q", after, before)
	}
}

// The other restore ends, or begins, after the directory was looked at.
func TestClaimAfterAnotherRestore(t *testing.T) {
	for name, during := range map[string]func(dir string) error{
		"ended": func(dir string) error {
			if err := os.MkdirAll(filepath.Join(dir, "global"), 0o700); err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, stream.DataMark), filepath.Join(dir, pgdata.ControlFile))
		},
		"failed and another has ended": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, stream.DataMark)), os.WriteFile(filepath.Join(dir, "PG_VERSION"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fixture.MakeFiles(t, dir, stream.DataMark)
			targets, err := newTargets(dir, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer targets.close()
			if err := during(dir); err != nil {
				t.Fatal(err)
			}
			before := filesIn(t, dir)
			if err := targets.claim(func(string, ...any) {}); err == nil {
				t.Error("claimed a directory that is in use")
			}
			if err := targets.unclaim(func(string, ...any) {}); err != nil {
				t.Error(err)
			}
			if after := filesIn(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("left %q of %q", after, before)
			}
		})
	}
}

func TestRestoreTablespaces(t *testing.T) {
	tar := fixture.SpaceBackup(t, "/old/one", "/old/two")
	for name, m := range map[string][]byte{"with a manifest": manifestOf(t, fixture.SpaceBackup(t, "/old/one", "/old/two")), "without": nil} {
		t.Run(name, func(t *testing.T) {
			first, second, dir := filepath.Join(t.TempDir(), "a b\\c"), t.TempDir(), t.TempDir()
			o := Options{Dir: dir, Tablespaces: map[uint32]string{16384: first, 16385: second}}
			if m != nil {
				o.Manifest = bytes.NewReader(m)
			}
			mustRestore(t, tar, o)
			for oid, want := range o.Tablespaces {
				if got, err := os.Readlink(filepath.Join(dir, linkName(oid))); err != nil || got != want {
					t.Errorf("link of %d: %q %v, want %q", oid, got, err, want)
				}
				if got := filesIn(t, want); len(got) != 4 {
					t.Errorf("%s holds %q", want, got)
				}
			}
			checkSpaceMap(t, dir, o.Tablespaces)
		})
	}
}

// checkSpaceMap checks tablespace_map and that backup_manifest agrees with it.
func checkSpaceMap(t *testing.T, dir string, want map[uint32]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, pgdata.TablespaceMapFile))
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgdata.ParseTablespaceMap(text)
	if err != nil || len(list) != len(want) {
		t.Fatalf("map %q: %v", text, err)
	}
	for _, s := range list {
		if want[s.OID] != s.Path {
			t.Errorf("map has %q for %d, want %q", s.Path, s.OID, want[s.OID])
		}
	}
	f, err := os.Open(filepath.Join(dir, pgdata.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(-1)
	got, err := manifest.ReadServerManifest(f, func(f manifest.ServerFile) error {
		if f.Path == pgdata.TablespaceMapFile {
			size = f.Size
		}
		return nil
	})
	if err != nil || size != int64(len(text)) || len(got.WALRanges) != 1 {
		t.Errorf("backup_manifest: %d bytes of map, want %d; %v %v", size, len(text), got, err)
	}
}

// With a manifest and no places given, tablespaces go back to where they were.
func TestRestoreTablespacesBack(t *testing.T) {
	first, second, dir := t.TempDir(), t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, first, second)
	mustRestore(t, tar, Options{Dir: dir, Manifest: bytes.NewReader(manifestOf(t, tar))})
	if got := filesIn(t, second); len(got) != 4 {
		t.Errorf("%s holds %q", second, got)
	}
	checkSpaceMap(t, dir, map[uint32]string{16384: first, 16385: second})
}

func TestRestorePlaces(t *testing.T) {
	full := t.TempDir()
	fixture.MakeFiles(t, full, "x")
	one, two := t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, one, two)
	for _, c := range []struct {
		name   string
		given  map[uint32]string
		noPlan bool
		want   string
	}{
		{"one of two", map[uint32]string{16384: one}, false, "without a place to go: 16385"},
		{"an unknown one", map[uint32]string{16384: one, 16385: two, 9: "/x"}, false, "no tablespace 9"},
		{"relative", map[uint32]string{16384: "x", 16385: two}, false, "absolute"},
		{"the same twice", map[uint32]string{16384: one, 16385: one + "/."}, false, "twice"},
		{"one inside the other", map[uint32]string{16384: one, 16385: one + "/x"}, false, "inside"},
		{"not empty", map[uint32]string{16384: one, 16385: full}, false, "not empty"},
		{"without a manifest", nil, true, "without a place to go: 16384 16385"},
		{"without a manifest, one of two", map[uint32]string{16385: one}, true, "without a place to go: 16384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Dir: dir, Tablespaces: c.given}
			if !c.noPlan {
				o.Manifest = bytes.NewReader(manifestOf(t, tar))
			}
			err := restore(t, tar, o)
			if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
			for _, d := range []string{dir, one, two} {
				mustBeEmpty(t, d)
			}
		})
	}
}

func TestRestorePlaceInsideDataDirectory(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{dir, dir + "/ts", link, link + "/ts"} {
		err := restore(t, fixture.SmallBackup(t), Options{Dir: dir, Tablespaces: map[uint32]string{16384: inside}})
		if !errors.Is(err, ErrTarget) {
			t.Errorf("%s: error %v", inside, err)
		}
	}
	mustBeEmpty(t, dir)
}

// Nothing is restored into another cluster, not even into an empty directory.
func TestRestorePlaceInsideAnotherCluster(t *testing.T) {
	other := t.TempDir()
	fixture.MakeFiles(t, other, pgdata.ControlFile)
	empty := filepath.Join(other, "base/empty")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(empty, link); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{empty, empty + "/new", link} {
		for _, o := range []Options{
			{Dir: inside},
			{Dir: t.TempDir(), Tablespaces: map[uint32]string{16384: inside}},
		} {
			err := restore(t, fixture.SmallBackup(t), o)
			if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "inside the data directory "+other) {
				t.Errorf("%s: error %v", inside, err)
			}
		}
	}
	mustBeEmpty(t, empty)
}

// Remains in a tablespace are removed only together with those of the data
// directory that they belong to.
func TestRestoreOverRemainsOfTablespaces(t *testing.T) {
	one, two, dir := t.TempDir(), t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, "/old/1", "/old/2")
	o := Options{Dir: dir, Tablespaces: map[uint32]string{16384: one, 16385: two}}
	fixture.MakeFiles(t, dir, stream.DataMark, "PG_VERSION", "pg_tblspc/x")
	fixture.MakeFiles(t, one, stream.TablespaceMark, "PG_15_202209061/5/16400")
	if err := restore(t, tar, o); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), one) {
		t.Fatalf("without a link: error %v", err)
	}
	if err := os.Symlink(one, filepath.Join(dir, linkName(16384))); err != nil {
		t.Fatal(err)
	}
	mustRestore(t, tar, o)
	if got := filesIn(t, one); len(got) != 4 {
		t.Errorf("%s holds %q", one, got)
	}
}

// Killed at the very end, after the marks of the tablespaces are gone.
func TestRestoreOverRemainsOfTheLastStep(t *testing.T) {
	one, two, dir := t.TempDir(), t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, "/old/1", "/old/2")
	o := Options{Dir: dir, Tablespaces: map[uint32]string{16384: one, 16385: two}}
	mustRestore(t, tar, o)
	whole := filesIn(t, dir)
	if err := os.Rename(filepath.Join(dir, pgdata.ControlFile), filepath.Join(dir, stream.DataMark)); err != nil {
		t.Fatal(err)
	}
	mustRestore(t, tar, o)
	if got := filesIn(t, dir); fmt.Sprint(got) != fmt.Sprint(whole) {
		t.Errorf("restored %q, want %q", got, whole)
	}
	if err := restore(t, tar, o); !errors.Is(err, ErrTarget) {
		t.Errorf("over a whole restore: error %v", err)
	}
}

func TestRestoreFailsWithTablespaces(t *testing.T) {
	one, two, dir := filepath.Join(t.TempDir(), "new"), t.TempDir(), t.TempDir()
	tar := fixture.SpaceBackup(t, "/old/1", "/old/2")
	o := Options{Dir: dir, Tablespaces: map[uint32]string{16384: one, 16385: two}}
	if err := restore(t, tar[:len(tar)-1], o); !errors.Is(err, stream.ErrBad) {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
	mustBeEmpty(t, two)
	if _, err := os.Lstat(one); err == nil {
		t.Errorf("%s is left", one)
	}
}

// Of a place in which nothing can be made the error says which one it is.
func TestClaimNamesThePlace(t *testing.T) {
	dir := t.TempDir()
	targets, err := newTargets(dir, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.close()
	targets.data.mark = strings.Repeat("x", 300)
	if err := targets.claim(func(string, ...any) {}); !errors.Is(err, unix.ENAMETOOLONG) || !strings.HasPrefix(err.Error(), dir+": ") {
		t.Errorf("error %v, want one about %s", err, dir)
	}
}
