// Package repository makes repositories for the tests of what works on them. What
// is to be in them is in package fixture.
package repository

import (
	"context"
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// Cluster is the one that fixtures are of that say nothing else.
var Cluster = archive.Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: wal.MinSegmentSize}

// New makes a repository of Cluster in a new directory.
func New(t testing.TB) *archive.Repo {
	t.Helper()
	r, err := archive.OpenFor(context.Background(), filepath.Join(t.TempDir(), "r"), Cluster)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Keys are those of the objects in a repository that begin with a prefix.
func Keys(t testing.TB, r *archive.Repo, prefix string) (found []string) {
	t.Helper()
	for info, err := range r.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, info.Key)
	}
	return found
}
