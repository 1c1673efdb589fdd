package verify

import (
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const mib = wal.MinSegmentSize

// repository makes one in a new directory.
func repository(t testing.TB) *archive.Repo {
	t.Helper()
	r, err := archive.OpenFor(t.Context(), filepath.Join(t.TempDir(), "r"), archive.Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: mib})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
