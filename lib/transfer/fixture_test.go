package transfer

import (
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

var plain = codec.Options{Format: codec.None}

// repository makes one in a new directory.
func repository(t testing.TB) *archive.Repo {
	t.Helper()
	r, err := archive.OpenFor(t.Context(), filepath.Join(t.TempDir(), "r"), archive.Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: wal.MinSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
