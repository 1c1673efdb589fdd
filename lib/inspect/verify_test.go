package inspect

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/restore"
	"pgpipes/lib/stream"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

func collect(t testing.TB, differences iter.Seq2[manifest.Difference, error]) (list []string, err error) {
	t.Helper()
	for d, err := range differences {
		if err != nil {
			return list, err
		}
		list = append(list, d.String())
	}
	return list, nil
}

// manifestOf makes the manifest of a stream.
func manifestOf(t testing.TB, tar []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := CreateManifest(t.Context(), bytes.NewReader(tar), &b, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCreateManifest(t *testing.T) {
	tar := fixture.SpaceBackup(t, "/old/one", "/old/a b")
	var out, pass bytes.Buffer
	if err := CreateManifest(t.Context(), bytes.NewReader(tar), &out, CreateOptions{Pass: &pass}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pass.Bytes(), tar) {
		t.Error("the stream was changed on its way")
	}
	r, err := manifest.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header()
	if h.Label != "nightly" || h.Type != "full" || h.SystemID != fixture.SystemID || h.Major != 15 || h.SegmentSize != 16<<20 || h.From != "primary" {
		t.Errorf("header %+v", h)
	}
	if h.StartLSN != 0x2000028 || h.StartTimeline != 1 || h.StopLSN != 0x2000100 || h.StopTimeline != 1 || !h.StartTime.Equal(fixture.BackupTime) {
		t.Errorf("header %+v", h)
	}
	if want := []manifest.Tablespace{{OID: 16384, Path: "/old/one"}, {OID: 16385, Path: "/old/a b"}}; !slices.Equal(h.Tablespaces, want) {
		t.Errorf("tablespaces %v", h.Tablespaces)
	}
}

// A stream made by something that knows no backup_manifest has no known end.
func TestCreateManifestWithoutBackupManifest(t *testing.T) {
	list := fixture.WithEnd(fixture.SmallCluster(), "")
	tar := fixture.Tar(t, list[:len(list)-1])
	r, err := manifest.NewReader(bytes.NewReader(manifestOf(t, tar)))
	if err != nil || r.Header().StopLSN != wal.LSN(0) {
		t.Errorf("%+v %v", r, err)
	}
	if err := restore.Run(t.Context(), bytes.NewReader(tar), restore.Options{Dir: t.TempDir(), Manifest: bytes.NewReader(manifestOf(t, tar))}); !errors.Is(err, stream.ErrBad) {
		t.Errorf("restored: %v", err)
	}
}

func TestCreateManifestOfCutStream(t *testing.T) {
	tar := fixture.SmallBackup(t)
	for _, n := range fixture.Cuts(len(tar)) {
		var out bytes.Buffer
		if err := CreateManifest(t.Context(), bytes.NewReader(tar[:n]), &out, CreateOptions{}); err == nil || out.Len() > 0 {
			t.Fatalf("cut at %d: %d bytes of manifest, error %v", n, out.Len(), err)
		}
	}
}

func TestVerifyStream(t *testing.T) {
	want := manifestOf(t, fixture.SmallBackup(t))
	if got, err := collect(t, VerifyStream(t.Context(), bytes.NewReader(fixture.SmallBackup(t)), bytes.NewReader(want))); err != nil || got != nil {
		t.Errorf("the same: differences %q, error %v", got, err)
	}
	changed := fixture.WithEnd(fixture.SmallCluster(), "")
	changed[2].Data = "16\n"
	changed[8].Mode = 0o666
	changed = slices.Delete(changed, 6, 7)
	got, err := collect(t, VerifyStream(t.Context(), bytes.NewReader(fixture.Tar(t, changed)), bytes.NewReader(want)))
	if err != nil || len(got) != 3 || !strings.HasPrefix(got[0], "PG_VERSION: sha256") ||
		got[1] != "base/1/empty: missing" || got[2] != "global/1262: mode 0666, expected 0640" {
		t.Errorf("differences %q, error %v", got, err)
	}
	tar := fixture.SmallBackup(t)
	if _, err := collect(t, VerifyStream(t.Context(), bytes.NewReader(tar[:len(tar)-10]), bytes.NewReader(want))); !errors.Is(err, stream.ErrBad) {
		t.Errorf("cut: error %v", err)
	}
}

func TestVerifyDir(t *testing.T) {
	tar := fixture.SpaceBackup(t, "/old/one", "/old/two")
	want := manifestOf(t, tar)
	space := t.TempDir()
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   []string
	}{
		{"untouched", func(string) error { return nil }, nil},
		{"WAL and signals", func(dir string) error {
			fixture.MakeFiles(t, dir, "pg_wal/000000010000000000000002", "recovery.signal", "postgresql.auto.conf")
			return nil
		}, nil},
		{"removed", func(dir string) error { return os.Remove(filepath.Join(dir, "global/1262")) }, []string{"global/1262: missing"}},
		{"added", func(dir string) error { fixture.MakeFiles(t, dir, "base/1/x"); return nil }, []string{"base/1/x: not in the manifest"}},
		{"mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "base"), 0o700) }, []string{"base: mode 0700, expected 0750"}},
		{"in a tablespace", func(string) error { return os.Truncate(filepath.Join(space, "PG_15_202209061/5/16400"), 3) },
			[]string{"pg_tblspc/16384/PG_15_202209061/5/16400: size 3, expected 15"}},
		{"a link for a file", func(dir string) error {
			name := filepath.Join(dir, "PG_VERSION")
			return errors.Join(os.Rename(name, filepath.Join(dir, "pg_wal/x")), os.Symlink("pg_wal/x", name))
		}, []string{"PG_VERSION: link, expected file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			defer os.RemoveAll(filepath.Join(space, "PG_15_202209061"))
			o := restore.Options{Dir: dir, Tablespaces: map[uint32]string{16384: space, 16385: other}}
			if err := restore.Run(t.Context(), bytes.NewReader(tar), o); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			got, err := collect(t, VerifyDir(t.Context(), dir, bytes.NewReader(want)))
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("differences %q (%v), want %q", got, err, c.want)
			}
		})
	}
}
