package prefetch

import (
	"bytes"
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	mib   = wal.MinSegmentSize
	three = "000000010000000000000003"
)

// ours is the cluster of all segments here.
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

func memory(b []byte) archive.Content {
	return archive.Content{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}
