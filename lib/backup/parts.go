package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

const (
	// largeFile is the size from which on a file is copied before all smaller
	// ones: small ones at the end let the workers end together.
	largeFile = 8 << 20
	// smallestPart is as small as parts become so that there are some for each
	// worker. The processes behind one take some milliseconds to start.
	smallestPart = 16 << 20
	// partsEach is how many parts there are at least for each worker, unless
	// they would be smaller than that.
	partsEach = 16
	// mostFiles bounds the files in a part, which are listed in memory until
	// that is stored.
	mostFiles = 20000
	// mostTries is how often a part is written before the copy fails.
	mostTries = 3
	// pauseBetweenTries is after the first failure, and doubled after the next.
	pauseBetweenTries = time.Second
)

// A batch is what goes into one part.
type batch struct {
	number      int
	directories []string
	files       []string
	bytes       int64
}

// A sized is a file and how many bytes of it are to be copied.
type sized struct {
	name string
	size int64
}

// An outline is what is found on a first walk through a tree: all directories,
// and the large files, but not the many small ones.
type outline struct {
	directories []string
	large       []sized
	total       int64 // bytes of all files
}

// outline walks through the tree.
func (t *tree) outline(ctx context.Context) (*outline, error) {
	o := &outline{directories: t.first()}
	quiet := *t
	quiet.warn = func(string, ...any) {} // the second walk will say it
	err := quiet.walk(ctx, ".", func(name string, info fs.FileInfo) error {
		switch {
		case info.IsDir():
			if !t.isFirst(name) {
				o.directories = append(o.directories, name)
			}
			return nil
		case info.Size() >= largeFile:
			o.large = append(o.large, sized{name, t.toCopy(name, info)})
		}
		o.total += info.Size()
		return nil
	})
	slices.SortFunc(o.large, func(a, b sized) int { return cmp.Compare(b.size, a.size) })
	return o, err
}

// toCopy is the size of a file, or 0 if it is known already that it has not
// changed: parts are filled with what has.
func (t *tree) toCopy(name string, info fs.FileInfo) int64 {
	e := manifest.Entry{Path: name, Size: info.Size(), MTime: info.ModTime()}
	if _, same, _ := t.ancestor.find(e, changedAt(info), time.Now()); same {
		return 0
	}
	return info.Size()
}

// partSize is how many bytes of files a part gets: what was asked for, or less,
// for all workers to have enough of them.
func partSize(asked, total int64, workers int) int64 {
	return min(asked, max(smallestPart, total/int64(workers*partsEach)))
}

// A divider makes batches of a tree.
type divider struct {
	copier *copier
	size   int64
	known  map[string]bool // directories and large files that have been dealt with
	to     chan<- batch
	batch  batch
}

// divide sends all of the tree to the workers: the directories and the large
// files first, the largest first of all.
func (d *divider) divide(ctx context.Context, o *outline) error {
	d.batch = batch{directories: o.directories}
	for _, name := range o.directories {
		d.known[name] = true
	}
	for _, f := range o.large {
		d.known[f.name] = true
		if err := d.add(ctx, f.name, f.size); err != nil {
			return err
		}
	}
	err := d.copier.tree.walk(ctx, ".", func(name string, info fs.FileInfo) error {
		switch {
		case d.known[name] || info.IsDir() && d.copier.tree.isFirst(name):
			return nil
		case info.IsDir():
			d.batch.directories = append(d.batch.directories, name)
			return nil
		}
		return d.add(ctx, name, d.copier.tree.toCopy(name, info))
	})
	if err != nil {
		return err
	}
	return d.send(ctx)
}

// add puts a file into the batch at hand, which is sent when it is full.
func (d *divider) add(ctx context.Context, name string, size int64) error {
	b := &d.batch
	if len(b.files) > 0 && b.bytes+size > d.size {
		if err := d.send(ctx); err != nil {
			return err
		}
	}
	b.files, b.bytes = append(b.files, name), b.bytes+size
	if b.bytes >= d.size || len(b.files) >= mostFiles {
		return d.send(ctx)
	}
	return nil
}

// send hands the batch at hand over.
func (d *divider) send(ctx context.Context) error {
	if len(d.batch.files)+len(d.batch.directories) == 0 {
		return nil
	}
	d.batch.number = d.copier.outlet.numbers.next()
	select {
	case d.to <- d.batch:
		d.batch = batch{}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// copyParts copies the tree into parts, several at once.
func (c *copier) copyParts(ctx context.Context) error {
	o, err := c.tree.outline(ctx)
	if err != nil {
		return err
	}
	c.tree.pace.Total = o.total
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan batch)
	group.Go(func() error {
		defer close(batches)
		d := divider{copier: c, size: partSize(c.o.Parts.Size, o.total, c.o.Parts.Jobs), known: map[string]bool{}, to: batches}
		return d.divide(ctx, o)
	})
	for range c.o.Parts.Jobs {
		w := newWorker(c.tree)
		group.Go(func() error {
			for b := range batches {
				if err := c.writePart(ctx, w, b.number, b.fill); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// fill writes a batch.
func (b batch) fill(ctx context.Context, w *worker) error {
	for _, name := range b.directories {
		if err := w.directory(name); err != nil {
			return err
		}
	}
	for _, name := range b.files {
		if err := w.file(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// writePart writes a part. If its command fails the part is written again under
// another number: what was stored under this one is not overwritten.
func (c *copier) writePart(ctx context.Context, w *worker, number int, fill func(context.Context, *worker) error) error {
	for try := 1; ; try++ {
		name := manifest.PartName(number)
		err := c.tryPart(ctx, w, name, fill)
		if err == nil || !errors.Is(err, filter.ErrFailed) || ctx.Err() != nil {
			return err
		}
		if try == mostTries {
			return fmt.Errorf("part %s: %w", name, err)
		}
		number = c.outlet.numbers.next()
		c.o.Warn("part %s: %v; it is written again as part %s", name, err, manifest.PartName(number))
		if !wait.Sleep(ctx, time.Duration(try)*pauseBetweenTries) {
			return context.Cause(ctx)
		}
	}
}

// tryPart writes a part once. What it holds is listed when it is stored.
func (c *copier) tryPart(ctx context.Context, w *worker, name string, fill func(context.Context, *worker) error) (err error) {
	var noted []manifest.Entry
	out := c.outlet.create(ctx, name)
	defer out.abandon()
	w.begin(stream.NewWriter(out, name, func(e ...manifest.Entry) error {
		noted = append(noted, e...)
		return nil
	}))
	defer func() {
		if err != nil {
			c.tree.pace.Add(-w.done)
		}
	}()
	if err := fill(ctx, w); err != nil {
		return err
	}
	if w.sink.Members() > 0 {
		if err := w.sink.End(); err != nil {
			return err
		}
		part, err := out.finish(name)
		if err != nil {
			return err
		}
		c.addPart(part)
	}
	c.tree.bad.take(w.bad)
	return c.listing.add(noted...)
}

// addPart notes a part that is stored.
func (c *copier) addPart(p manifest.Part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts = append(c.parts, p)
}
