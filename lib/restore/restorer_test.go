package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/inspect"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

// filesIn is everything below a directory with modes, links not followed.
func filesIn(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		list = append(list, fmt.Sprintf("%s %s", info.Mode(), rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// mustBeEmpty fails unless there is nothing in the directory, not even a mark.
func mustBeEmpty(t testing.TB, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 0 {
		t.Fatalf("%s holds %v (%v), want nothing", dir, list, err)
	}
}

func restore(t testing.TB, in []byte, o Options) error {
	t.Helper()
	return Run(t.Context(), bytes.NewReader(in), o)
}

func mustRestore(t testing.TB, in []byte, o Options) {
	t.Helper()
	if err := restore(t, in, o); err != nil {
		t.Fatal(err)
	}
}

// manifestOf makes the manifest of a stream.
func manifestOf(t testing.TB, tar []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := inspect.CreateManifest(t.Context(), bytes.NewReader(tar), &b, inspect.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRestore(t *testing.T) {
	tar := fixture.SmallBackup(t)
	want := []string{
		"drwxr-x--- .", "-rwx------ PG_VERSION", "-rwx------ backup_label", "-rwx------ backup_manifest", "drwxr-x--- base",
		"drwx------ base/1", "-rwx------ base/1/1259", "-rwx------ base/1/empty", "drwxr-x--- global", "-rw-r----- global/1262",
		"-rwx------ global/pg_control", "drwx------ pg_tblspc", "drwx------ pg_wal", "drwx------ pg_wal/archive_status",
	}
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for name, m := range map[string]io.Reader{"with a manifest": bytes.NewReader(manifestOf(t, tar)), "without": nil, "from a pipe": bytes.NewBuffer(manifestOf(t, tar))} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pg")
			var total, done int64
			mustRestore(t, tar, Options{Dir: dir, Manifest: m, Progress: func(d, of int64) { done, total = d, of }})
			if got := filesIn(t, dir); !slices.Equal(got, want) {
				t.Errorf("restored\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			info, err := os.Stat(filepath.Join(dir, "base/1/1259"))
			if err != nil || !info.ModTime().Equal(fixture.BackupTime) || info.Size() != 3000 {
				t.Errorf("base/1/1259: %v %v", info, err)
			}
			if _, raw, err := pgdata.ReadControl(dir); err != nil || !bytes.Equal(raw, fixture.SmallControl()) {
				t.Errorf("pg_control: %v", err)
			}
			if done == 0 || m != nil && total != done {
				t.Errorf("progress ended with %d of %d", done, total)
			}
		})
	}
}

func TestRestoreOfCutStreamLeavesNothing(t *testing.T) {
	tar := fixture.SmallBackup(t)
	dir := t.TempDir()
	absent := filepath.Join(t.TempDir(), "absent")
	for i, n := range fixture.Cuts(len(tar)) {
		o := Options{Dir: dir}
		if i%10 == 0 {
			o.Dir = absent
		}
		if err := restore(t, tar[:n], o); !errors.Is(err, stream.ErrBad) && !errors.Is(err, manifest.ErrDamaged) {
			t.Fatalf("cut at %d: error %v", n, err)
		}
		mustBeEmpty(t, dir)
		if _, err := os.Lstat(absent); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("cut at %d: %s: %v", n, absent, err)
		}
	}
}

// At every moment before the end of the stream there is a mark and no
// pg_control, so that a killed restore is known and cannot be started.
func TestRestoreUnderWayCannotBeStarted(t *testing.T) {
	tar := fixture.SmallBackup(t)
	dir := t.TempDir()
	looked := 0
	err := Run(t.Context(), readerFunc(func(p []byte) (int, error) {
		looked++
		if _, err := os.Lstat(filepath.Join(dir, pgdata.ControlFile)); err == nil {
			t.Error("pg_control is there too early")
		}
		if _, err := os.Lstat(filepath.Join(dir, stream.DataMark)); err != nil {
			t.Errorf("no mark: %v", err)
		}
		n := copy(p, tar[:min(len(tar), 500)])
		if tar = tar[n:]; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}), Options{Dir: dir})
	if err != nil || looked < 10 {
		t.Errorf("looked %d times, error %v", looked, err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRestoreRefusesStreams(t *testing.T) {
	incremental := strings.Replace(fixture.SmallLabel, "START TIMELINE: 1\n", "START TIMELINE: 1\nINCREMENTAL FROM LSN: 0/1000028\n", 1)
	badControl := fixture.SmallControl()
	badControl[40] ^= 1
	for _, c := range []struct {
		name string
		list []fixture.Member
		kind error
		want string
	}{
		{"a file twice", fixture.WithEnd(append(fixture.SmallCluster(), fixture.Member{Name: "PG_VERSION", Data: "15\n"}), ""), stream.ErrBad, "twice"},
		{"a directory twice", fixture.WithEnd(append(fixture.SmallCluster(), fixture.Member{Name: "base/"}), ""), stream.ErrBad, "twice"},
		{"below a file", fixture.WithEnd(append(fixture.SmallCluster(), fixture.Member{Name: "PG_VERSION/x", Data: "x"}), ""), stream.ErrBad, "below"},
		{"before its directory", fixture.WithEnd([]fixture.Member{{Name: "base/1", Data: "x"}}, ""), stream.ErrBad, "before its directory"},
		{"no label", []fixture.Member{{Name: "global/"}, {Name: pgdata.ControlFile, Data: string(fixture.SmallControl())},
			{Name: pgdata.ManifestFile, Data: fixture.ServerManifest([]fixture.Member{{Name: pgdata.ControlFile, Data: string(fixture.SmallControl())}})}}, stream.ErrBad, "not a backup"},
		{"no pg_control", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.ManifestFile, Data: fixture.ServerManifest(fixture.SmallCluster())}), stream.ErrBad, "no global/pg_control"},
		{"empty label", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.LabelFile}, fixture.Member{Name: pgdata.ControlFile, Data: string(fixture.SmallControl())},
			fixture.Member{Name: pgdata.ManifestFile, Data: fixture.ServerManifest(fixture.SmallCluster())}), pgdata.ErrLabel, "empty"},
		{"incremental", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.LabelFile, Data: incremental}, fixture.Member{Name: pgdata.ControlFile, Data: string(fixture.SmallControl())},
			fixture.Member{Name: pgdata.ManifestFile, Data: fixture.ServerManifest(fixture.SmallCluster())}), stream.ErrBad, "incremental"},
		{"bad pg_control", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.LabelFile, Data: fixture.SmallLabel}, fixture.Member{Name: pgdata.ControlFile, Data: string(badControl)},
			fixture.Member{Name: pgdata.ManifestFile, Data: fixture.ServerManifest(fixture.SmallCluster())}), pgdata.ErrControl, "checksum"},
		{"long pg_control", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.ControlFile, Data: strings.Repeat("x", 9000)}), stream.ErrBad, "too many"},
		{"damaged backup_manifest", append(fixture.SmallCluster(), fixture.Member{Name: pgdata.ManifestFile, Data: strings.Replace(fixture.ServerManifest(fixture.SmallCluster()), "base", "bose", 1)}), manifest.ErrDamaged, "Checksum"},
		{"missing file", func() []fixture.Member {
			list := fixture.WithEnd(fixture.SmallCluster(), "")
			return slices.DeleteFunc(list, func(m fixture.Member) bool { return m.Name == "global/1262" })
		}(), stream.ErrDiffers, "global/1262: missing"},
		{"file too many", func() []fixture.Member {
			list := fixture.WithEnd(fixture.SmallCluster(), "")
			return slices.Insert(list, 5, fixture.Member{Name: "base/1/more", Data: "x"})
		}(), stream.ErrDiffers, "base/1/more: not in the manifest"},
		{"changed file", func() []fixture.Member {
			list := fixture.WithEnd(fixture.SmallCluster(), "")
			list[5].Data = strings.Repeat("y", 3000)
			return list
		}(), stream.ErrDiffers, "base/1/1259: sha256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			err := restore(t, fixture.Tar(t, c.list), Options{Dir: dir})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %v about %q", err, c.kind, c.want)
			}
			mustBeEmpty(t, dir)
		})
	}
}

