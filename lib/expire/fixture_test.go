package expire

import (
	"slices"
	"testing"

	"pgpipes/lib/wal"
)

const mib = wal.MinSegmentSize

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
