package backup

import (
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/wal"
)

// Pages are excused by the log that there was when the backup ended, however many
// there are.
func TestExcusedPagesAreSettled(t *testing.T) {
	var said []string
	b := badPages{warn: func(format string, args ...any) { said = append(said, format) }}
	for block := range uint32(5 * manifest.MostBadPages) {
		var part tallyOfPages
		lsn := wal.LSN(0x2000)
		if block == 7 || block == 4000 {
			lsn++
		}
		part.excuse(excused{manifest.BadPage{Path: "base/1/1", Block: block}, lsn})
		b.take(part)
	}
	if len(b.all.excused) > 2*manifest.MostBadPages || b.all.all != 0 || len(said) != 0 {
		t.Errorf("%d excused, %d bad, said %q", len(b.all.excused), b.all.all, said)
	}
	b.settle(0x2000)
	if b.all.all != 2 || len(b.all.first) != 2 || len(said) != 2 || !strings.Contains(said[0], "wrong checksum") {
		t.Errorf("%d bad, %v, said %q", b.all.all, b.all.first, said)
	}
}
