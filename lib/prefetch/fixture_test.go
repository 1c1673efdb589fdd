package prefetch

import (
	"bytes"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
)

const (
	mib   = wal.MinSegmentSize
	three = "000000010000000000000003"
)

var plain = codec.Options{Format: codec.None}

func memory(b []byte) archive.Content {
	return archive.Content{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}