// WAL and files that change after a backup are not in backup_manifest.
func TestRestoreOfUnlistedFiles(t *testing.T) {
	list := fixture.WithEnd(fixture.SmallCluster(), "")
	list = slices.Insert(list, 11, fixture.Member{Name: "pg_wal/000000010000000000000002", Data: "wal"}, fixture.Member{Name: "postgresql.auto.conf", Data: "#"})
	list = append(list, fixture.Member{Name: "standby.signal"})
	dir := t.TempDir()
	mustRestore(t, fixture.Tar(t, list), Options{Dir: dir})
	for _, name := range []string{"pg_wal/000000010000000000000002", "standby.signal"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestRestoreChecksOtherHashes(t *testing.T) {
	crc := func(right bool) []byte {
		list := fixture.WithEnd(fixture.SmallCluster(), "")
		list[5].Data = "other" + strings.Repeat("x", 2995)
		sum := "00000000"
		if right {
			h, _ := manifest.NewServerHash("CRC32C")
			io.WriteString(h, list[5].Data)
			sum = fmt.Sprintf("%x", h.Sum(nil))
		}
		last := &list[len(list)-1].Data
		*last = fixture.ReplaceChecksum(*last, "base/1/1259", "CRC32C", sum)
		return fixture.Tar(t, list)
	}
	mustRestore(t, crc(true), Options{Dir: t.TempDir()})
	dir := t.TempDir()
	if err := restore(t, crc(false), Options{Dir: dir}); !errors.Is(err, stream.ErrDiffers) || !strings.Contains(err.Error(), "base/1/1259: CRC32C") {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
}

func TestRestoreWithWrongManifest(t *testing.T) {
	other := fixture.SmallCluster()
	other[5].Data = strings.Repeat("z", 3000)
	wrong := manifestOf(t, fixture.Tar(t, fixture.WithEnd(other, "")))
	dir := t.TempDir()
	if err := restore(t, fixture.SmallBackup(t), Options{Dir: dir, Manifest: bytes.NewReader(wrong)}); !errors.Is(err, stream.ErrDiffers) {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
	damaged := bytes.Replace(wrong, []byte("1259"), []byte("1258"), 1)
	if err := restore(t, fixture.SmallBackup(t), Options{Dir: dir, Manifest: bytes.NewReader(damaged)}); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
}

func TestRestoreCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	err := Run(ctx, bytes.NewReader(fixture.SmallBackup(t)), Options{Dir: dir, Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
}

func TestRestoreTellsOfRoom(t *testing.T) {
	tar := fixture.SmallBackup(t)
	dir := t.TempDir()
	var need, free int64
	o := Options{Dir: dir, Manifest: bytes.NewReader(manifestOf(t, tar)), Room: func(_ string, n, f int64) { need, free = n, f }}
	mustRestore(t, tar, o)
	if need < 12*allocation || need > 16*allocation || free <= 0 {
		t.Errorf("needs %d, free %d", need, free)
	}
}

func TestRestoreWithoutRoom(t *testing.T) {
	targets, err := newTargets(t.TempDir(), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.close()
	err = targets.checkRoom(&plan{room: map[uint32]int64{0: 1 << 62}}, func(string, int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("error %v", err)
	}
}
