package stream

import (
	"encoding/binary"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// PageSum is the checksum that a page carries, and the one it should, as block of
// its relation.
func PageSum(page []byte, block uint32) manifest.PageSum {
	return manifest.PageSum{Stored: binary.LittleEndian.Uint16(page[8:]), Computed: pgdata.PageChecksum(page, block)}
}
