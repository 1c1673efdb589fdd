package restore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/codec"
	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

const (
	// takeTries is how often a part is asked for before a restore gives up.
	takeTries = 3
	// takePause is the time before the second try, and what each further one
	// waits longer.
	takePause = 500 * time.Millisecond
)

// takeParts takes every part that holds something awaited, several at once.
func (r *restorer) takeParts(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.o.Jobs)
	for number, need := range r.needs {
		if need.any {
			group.Go(func() error { return r.repeat(ctx, number, r.takePart) })
		}
	}
	return group.Wait()
}

// probe finds out whether there is anything to take, before something that was
// there is given up for it.
func (r *restorer) probe(ctx context.Context, in io.Reader) error {
	if r.o.Source.Text != "" {
		return r.repeat(ctx, r.plan.index.last, r.probePart)
	}
	r.intake = r.pickingAll(in).Intake
	return r.intake.Begin()
}

// repeat tries something with a part until it succeeds.
func (r *restorer) repeat(ctx context.Context, number int, do func(ctx context.Context, number, try int) error) error {
	name := r.plan.index.parts[number].Name
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := do(ctx, number, try)
		if err == nil || try == takeTries || !again(err) || ctx.Err() != nil {
			return partError(name, err)
		}
		r.o.Warn("part %s: %v: trying again", name, err)
		wait.Sleep(ctx, time.Duration(try)*takePause)
	}
}

// again says whether another try may help: what has been read was not right.
func again(err error) bool {
	for _, fault := range []error{
		filter.ErrFailed, stream.ErrBad, stream.ErrDiffers, codec.ErrCorrupt, codec.ErrFormat,
		manifest.ErrDamaged, pgdata.ErrControl, pgdata.ErrLabel,
	} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// partError says which part an error is about.
func partError(name string, err error) error {
	if err == nil || !again(err) {
		return err
	}
	return &inPart{name, err}
}

type inPart struct {
	name string
	error
}

func (e *inPart) Error() string { return "part " + e.name + ": " + e.error.Error() }
func (e *inPart) Unwrap() error { return e.error }

// probePart has the command for a part begin.
func (r *restorer) probePart(ctx context.Context, number, try int) error {
	printed, err := r.command(number, try).Reader(ctx)
	if err != nil {
		return err
	}
	defer printed.Abandon()
	in := &ending{Reader: printed}
	t := r.pickingPart(in, number)
	defer t.Close()
	return in.explain(t.Begin(), printed)
}

// takePart runs the command for a part and takes what it prints.
func (r *restorer) takePart(ctx context.Context, number, try int) error {
	printed, err := r.command(number, try).Reader(ctx)
	if err != nil {
		return err
	}
	defer printed.Abandon()
	in := &ending{Reader: printed}
	t := r.pickingPart(in, number)
	if err := t.Run(ctx); err != nil {
		r.advance(-t.unsure)
		return in.explain(err, printed)
	}
	if t.Enough() {
		return nil
	}
	if err := printed.Finish(); err != nil {
		return err
	}
	if number == r.plan.index.last {
		r.intake = t.Intake
	}
	return nil
}

// ending knows whether a reader has come to its end.
type ending struct {
	io.Reader
	ended bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	e.ended = e.ended || err == io.EOF
	return n, err
}

// explain finds the reason for an error of what is read: a command that failed
// is why a stream is cut.
func (e *ending) explain(err error, printed *filter.Reader) error {
	if err != nil && e.ended {
		if failed := printed.Finish(); failed != nil {
			return failed
		}
	}
	return err
}

// command is the one that prints a part, at a try from 1 on.
func (r *restorer) command(number, try int) filter.Command {
	p := r.plan.index.parts[number]
	label, name := manifest.SplitPart(p.Name)
	c := r.o.Source
	c.Env = append(slices.Clone(c.Env), "LABEL="+cmp.Or(label, r.plan.header.Label), "PART="+name, "KEY="+p.Key, "TRY="+strconv.Itoa(try))
	return c
}
