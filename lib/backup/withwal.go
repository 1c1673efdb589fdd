package backup

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"pgpipes/lib/pgdata"
	"pgpipes/lib/wal"
)

// copyWAL copies the WAL that the backup needs from pg_wal, where the server
// keeps it for the session, and the histories of timelines, which say how the
// line of the backup came about. Each comes with a mark that it has been archived:
// the restored server is not to offer it to an archive again.
func (c *copier) copyWAL(ctx context.Context, w *worker) error {
	if !c.o.WithWAL {
		return nil
	}
	size, h := c.control.SegmentSize, c.header
	for n := size.Number(h.StartLSN); n <= size.LastNumber(h.StopLSN); n++ {
		name := size.Name(h.StopTimeline, n)
		if err := c.checkSegment(name); err != nil {
			return err
		}
		if err := c.copyWALFile(ctx, w, name); err != nil {
			return err
		}
	}
	list, err := os.ReadDir(c.tree.path(pgdata.WALDir))
	if err != nil {
		return err
	}
	for _, e := range list {
		if n, err := wal.ParseName(e.Name()); err == nil && n.Kind == wal.TimelineHistory {
			if err := c.copyWALFile(ctx, w, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSegment makes sure that a file in pg_wal holds the segment of its name.
func (c *copier) checkSegment(name string) error {
	n, err := wal.ParseName(name)
	if err != nil {
		return err
	}
	f, err := os.Open(c.tree.path(filepath.Join(pgdata.WALDir, name)))
	if err != nil {
		return fmt.Errorf("WAL that the backup needs: %w", err)
	}
	defer f.Close()
	head := make([]byte, wal.HeaderSize)
	if _, err := io.ReadFull(f, head); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	header, err := wal.ParseHeader(head)
	if err == nil {
		err = header.Check(n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return nil
}

func (c *copier) copyWALFile(ctx context.Context, w *worker, name string) error {
	before := w.sink.Members()
	if err := w.file(ctx, pgdata.WALDir+"/"+name); err != nil {
		return err
	}
	if w.sink.Members() == before {
		return fmt.Errorf("%s: gone while it was copied", c.tree.path(pgdata.WALDir+"/"+name))
	}
	mark := c.newFile(pgdata.WALDir+"/archive_status/"+name+".done", 0)
	return w.sink.AddFile(mark, strings.NewReader(""))
}
