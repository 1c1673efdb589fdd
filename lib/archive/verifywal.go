package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/codec"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A walJob is a group on its way through the readers, who work in parallel, to
// the one who joins the log of one segment to that of the next, in order.
type walJob struct {
	*walGroup
	done  chan struct{}
	whole bool // every object is
	log   *segmentLog
}

// readWAL reads every WAL file, each in all its forms, and follows the log
// through all that is contiguous. It takes the memory of a segment for each job,
// of two for those that are stored in several forms.
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
	return j.end()
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
	first := v.buffer()
	defer v.recycle(first)
	other := v.buffer()
	defer v.recycle(other)
	best := ""
	for _, info := range f.forms {
		into := first
		if best != "" {
			into = other
		}
		err := v.readForm(ctx, f.name, info, into)
		switch {
		case err == nil && best == "":
			best = info.Key
		case err == nil && !bytes.Equal(first.Bytes(), other.Bytes()):
			err = fmt.Errorf("%w: it is not the same as %s", ErrDamaged, best)
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
	if best != "" && f.name.Kind == wal.Segment {
		job.log = v.readLog(f.name, best, first.Bytes())
	}
	return nil
}

// readForm decodes an object into a buffer and checks it against its name.
func (v *verifier) readForm(ctx context.Context, n wal.Name, info store.Info, into *bytes.Buffer) error {
	into.Reset()
	body, err := v.open(ctx, info.Key)
	if err != nil {
		return err
	}
	defer body.Close()
	z, err := codec.NewReaderFormat(body, formatOf(info), 1)
	if err != nil {
		return err
	}
	defer z.Close()
	limit := v.plainSize(n)
	into.Grow(limit + bytes.MinRead)
	if _, err := into.ReadFrom(io.LimitReader(z, int64(limit)+1)); err != nil {
		return err
	}
	if into.Len() > limit {
		return fmt.Errorf("%w: %v", ErrDamaged, errTooLong)
	}
	if n.Kind == wal.BackupHistory {
		return v.checkBackupHistory(n, into.Bytes())
	}
	return v.check(info.Key, n, Content{bytes.NewReader(into.Bytes()), int64(into.Len())})
}

// buffers are used again: a segment each.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (v *verifier) buffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func (v *verifier) recycle(b *bytes.Buffer) { buffers.Put(b) }

// missWAL looks whether an object that has vanished is missing: not if the file
// is there in another form, and not if expire has removed it. That removes the
// oldest segments, so those are missing that a backup needs, or that have become
// a hole.
func (v *verifier) missWAL(ctx context.Context, n wal.Name, info store.Info) error {
	forms, err := v.forms(ctx, n)
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
	needs := func(b Backup) bool { return b.Complete && b.Err == nil && now.MissingFor(b.Header) != "" }
	if i := slices.IndexFunc(all, needs); i >= 0 {
		v.found(Missing, n.String(), "it vanished while it was to be read: backup %s lacks %s", all[i].Label, now.MissingFor(all[i].Header))
		return nil
	}
	if err := v.proveEnd(ctx, n); errors.Is(err, ErrHole) && v.number(n) > now.first(n.Timeline) {
		v.found(Missing, n.String(), "it vanished while it was to be read: %v", err)
	} else if err != nil && !errors.Is(err, ErrHole) {
		return err
	}
	v.remark("%s: expired meanwhile", info.Key)
	return nil
}

// first is the first segment of a timeline.
func (c Coverage) first(tli wal.Timeline) uint64 {
	for _, w := range c.Ranges {
		if w.Timeline == tli {
			return w.First
		}
	}
	return 0
}
