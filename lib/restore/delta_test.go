package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/filter"
	"pgpipes/lib/lock"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

// delta makes options for a delta restore of parts, which are noted in a file
// "asked" when they are asked for.
func (s partStore) delta(dir string) Options {
	o := s.options(dir)
	o.Delta, o.Source = true, s.command(`echo "$PART" >>asked; cat "$KEY"`)
	return o
}

// asked are the parts that have been asked for since the last call.
func (s partStore) asked() string {
	name := filepath.Join(s.dir, "asked")
	b, _ := os.ReadFile(name)
	os.Remove(name)
	return strings.Join(strings.Fields(string(b)), " ")
}

// must does what has to succeed.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// used restores a backup and starts it, in a way: the end members have gone.
func used(t testing.TB, s partStore) (dir string, whole []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pg")
	mustRestore(t, nil, s.options(dir))
	whole = filesIn(t, dir)
	must(t, os.Rename(filepath.Join(dir, pgdata.LabelFile), filepath.Join(dir, "backup_label.old")))
	return dir, whole
}

func TestDeltaTakesOnlyWhatDiffers(t *testing.T) {
	s := store(t, 4, fixture.WithEnd(fixture.SmallCluster(), "")) // PG_VERSION, 1259, empty, 1262
	for name, c := range map[string]struct {
		change func(dir string) error
		asked  string
	}{
		"nothing": {func(string) error { return nil }, "003"},
		"contents": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "base/1/1259"), bytes.Repeat([]byte("y"), 3000), 0o600)
		}, "001 003"},
		"size":                {func(dir string) error { return os.Truncate(filepath.Join(dir, "base/1/1259"), 2999) }, "001 003"},
		"missing":             {func(dir string) error { return os.Remove(filepath.Join(dir, "base/1/empty")) }, "002 003"},
		"a directory missing": {func(dir string) error { return os.RemoveAll(filepath.Join(dir, "base")) }, "001 002 003"},
		"mode":                {func(dir string) error { return os.Chmod(filepath.Join(dir, "PG_VERSION"), 0o644) }, "003"},
		"a directory instead": {func(dir string) error {
			name := filepath.Join(dir, "base/1/empty")
			return errors.Join(os.Remove(name), os.MkdirAll(filepath.Join(name, "x"), 0o700))
		}, "002 003"},
		"a link instead": {func(dir string) error {
			name := filepath.Join(dir, "base/1/1259")
			return errors.Join(os.Rename(name, name+".away"), os.Symlink("1259.away", name))
		}, "001 003"},
		"a link instead of a directory": {func(dir string) error {
			name := filepath.Join(dir, "pg_wal")
			return errors.Join(os.RemoveAll(name), os.Symlink(t.TempDir(), name))
		}, "003"},
		"too much": {func(dir string) error {
			fixture.MakeFiles(t, dir, stream.DataMark, "pg_wal/000000010000000000000009", "log/postgresql.log", "base/2/1", "recovery.signal", "base/1/16400\xff\n")
			return nil
		}, "003"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, whole := used(t, s)
			must(t, c.change(dir))
			s.asked()
			o := s.delta(dir)
			o.Jobs = 1
			mustRestore(t, nil, o)
			mustMatch(t, dir, whole)
			if got := s.asked(); got != "003 "+c.asked { // the end comes first, to see whether there is anything
				t.Errorf("asked for %s, want %s", got, c.asked)
			}
			info, err := os.Stat(filepath.Join(dir, "base/1/1259"))
			if err != nil || !info.ModTime().Equal(fixture.BackupTime) {
				t.Errorf("base/1/1259: %v %v", info, err)
			}
		})
	}
}

// One stream does as well: all of it is read, and only what differs is written.
func TestDeltaFromOneStream(t *testing.T) {
	s := store(t, 1, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, whole := used(t, s)
	fixture.MakeFiles(t, dir, "base/1/1259", "base/1/more")
	before, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
	must(t, err)
	mustRestore(t, fixture.SmallBackup(t), Options{Dir: dir, Delta: true, Manifest: bytes.NewReader(s.manifest)})
	mustMatch(t, dir, whole)
	after, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("PG_VERSION was written anew: %v", err)
	}
}

func TestDeltaOfNothingIsPlain(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	want := restored(t, fixture.WithEnd(fixture.SmallCluster(), ""), Options{})
	empty, remains := t.TempDir(), t.TempDir()
	must(t, os.Chmod(empty, 0o750))
	fixture.MakeFiles(t, remains, stream.DataMark, "base/1/1259", "x")
	for _, dir := range []string{filepath.Join(t.TempDir(), "absent"), empty, remains} {
		mustRestore(t, nil, s.delta(dir))
		mustMatch(t, dir, want)
	}
}

