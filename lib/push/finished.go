package push

import (
	"errors"
	"fmt"
	"io"
	"os"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
)

// ErrUnfinished says that the server is not done with a segment, or never will be.
var ErrUnfinished = errors.New("the server has not finished it")

// CheckFinished refuses a segment in pg_wal into which a server may still be writing:
// what is stored of that stays, and keeps the segment itself out. The server says that
// it is done by NAME.ready (xlogarchive.c: XLogArchiveNotify), which is there whenever
// it has archive_command called. Whoever pushes what has no such mark, as by hand, has
// to have a segment that is full of log. What lies elsewhere no server writes.
func CheckFinished(file string, n wal.Name, s *archive.Source) error {
	if n.Kind != wal.Segment || isReady(file) {
		return nil
	}
	if _, err := os.Stat(statusDir(file)); err != nil {
		return nil
	}
	w := wal.NewWalk(n)
	_, err := io.Copy(w, s.Reader())
	if err == nil {
		_, err = w.End()
	}
	if damage := (*wal.Damage)(nil); errors.As(err, &damage) {
		return fmt.Errorf("%w: its log ends at %s", ErrUnfinished, damage.At)
	}
	return err
}
