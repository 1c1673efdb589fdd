package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A walJob is a group on its way through the readers, who work in parallel, to
// the one who joins the log of one segment to that of the next, in order.
type walJob struct {
	*walGroup
	done  chan struct{}
	whole bool      // every object is
	log   *wal.Link // what was read of the log in the segment, nil if nothing could be
	key   string    // of the object it was read from
	found bool      // a whole record lies in it
}

// readWAL reads every WAL file, each in all its forms, and follows the log
// through all that is contiguous.
func (v *verifier) readWAL(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	work, ordered := make(chan *walJob), make(chan *walJob, v.Jobs)
	group.Go(func() error {
		defer close(work)
		defer close(ordered)
		for g, err := range v.unknownGroups(ctx) {
			if err != nil {
				return err
			}
			job := &walJob{walGroup: g, done: make(chan struct{})}
			for _, queue := range []chan *walJob{ordered, work} {
				select {
				case queue <- job:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range v.Jobs {
		group.Go(func() error {
			for job := range work {
				if err := v.readGroup(ctx, job); err != nil {
					return err
				}
				close(job.done)
			}
			return nil
		})
	}
	group.Go(func() error { return v.joinAll(ctx, ordered) })
	return group.Wait()
}

// joinAll takes the groups in order.
func (v *verifier) joinAll(ctx context.Context, ordered <-chan *walJob) error {
	j := joiner{verifier: v}
	for job := range ordered {
		select {
		case <-job.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := j.join(ctx, job); err != nil {
			return err
		}
		if err := v.halted(); err != nil {
			return err
		}
	}
	return nil
}

// readGroup reads all objects of a group.
func (v *verifier) readGroup(ctx context.Context, job *walJob) error {
	job.whole = true
	for _, f := range job.files {
		if err := v.readFile(ctx, job, f); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads all forms of a WAL file, which have to be the same.
func (v *verifier) readFile(ctx context.Context, job *walJob, f walFile) error {
	best, sum := "", ""
	for _, info := range f.forms {
		c, err := v.readForm(ctx, f.name, info, len(f.forms) > 1)
		switch {
		case err == nil && best == "":
			best, sum = info.Key, c.sum
			switch {
			case c.left:
				job.whole = false // not for the journal: more may come of its timeline
			case f.name.Kind == wal.Segment:
				job.log, job.key, job.found = &c.log, info.Key, c.found
			}
		case err == nil && c.sum != sum:
			err = fmt.Errorf("%w: it is not the same as %s", archive.ErrDamaged, best)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			continue
		}
		job.whole = false
		if v.judge(info.Key, err) {
			if err := v.missWAL(ctx, f.name, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// walContents are what is known of a WAL file that has been read.
type walContents struct {
	sum   string // the SHA-256, if that was asked for
	log   wal.Link
	found bool    // a whole record
	left  bool    // the log ends within it, where nobody reads on
	next  wal.LSN // the first whole record at the beginning of the timeline or behind it
}

// readForm reads an object and checks what is in it against its name.
func (v *verifier) readForm(ctx context.Context, n wal.Name, info store.Info, sum bool) (c walContents, err error) {
	body, err := v.open(ctx, info.Key)
	if err != nil {
		return c, err
	}
	defer body.Close()
	_, format := codec.SplitName(info.Key)
	z, err := codec.NewReaderFormat(body, format, 1)
	if err != nil {
		return c, err
	}
	defer z.Close()
	var in io.Reader = z
	hash := sha256.New()
	if sum {
		in = io.TeeReader(z, hash)
	}
	if archive.IsSegment(n) {
		err = v.walk(&c, n, in)
	} else {
		err = v.readText(n, in)
	}
	c.sum = string(hash.Sum(nil))
	return c, err
}

// readBuffer is the size of reads of segments in bytes.
const readBuffer = 256 << 10

// walk reads a segment to its end.
func (v *verifier) walk(c *walContents, n wal.Name, in io.Reader) error {
	w := wal.NewWalk(n)
	at, begins := v.beginsIn(n)
	w.Record = c.records(at)
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, in, make([]byte, readBuffer)); err != nil {
		if c.left = v.wasLeft(n, err); c.left {
			_, err = io.Copy(io.Discard, in)
		}
		return err
	}
	var err error
	if c.log, err = w.End(); err != nil {
		return err
	}
	h := c.log.Header
	if is := (archive.Cluster{SystemID: h.SystemID, Major: h.Major(), SegmentSize: h.SegmentSize}); is != v.Cluster {
		return fmt.Errorf("%w: it is of %s", archive.ErrDamaged, is)
	}
	if begins {
		return v.checkBeginning(n, at, cmp.Or(c.next, c.log.Open), c.log)
	}
	return nil
}

// readText reads a file that is no segment.
func (v *verifier) readText(n wal.Name, in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, archive.TextLimit+1))
	if err != nil {
		return err
	}
	if len(text) > archive.TextLimit {
		return fmt.Errorf("%w: longer than any such file", archive.ErrDamaged)
	}
	return v.checkBackupHistory(n, text)
}

// missWAL looks whether an object that has vanished is missing: not if the file
// is there in another form, and not if expire has removed it. That removes the
// oldest segments, so those are missing that a backup needs, or that have become
// a hole.
func (v *verifier) missWAL(ctx context.Context, n wal.Name, info store.Info) error {
	forms, err := v.Forms(ctx, n)
	if err != nil || len(forms) > 0 || n.Kind != wal.Segment {
		return err
	}
	now, err := v.Coverage(ctx)
	if err != nil {
		return err
	}
	all, err := v.Backups(ctx)
	if err != nil {
		return err
	}
	needs := func(b archive.Backup) bool { return b.Complete && b.Err == nil && now.MissingFor(b.Header) != "" }
	if i := slices.IndexFunc(all, needs); i >= 0 {
		v.found(FoundMissing, n.String(), "it vanished while it was to be read: backup %s lacks %s", all[i].Label, now.MissingFor(all[i].Header))
		return nil
	}
	if err := v.ProveEnd(ctx, n); errors.Is(err, archive.ErrHole) && v.Number(n) > first(now, n.Timeline) {
		v.found(FoundMissing, n.String(), "it vanished while it was to be read: %v", err)
	} else if err != nil && !errors.Is(err, archive.ErrHole) {
		return err
	}
	v.remark("%s: expired meanwhile", info.Key)
	return nil
}

// first is the first segment of a timeline.
func first(c archive.Coverage, tli wal.Timeline) uint64 {
	for _, w := range c.Ranges {
		if w.Timeline == tli {
			return w.First
		}
	}
	return 0
}
