package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// A cutter writes what comes one after the other, and but once: to one stream,
// or cut into parts. While one part is being written the commands of others may
// still be at work, as many in all as there may be.
type cutter struct {
	copier *copier
	ctx    context.Context // ends when a part has failed
	cancel context.CancelFunc
	group  *errgroup.Group
	turns  chan struct{} // a token for each command at work
	worker *worker       // of the stream
	sink   *stream.Writer
	out    *partOut // nil for a stream
	bytes  int64    // of files in the part
	files  int
}

func newCutter(ctx context.Context, c *copier, out io.Writer) *cutter {
	k := &cutter{copier: c, turns: make(chan struct{}, max(c.o.Parts.Jobs, 1))}
	ctx, k.cancel = context.WithCancel(ctx)
	k.group, k.ctx = errgroup.WithContext(ctx)
	if c.outlet == nil {
		k.worker = &worker{tree: c.tree}
		k.sink = stream.NewWriter(out, part, c.listing.add)
		k.worker.begin(k.sink)
		c.addPart(manifest.Part{Name: part})
	}
	return k
}

// next is the sink for a member with so many bytes.
func (k *cutter) next(size int64) (*stream.Writer, error) {
	if k.copier.outlet == nil {
		return k.sink, context.Cause(k.ctx)
	}
	if k.files > 0 && k.bytes+size > k.copier.o.Parts.Size || k.files >= mostFiles {
		k.cut()
	}
	if k.sink == nil {
		if err := k.begin(); err != nil {
			return nil, err
		}
	}
	k.bytes += size
	k.files++
	return k.sink, context.Cause(k.ctx)
}

// begin begins a part when one more command may be at work.
func (k *cutter) begin() error {
	select {
	case k.turns <- struct{}{}:
	case <-k.ctx.Done():
		return context.Cause(k.ctx)
	}
	name := manifest.PartName(k.copier.outlet.numbers.next())
	k.out = k.copier.outlet.create(k.ctx, name)
	k.sink = stream.NewWriter(onlyOnce{k.out, name}, name, k.copier.listing.add)
	return nil
}

// cut ends the part at hand, whose command may take its time.
func (k *cutter) cut() {
	if k.sink == nil {
		return
	}
	s, out := k.sink, k.out
	k.sink, k.out, k.bytes, k.files = nil, nil, 0, 0
	k.group.Go(func() error {
		defer func() { <-k.turns }()
		defer out.abandon()
		if err := s.End(); err != nil {
			return err
		}
		p, err := out.finish(s.Part())
		if err != nil {
			return unrepeatable(s.Part(), err)
		}
		k.copier.addPart(p)
		return nil
	})
}

// finish waits until all parts are stored. A stream goes on.
func (k *cutter) finish() error {
	if k.copier.outlet == nil {
		return nil
	}
	k.cut()
	return k.group.Wait()
}

// abandon ends the commands that are still at work.
func (k *cutter) abandon() {
	k.cancel()
	if k.out != nil {
		k.out.abandon()
	}
	_ = k.group.Wait() // they end as the context has
}

// onlyOnce says which part could not be written.
type onlyOnce struct {
	out  io.Writer
	name string
}

func (o onlyOnce) Write(b []byte) (int, error) {
	n, err := o.out.Write(b)
	return n, unrepeatable(o.name, err)
}

// unrepeatable explains the failure of a part's command.
func unrepeatable(name string, err error) error {
	if !errors.Is(err, filter.ErrFailed) {
		return err
	}
	return fmt.Errorf("part %s: %w; what a server sends comes only once, take the backup again", name, err)
}