func TestDeltaRefuses(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	for name, c := range map[string]struct {
		change func(dir string) error
		says   string
	}{
		"a server": {func(dir string) error { fixture.MakeFiles(t, dir, postmasterFile); return nil }, "a server runs"},
		"no data directory": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, pgdata.ControlFile)), os.Remove(filepath.Join(dir, "PG_VERSION")))
		}, "not a data directory"},
		"no PG_VERSION": {func(dir string) error { return os.Remove(filepath.Join(dir, "PG_VERSION")) }, "not a data directory"},
		"no pg_control": {func(dir string) error { return os.Remove(filepath.Join(dir, pgdata.ControlFile)) }, "not a data directory"},
		"a bad pg_control": {func(dir string) error {
			fixture.MakeFiles(t, dir, pgdata.ControlFile)
			return nil
		}, "nobody knows of which cluster"},
		"another cluster": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, pgdata.ControlFile), fixture.Control(7, 16<<20), 0o600)
		}, "of another cluster"},
		"other files": {func(dir string) error {
			must(t, os.RemoveAll(dir))
			fixture.MakeFiles(t, dir, "x")
			return nil
		}, "not a data directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := used(t, s)
			must(t, c.change(dir))
			before := filesIn(t, dir)
			s.asked()
			if err := restore(t, nil, s.delta(dir)); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one about %q", err, c.says)
			}
			mustMatch(t, dir, before)
			if got := s.asked(); got != "" {
				t.Errorf("asked for %s", got)
			}
		})
	}
}

// A delta restore that fails before it has changed anything changes nothing.
func TestDeltaGivesBack(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, _ := used(t, s)
	fixture.MakeFiles(t, dir, "base/1/1259")
	before := filesIn(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	o := s.delta(dir)
	o.Source = s.command("exit 3")
	if err := Run(ctx, nil, o); !errors.Is(err, filter.ErrFailed) {
		t.Errorf("error %v", err)
	}
	mustMatch(t, dir, before)
	o = s.delta(dir)
	o.Source, o.Manifest = filter.Command{}, bytes.NewReader(store(t, 1, fixture.WithEnd(fixture.SmallCluster(), "")).manifest)
	if err := restore(t, nil, o); !errors.Is(err, stream.ErrBad) {
		t.Errorf("error %v", err)
	}
	mustMatch(t, dir, before)
	o = s.delta(dir)
	o.Notice = func(format string, _ ...any) { cancel() }
	if err := Run(ctx, nil, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	mustMatch(t, dir, before)
}

// One that fails later leaves what no server can start and no plain restore
// empties; the same command goes on.
func TestDeltaGoesOn(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, whole := used(t, s)
	fixture.MakeFiles(t, dir, "base/1/1259", "base/1/more")
	o := s.delta(dir)
	o.Source = s.command(`test -e begun && exit 1; touch begun; cat "$KEY"`)
	var warned string
	o.Warn = func(format string, args ...any) { warned = fmt.Sprintf(format, args...) }
	if err := restore(t, nil, o); err == nil || !strings.Contains(warned, "no server can start") {
		t.Errorf("error %v, warned %q", err, warned)
	}
	before := filesIn(t, dir)
	if text := strings.Join(before, "\n"); strings.Contains(text, pgdata.ControlFile) || !strings.Contains(text, stream.DeltaMark) {
		t.Errorf("left\n%s", text)
	}
	for _, o := range []Options{s.options(dir), {Dir: dir}} {
		if err := restore(t, fixture.SmallBackup(t), o); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "killed delta") {
			t.Errorf("without --delta: error %v", err)
		}
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "control"), fixture.Control(7, 16<<20), 0o600))
	mustMatch(t, dir, before)
	mustRestore(t, nil, s.delta(dir))
	mustMatch(t, dir, whole)
}

