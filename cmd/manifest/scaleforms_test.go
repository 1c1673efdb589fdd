package main_test

import (
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
)

var files = flag.Int("files", 1_000_000, "how many files the manifests have that are converted and compared")

// mostMemoryEver is what a program may take that reads or writes a manifest
// once, in bytes, however long that is.
const mostMemoryEver = 100 << 20

// TestScaleForms has long manifests shown, compared and converted, and one
// written whose files came in no order.
func TestScaleForms(t *testing.T) {
	s := scale{t.TempDir()}
	s.writeFiles(t, "a", 0)
	s.writeFiles(t, "b", 50)
	s.writeServer(t, "shuffled")
	for _, command := range []string{
		"manifest show a", "manifest show --json a",
		"manifest convert --to sha256sum a", "manifest convert --to mtree a", "manifest convert --to backup_manifest a",
		"manifest convert --from backup_manifest shuffled",
		"manifest diff a a", "differ manifest diff a b", "differ manifest diff --relations a b", "differ manifest diff --summary a b",
	} {
		took, memory := s.run(t, []string{"sh", "-c", "differ() { \"$@\"; [ $? = 1 ]; }; " + command + " >out"})
		t.Logf("%s: %s, %d MiB", command, took, memory>>20)
		if memory > mostMemoryEver {
			t.Errorf("%s: %d MiB", command, memory>>20)
		}
	}
}

// relationFile is the file i: of relations with four files each, in 97
// databases. Every file of which changes is a divisor has other contents.
func relationFile(i, changes int, at time.Time) manifest.Entry {
	e := manifest.Entry{
		Kind: manifest.File, Mode: 0o600, Owner: "postgres:postgres", Size: 8192, MTime: at, Part: "000",
		SHA256: fmt.Sprintf("%064x", uint64(i+1)*0x9e3779b97f4a7c15),
		Path:   fmt.Sprintf("base/%d/%d%s", 5+i/4%97, 16384+i/4, [...]string{"", ".1", "_fsm", "_vm"}[i%4]),
	}
	if changes > 0 && i%changes == 0 {
		e.SHA256 = fmt.Sprintf("%064x", i)
	}
	return e
}

var scaleTime = time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)

func (s scale) writeFiles(t *testing.T, name string, changes int) {
	t.Helper()
	w := manifest.NewWriter(t.TempDir())
	defer w.Close()
	for i := range *files {
		if err := w.Add(relationFile(i, changes, scaleTime)); err != nil {
			t.Fatal(err)
		}
	}
	h := manifest.Header{StartTimeline: 1, StartLSN: 40, StopTimeline: 1, StopLSN: wal.LSN(*files)}
	err := durable.WriteFile(filepath.Join(s.dir, name), 0o600, func(out io.Writer) error { return w.Finish(out, h) })
	if err != nil {
		t.Fatal(err)
	}
}

// writeServer writes a backup_manifest of the same files in no order.
func (s scale) writeServer(t *testing.T, name string) {
	t.Helper()
	const prime = 15_485_863 // no factor of any number of files that is tried
	err := durable.WriteFile(filepath.Join(s.dir, name), 0o600, func(out io.Writer) error {
		w := manifest.NewServerManifestWriter(out)
		for i := range *files {
			e := relationFile(i*prime%*files, 0, scaleTime)
			if err := w.Add(e.Path, e.Size, e.MTime, e.SHA256); err != nil {
				return err
			}
		}
		return w.Finish(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}
