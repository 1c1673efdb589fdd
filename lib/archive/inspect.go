package archive

import (
	"bytes"
	"fmt"
	"io"

	"pgpipes/lib/wal"
)

// TextLimit bounds .history and .backup files, which are a few lines, in bytes.
const TextLimit = 1 << 20

// Content is a WAL file that can be read as often as needed.
type Content struct {
	io.ReaderAt
	Size int64 // bytes
}

// Reader reads it from the beginning.
func (c Content) Reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.Size) }

// Inspect checks a WAL file against its name: the header of a segment, the
// syntax of a history. Of a segment it returns the cluster that wrote it; the
// other kinds do not say.
func Inspect(n wal.Name, c Content) (Cluster, error) {
	switch n.Kind {
	case wal.Segment, wal.Partial:
		return inspectSegment(n, c)
	}
	text, err := c.text()
	if err != nil {
		return Cluster{}, err
	}
	if n.Kind == wal.TimelineHistory {
		_, err = wal.ParseHistory(n.Timeline, text)
	} else if !bytes.HasPrefix(text, []byte("START WAL LOCATION: ")) || !bytes.HasSuffix(text, []byte("\n")) {
		err = fmt.Errorf("not a backup history file")
	}
	return Cluster{}, err
}

func (c Content) text() ([]byte, error) {
	if c.Size > TextLimit {
		return nil, fmt.Errorf("%d bytes are too many for such a file", c.Size)
	}
	return io.ReadAll(c.Reader())
}

func inspectSegment(n wal.Name, c Content) (Cluster, error) {
	var head [wal.HeaderSize]byte
	if c.Size < int64(len(head)) {
		return Cluster{}, fmt.Errorf("%d bytes are too few for a segment", c.Size)
	}
	if _, err := c.ReadAt(head[:], 0); err != nil {
		return Cluster{}, err
	}
	h, err := wal.ParseHeader(head[:])
	if err != nil {
		return Cluster{}, err
	}
	if err := h.Check(n); err != nil {
		return Cluster{}, err
	}
	if c.Size != int64(h.SegmentSize) {
		return Cluster{}, fmt.Errorf("%d bytes, the segment size is %d", c.Size, h.SegmentSize)
	}
	return Cluster{h.SystemID, h.Major(), h.SegmentSize}, nil
}
