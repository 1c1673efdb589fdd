package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/server"
	"pgpipes/lib/stream"
)

// copier is one copy under way.
type copier struct {
	o       CopyOptions
	info    server.Info
	control pgdata.Control
	header  manifest.Header
	tree    *tree
	listing *listing
	outlet  *outlet // nil for one stream
	begun   bool    // recorded in the archive

	mu    sync.Mutex
	parts []manifest.Part // that are stored
}

func (c *copier) close() {
	if c.listing != nil {
		c.listing.close()
	}
}

// copy writes the stream and fills the rest of the header.
func (c *copier) copy(ctx context.Context, out io.Writer) error {
	unwatched := ctx
	ctx, rest, stop := c.watchServer(ctx)
	defer stop()
	c.tree.start = c.header.StartLSN
	whole, err := c.copyFiles(ctx, out)
	if err != nil {
		return cause(ctx, err)
	}
	control, raw, err := pgdata.ReadControl(c.o.Data)
	if err != nil {
		return err
	}
	last, err := c.leaveMark(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	stopped, err := c.o.Session.StopBackup(ctx, false)
	if err != nil {
		return cause(ctx, err)
	}
	if err := c.finishHeader(control, stopped); err != nil {
		return err
	}
	rest() // the backup is over: a server that restarts now can no longer spoil it
	if err := c.waitForRange(unwatched, last); err != nil {
		return err
	}
	return c.end(unwatched, whole, stopped, raw)
}

// copyFiles copies the tree into one stream, whose worker it returns, or into
// parts.
func (c *copier) copyFiles(ctx context.Context, out io.Writer) (*worker, error) {
	if c.outlet != nil {
		return nil, c.copyParts(ctx)
	}
	if c.o.Progress != nil {
		total, err := c.tree.size(ctx)
		if err != nil {
			return nil, err
		}
		c.tree.pace.Total = total
	}
	w := newWorker(c.tree)
	w.begin(stream.NewWriter(out, part, c.listing.add))
	err := c.tree.copyTo(ctx, w)
	c.tree.bad.take(w.bad)
	c.parts = append(c.parts, manifest.Part{Name: part})
	return w, err
}

// alivePeriod is how often the server is asked during the copy whether the
// backup is still going on.
const alivePeriod = time.Second

// lastAnswer is how long the answer to the last question may take.
const lastAnswer = 30 * time.Second

// watchServer ends the context when the session or the backup in it is lost. rest
// ends the watching when the question under way is answered, as the session is still
// needed: one that is broken off ends it. stop does not wait for the server.
func (c *copier) watchServer(ctx context.Context) (watched context.Context, rest, stop func()) {
	return watchAlive(ctx, c.o.Session.Alive)
}

func watchAlive(ctx context.Context, alive func(context.Context) error) (watched context.Context, rest, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(alivePeriod)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-over:
				return
			case <-tick.C:
				if err := alive(ctx); err != nil && ctx.Err() == nil {
					cancel(fmt.Errorf("the backup was lost while copying: %w", err))
				}
			}
		}
	}()
	stop = func() { cancel(nil); <-ended }
	rest = func() {
		close(over)
		select {
		case <-ended:
		case <-time.After(lastAnswer):
			stop()
		}
	}
	return ctx, rest, stop
}

// cause prefers the reason why a context ended to what that made fail.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

func (c *copier) finishHeader(control pgdata.Control, stopped server.StopResult) error {
	label, err := pgdata.ParseLabel(stopped.Label)
	if err != nil {
		return err
	}
	if label.StartLSN != c.header.StartLSN {
		return fmt.Errorf("backup_label begins at %s, the backup at %s", label.StartLSN, c.header.StartLSN)
	}
	h := &c.header
	h.StopLSN, h.StopTime = stopped.LSN, time.Now()
	h.StartTimeline, h.StopTimeline = label.Timeline, label.Timeline
	if c.info.InRecovery && control.MinRecoveryTimeline != label.Timeline {
		return fmt.Errorf("the standby went from timeline %d to %d during the backup: take it again", uint32(label.Timeline), uint32(control.MinRecoveryTimeline))
	}
	c.tree.bad.settle(h.StopLSN)
	h.BadPages = c.tree.bad.all.first
	spaces, err := pgdata.ParseTablespaceMap(stopped.TablespaceMap)
	if err != nil {
		return err
	}
	for _, s := range spaces {
		h.Tablespaces = append(h.Tablespaces, manifest.Tablespace{OID: s.OID, Path: s.Path})
	}
	return c.tree.checkTablespaces(spaces)
}
