package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"pgpipes/lib/wal"
)

// ErrOtherWAL says that the archive has segments of the names of this server's that
// hold something else: those of a copy of the server, or of a future that it has been
// put back from.
var ErrOtherWAL = errors.New("what is in the repository under that name is not what this server has written")

// A mark is a record that no other server can have written.
type mark struct {
	end  wal.LSN // of the record, 0 if there is none
	text string
}

// markSize is more than a record with a mark takes, headers of pages included.
const markSize = 512

// leaveMark writes one whose segment the start or the end of the backup will end, if
// somebody will look for it.
func (c *copier) leaveMark(ctx context.Context) (m mark, err error) {
	if !c.watchesArchive() || c.info.InRecovery {
		return mark{}, nil
	}
	m.text = rand.Text()
	// Twice, because the header of a page may lie within one of them.
	m.end, err = c.o.Session.NewSegment(ctx, m.text+" "+m.text)
	return m, err
}

// checkMark looks for a mark in the archive, whose segments have arrived. Names prove
// nothing: a server that was put back, or a copy of it, writes others of the same.
func (c *copier) checkMark(ctx context.Context, tli wal.Timeline, m mark) error {
	if m.end == 0 || c.o.Archive == nil {
		return nil
	}
	size := c.control.SegmentSize
	first, last := size.Number(m.end-min(m.end, markSize)), size.LastNumber(m.end)
	found, err := c.o.Archive.Holds(ctx, tli, first, last, m.text)
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", size.Name(tli, last), ErrOtherWAL)
	}
	return err
}
