package backup

import (
	"context"
	"fmt"
	"time"

	"pgpipes/lib/server"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// pollArchive is the pause between two looks for a segment.
const pollArchive = 200 * time.Millisecond

// watchesArchive reports whether the copy looks after its WAL at all.
// One that brings its WAL along needs no archive, and looks after one only if
// there is one.
func (c *copier) watchesArchive() bool {
	return !c.o.Unchecked && (!c.o.WithWAL || c.o.Archive != nil && c.info.ArchiveMode != "off")
}

// checkArchiving finds settings with which no WAL can ever be archived.
func (c *copier) checkArchiving() error {
	if !c.watchesArchive() {
		return nil
	}
	if c.info.InRecovery {
		if c.o.Archive == nil {
			return fmt.Errorf("%w here: a standby cannot say what its primary has archived, name the repository", ErrArchiving)
		}
		return nil
	}
	if c.info.ArchiveMode == "off" {
		return fmt.Errorf("%w: archive_mode is off", ErrArchiving)
	}
	if c.info.ArchiveCommand == server.No {
		return fmt.Errorf("%w: archive_command is empty", ErrArchiving)
	}
	return nil
}

// waitForMark waits for the segment that holds a mark and was ended by the
// start of the backup: proof that archiving works, before the long copy.
func (c *copier) waitForMark(ctx context.Context, m mark) error {
	n, tli := c.control.SegmentSize.LastNumber(m.end), c.header.StartTimeline
	if err := c.waitFor(ctx, tli, n, n); err != nil {
		return err
	}
	return c.checkMark(ctx, tli, m)
}

// waitForRange waits for the WAL without which the backup is worthless. The last
// mark is in it, if there is one.
func (c *copier) waitForRange(ctx context.Context, last mark) error {
	if !c.watchesArchive() {
		return nil
	}
	size, h := c.control.SegmentSize, c.header
	if err := c.waitFor(ctx, h.StopTimeline, size.Number(h.StartLSN), size.LastNumber(h.StopLSN)); err != nil {
		return err
	}
	return c.checkMark(ctx, h.StopTimeline, last)
}

// waitFor waits until the segments are archived, as long as they keep coming, or the
// queue before them gets shorter.
func (c *copier) waitFor(ctx context.Context, tli wal.Timeline, first, last uint64) error {
	c.notice("waiting for %s to be archived", c.control.SegmentSize.Name(tli, last))
	deadline, before, queue := time.Now().Add(c.o.Patience), "", c.headOfQueue(ctx, tli, first)
	for {
		missing, err := c.firstMissing(ctx, tli, first, last)
		if err != nil || missing == "" {
			return err
		}
		if missing != before {
			deadline, before = time.Now().Add(c.o.Patience), missing
		}
		if time.Now().After(deadline) {
			now := c.headOfQueue(ctx, tli, first)
			if now == "" || now == queue {
				return fmt.Errorf("%w: %s has not arrived within %s%s", ErrArchiving, missing, c.o.Patience, c.likelyCause(ctx))
			}
			deadline, queue = time.Now().Add(c.o.Patience), now
		}
		if !wait.Sleep(ctx, pollArchive) {
			return ctx.Err()
		}
	}
}

// headOfQueue is what a primary has archived last, "" if that is not before a segment:
// as long as it changes that one is on its way.
func (c *copier) headOfQueue(ctx context.Context, tli wal.Timeline, before uint64) string {
	if c.info.InRecovery {
		return ""
	}
	stats, err := c.o.Session.ArchiverStats(ctx)
	if err != nil {
		return ""
	}
	done, err := wal.ParseName(stats.LastArchived)
	if err != nil || done.Timeline > tli {
		return ""
	}
	n, err := c.control.SegmentSize.Split(done)
	if err == nil && done.Timeline == tli && n >= before {
		return ""
	}
	return stats.LastArchived
}

// firstMissing asks the archive, or without one the server, which archives in
// order (pgarch.c:ready_file_comparator).
func (c *copier) firstMissing(ctx context.Context, tli wal.Timeline, first, last uint64) (string, error) {
	if c.o.Archive != nil {
		return c.o.Archive.FirstMissing(ctx, tli, first, last)
	}
	stats, err := c.o.Session.ArchiverStats(ctx)
	if err != nil {
		return "", err
	}
	size := c.control.SegmentSize
	done, err := wal.ParseName(stats.LastArchived)
	if err != nil || done.Kind == wal.TimelineHistory || done.Timeline < tli {
		return size.Name(tli, first), nil
	}
	if n, err := size.Split(done); err == nil && n < last && done.Timeline == tli {
		return size.Name(tli, max(first, n+1)), nil
	}
	return "", nil
}

// likelyCause is what the server knows about its archive_command, for a message.
func (c *copier) likelyCause(ctx context.Context) string {
	if c.info.InRecovery {
		return " (on an idle primary a segment ends only when pg_switch_wal() is called there)"
	}
	stats, err := c.o.Session.ArchiverStats(ctx)
	if err != nil || stats.LastFailed == "" || stats.LastFailedTime.Before(stats.LastArchivedTime) {
		return ""
	}
	return fmt.Sprintf(" (archive_command failed for %s at %s; the server's log says why)",
		stats.LastFailed, stats.LastFailedTime.Format(time.RFC3339))
}
