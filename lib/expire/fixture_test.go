package expire

import (
	"path/filepath"
	"slices"
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

// keys are those of the objects with a prefix.
func keys(t *testing.T, r *archive.Repo, prefix string) (found []string) {
	t.Helper()
	for info, err := range r.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