// While it is under way there is no pg_control, and nobody else comes in.
func TestDeltaUnderWay(t *testing.T) {
	s := store(t, 1, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, whole := used(t, s)
	fixture.MakeFiles(t, dir, "base/1/1259")
	tar := fixture.SmallBackup(t)
	looked := 0
	err := Run(t.Context(), readerFunc(func(p []byte) (int, error) {
		if looked++; looked == 1 {
			for _, o := range []Options{s.delta(dir), {Dir: dir}} {
				if err := restore(t, nil, o); !errors.Is(err, lock.ErrBusy) && !errors.Is(err, ErrTarget) {
					t.Errorf("another restore: %v", err)
				}
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, pgdata.ControlFile)); err == nil {
			t.Error("pg_control is there too early")
		}
		n := copy(p, tar)
		if tar = tar[n:]; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}), Options{Dir: dir, Delta: true, Manifest: bytes.NewReader(s.manifest)})
	if err != nil || looked == 0 {
		t.Errorf("looked %d times, error %v", looked, err)
	}
	mustMatch(t, dir, whole)
}

func TestDeltaIsBusy(t *testing.T) {
	s := store(t, 1, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, _ := used(t, s)
	control, err := os.Open(filepath.Join(dir, pgdata.ControlFile))
	must(t, err)
	defer control.Close()
	must(t, unix.Flock(int(control.Fd()), unix.LOCK_EX))
	before := filesIn(t, dir)
	if err := restore(t, nil, s.delta(dir)); !errors.Is(err, lock.ErrBusy) {
		t.Errorf("error %v", err)
	}
	mustMatch(t, dir, before)
}

// A file with another name elsewhere, as in a copy made by cp -al, is replaced
// and not written to.
func TestDeltaLeavesOtherNamesAlone(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	dir, whole := used(t, s)
	kept, away := filepath.Join(t.TempDir(), "kept"), t.TempDir()
	fixture.MakeFiles(t, dir, "base/1/1259")
	fixture.MakeFiles(t, away, "precious")
	must(t, os.Link(filepath.Join(dir, "base/1/1259"), kept), os.Symlink(away, filepath.Join(dir, "base/3")))
	mustRestore(t, nil, s.delta(dir))
	mustMatch(t, dir, whole)
	if text, _ := os.ReadFile(kept); string(text) != "precious" {
		t.Errorf("the other name has %q", text)
	}
	if _, err := os.Stat(filepath.Join(away, "precious")); err != nil {
		t.Error(err)
	}
}

func TestMountPoints(t *testing.T) {
	root := &target{path: "/"}
	must(t, root.openRoot())
	defer root.close()
	for name, want := range map[string]bool{"proc": true, "proc/self": false, "etc": false} {
		info, err := root.root.Lstat(name)
		must(t, err)
		if got, err := root.isMountPoint(name, info); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", name, got, err, want)
		}
	}
	info, err := root.root.Lstat("proc")
	must(t, err)
	s := &stock{freed: map[uint32]int64{}}
	if err := s.stray(root, "proc", info); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "mount point") {
		t.Errorf("error %v", err)
	}
}

func spaceStore(t testing.TB, first, second string) partStore {
	t.Helper()
	list := fixture.WithTablespaces(fixture.SmallCluster(), "16384", "16385")
	return store(t, 2, fixture.WithEnd(list, fmt.Sprintf("16384 %s\n16385 %s\n", first, second)),
		manifest.Tablespace{OID: 16384, Path: first}, manifest.Tablespace{OID: 16385, Path: second})
}

// Tablespaces stay where the data directory has them. What others have beside
// them is left alone.
func TestDeltaOfTablespaces(t *testing.T) {
	s := spaceStore(t, "/old/1", "/old/2")
	one, two, dir := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "pg")
	o := s.options(dir)
	o.Tablespaces = map[uint32]string{16384: one, 16385: two}
	mustRestore(t, nil, o)
	whole := filesIn(t, one)
	fixture.MakeFiles(t, one, "PG_15_202209061/5/16400", "PG_15_202209061/5/16401", "PG_15_202209061/6/1")
	fixture.MakeFiles(t, two, "PG_14_202107181/5/16400", "notes")
	must(t, os.RemoveAll(filepath.Join(two, "PG_15_202209061")))
	mustRestore(t, nil, s.delta(dir))
	mustMatch(t, one, whole)
	for name, want := range map[string]string{"PG_14_202107181/5/16400": "precious", "notes": "precious", "PG_15_202209061/5/16400": "in a tablespace"} {
		if text, err := os.ReadFile(filepath.Join(two, name)); string(text) != want {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
	checkSpaceMap(t, dir, o.Tablespaces)
}

// A tablespace that the data directory does not link to must be empty, even if
// it is where the backup had it: it may be that of a running server.
func TestDeltaLeavesOtherTablespacesAlone(t *testing.T) {
	live, own, dir := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "pg")
	s := spaceStore(t, live, "/old/2")
	o := s.options(dir)
	o.Tablespaces = map[uint32]string{16384: own, 16385: filepath.Join(own, "..", "two")}
	mustRestore(t, nil, o)
	fixture.MakeFiles(t, live, "PG_15_202209061/5/16400")
	before := filesIn(t, dir)
	d := s.delta(dir)
	d.Tablespaces = map[uint32]string{16384: live}
	if err := restore(t, nil, d); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("error %v", err)
	}
	mustMatch(t, dir, before)
	must(t, os.Remove(filepath.Join(dir, linkName(16384))), os.Remove(filepath.Join(dir, linkName(16385))))
	before = filesIn(t, dir)
	if err := restore(t, nil, s.delta(dir)); !errors.Is(err, ErrTarget) {
		t.Errorf("without links: error %v", err)
	}
	mustMatch(t, dir, before)
	if text, _ := os.ReadFile(filepath.Join(live, "PG_15_202209061/5/16400")); string(text) != "precious" {
		t.Errorf("written to: %q", text)
	}
}

