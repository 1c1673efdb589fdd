package push

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	mib           = wal.MinSegmentSize
	three         = "000000010000000000000003"
	fork2         = "1\t0/300100\tno recovery target specified\n" // the history of timeline 2
	backupHistory = "START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\nLABEL: x\n"
)

// ours is the cluster of all segments here that are of no other.
var ours = archive.Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: mib}

var plain = codec.Options{Format: codec.None}

// repository makes one of our cluster in a new directory.
func repository(t testing.TB) *archive.Repo {
	t.Helper()
	r, err := archive.OpenFor(t.Context(), filepath.Join(t.TempDir(), "r"), ours)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keys are those of the objects with a prefix.
func keys(t testing.TB, r *archive.Repo, prefix string) (found []string) {
	t.Helper()
	for info, err := range r.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}

// get fetches a file into memory, and what was warned of.
func get(t testing.TB, cluster *archive.Cluster, s string, locations ...string) (contents []byte, warned []error, err error) {
	t.Helper()
	f, err := archive.Get(context.Background(), locations, cluster, fixture.Name(t, s), filepath.Join(t.TempDir(), "out"),
		func(err error) { warned = append(warned, err) })
	if err != nil {
		return nil, warned, err
	}
	defer f.Close()
	contents, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	return contents, warned, err
}

// pushed stores contents as a call of wal-push would that takes them from a pipe.
func pushed(t testing.TB, cluster *archive.Cluster, s string, contents []byte, o codec.Options, locations ...string) error {
	t.Helper()
	p := Pusher{Locations: locations, Codec: o}
	c := archive.Content{ReaderAt: bytes.NewReader(contents), Size: int64(len(contents))}
	return p.Push(context.Background(), cluster, fixture.Name(t, s), &archive.Source{Content: c}).Err()
}
