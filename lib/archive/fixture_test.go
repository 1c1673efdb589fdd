package archive

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"pgpipes/lib/codec"
	"pgpipes/lib/durable"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const mib = wal.MinSegmentSize

// ours is the cluster of all segments here that are of no other.
var ours = Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: mib}

var plain = codec.Options{Format: codec.None}

func name(t testing.TB, s string) wal.Name {
	t.Helper()
	return fixture.Name(t, s)
}

func memory(b []byte) Content { return Content{bytes.NewReader(b), int64(len(b))} }

// repository makes one of our cluster in a new directory.
func repository(t testing.TB) *Repo {
	t.Helper()
	r, err := OpenFor(context.Background(), filepath.Join(t.TempDir(), "r"), ours)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Repo) place(t testing.TB, key string, contents []byte) {
	t.Helper()
	fixture.Place(t, r.Location, key, contents)
}

// mark makes segments and other WAL files appear that are only to be listed.
func (r *Repo) mark(t testing.TB, names ...string) {
	t.Helper()
	fixture.Mark(t, r.Location, names...)
}

// branch places a timeline history.
func (r *Repo) branch(t testing.TB, tli wal.Timeline, text string) {
	t.Helper()
	fixture.Branch(t, r.Location, tli, text)
}

// push stores segments as wal-push would.
func pushed(t testing.TB, r *Repo, o codec.Options, names ...string) {
	t.Helper()
	for _, s := range names {
		if err := push(t, r, s, fixture.Segment{Name: s}.Bytes(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// get fetches a file into memory, and what was warned of.
func get(t testing.TB, cluster *Cluster, s string, locations ...string) (contents []byte, warned []error, err error) {
	t.Helper()
	f, err := Get(context.Background(), locations, cluster, name(t, s), filepath.Join(t.TempDir(), "out"),
		func(err error) { warned = append(warned, err) })
	if err != nil {
		return nil, warned, err
	}
	defer f.Close()
	return read(t, f), warned, nil
}

func read(t testing.TB, f *durable.File) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