// A tablespace that the backup does not have goes, but only what this cluster
// has in it; one that moves goes to its new place.
func TestDeltaOfOtherTablespaces(t *testing.T) {
	s := spaceStore(t, "/old/1", "/old/2")
	one, two, younger, dir := t.TempDir(), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "pg")
	o := s.options(dir)
	o.Tablespaces = map[uint32]string{16384: one, 16385: two}
	mustRestore(t, nil, o)
	whole := filesIn(t, one)
	fixture.MakeFiles(t, younger, "PG_15_202209061/5/16500", "PG_14_202107181/5/16500")
	must(t, os.Symlink(younger, filepath.Join(dir, linkName(16499))))
	moved := filepath.Join(t.TempDir(), "moved")
	d := s.delta(dir)
	d.Tablespaces = map[uint32]string{16384: moved}
	mustRestore(t, nil, d)
	mustMatch(t, moved, whole)
	checkSpaceMap(t, dir, map[uint32]string{16384: moved, 16385: two})
	mustMatch(t, one, whole)
	if _, err := os.Lstat(filepath.Join(younger, "PG_15_202209061")); err == nil {
		t.Error("the younger tablespace is left")
	}
	if _, err := os.Lstat(filepath.Join(younger, "PG_14_202107181/5/16500")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, linkName(16499))); err == nil {
		t.Error("its link is left")
	}
}

// Of a part of which little is wanted the rest is not waited for, and a fault in
// it does not matter; before what is wanted it does.
func TestDeltaLeavesTheRestOfAPart(t *testing.T) {
	bulk := strings.Repeat("a", 300<<10)
	list := []fixture.Member{
		{Name: "./"}, {Name: "pg_tblspc/"}, {Name: "global/"}, {Name: "base/"},
		{Name: "base/1", Data: bulk}, {Name: "PG_VERSION", Data: "15\n"},
		{Name: "base/2", Data: "wanted"}, {Name: "global/1", Data: "x"}, {Name: "base/3", Data: bulk},
	}
	s := store(t, 2, fixture.WithEnd(list, "")) // base/1, base/2 and base/3 are in 000
	for text, fails := range map[string]bool{
		`cat "$KEY"`:                           false,
		`head -c 311000 "$KEY"; exit 3`:        false,
		`head -c 311000 "$KEY"; sleep 1000`:    false,
		`head -c 311000 "$KEY"; cat /dev/zero`: false,
		`head -c 300000 "$KEY"`:                true,
	} {
		t.Run(text, func(t *testing.T) {
			dir, whole := used(t, s)
			fixture.MakeFiles(t, dir, "base/2")
			o := s.delta(dir)
			o.Source = s.command(`if [ $PART != 000 ]; then cat "$KEY"; exit; fi; ` + text)
			if err := restore(t, nil, o); (err != nil) != fails || fails && !strings.Contains(err.Error(), "cut off after base/1") {
				t.Fatal(err)
			}
			if !fails {
				mustMatch(t, dir, whole)
			}
		})
	}
}

// Large files are compared by readers of their own, however many jobs there are.
func TestDeltaOfLargeFiles(t *testing.T) {
	list := fixture.SmallCluster()
	for i := range 5 {
		list = append(list, fixture.Member{Name: fmt.Sprint("base/1/", i), Data: strings.Repeat(fmt.Sprint(i), largeFile+i)})
	}
	s := store(t, 2, fixture.WithEnd(list, ""))
	for jobs := range 4 { // 0 is the default
		dir, whole := used(t, s)
		must(t, os.Truncate(filepath.Join(dir, "base/1/1"), largeFile), os.Truncate(filepath.Join(dir, "base/1/1"), largeFile+1))
		before, err := os.Stat(filepath.Join(dir, "base/1/2"))
		must(t, err)
		o := s.delta(dir)
		o.Jobs = jobs
		mustRestore(t, nil, o)
		mustMatch(t, dir, whole)
		after, err := os.Stat(filepath.Join(dir, "base/1/2"))
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("base/1/2 was written anew: %v", err)
		}
	}
}
