package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"pgpipes/lib/wait"
)

// How long one operation may take, unless the user or the program says
// otherwise. A server that runs a program is held up by it.
const (
	defaultTimeout = 10 * time.Minute
	serverTimeout  = time.Minute
)

// bounds say how long an operation of each kind may take, 0 for any time.
type bounds struct{ request, stream time.Duration }

// usualBounds are those of the program. By itself only one that a server runs
// does not wait long for a standard stream: the other stages of a pipeline have
// bounds of their own, and may honestly take their time.
func (g *Program) usualBounds() bounds {
	if g.Server {
		own := cmp.Or(g.Timeout, serverTimeout)
		return bounds{own, own}
	}
	return bounds{request: cmp.Or(g.Timeout, defaultTimeout)}
}

// bound sets what --timeout asks for, if it was given.
func (g *Program) bound(d *watchdog, asked *time.Duration) error {
	if asked == nil {
		return nil
	}
	if *asked < 0 {
		return Usagef("--timeout %s: not a time; 0 is for any time", *asked)
	}
	d.set(bounds{*asked, *asked})
	return nil
}

// String is for --help.
func (b bounds) String() string {
	if b.stream == 0 {
		return shortTime(b.request) + ", standard streams any time"
	}
	return shortTime(b.request)
}

// shortTime is a time without the zeros behind whole minutes.
func shortTime(d time.Duration) string {
	if text, found := strings.CutSuffix(d.String(), "m0s"); found {
		return text + "m"
	}
	return d.String()
}

// lateError says that something took longer than it may.
type lateError struct {
	what  string
	bound time.Duration
	kind  wait.Kind
}

func (e *lateError) Error() string {
	return fmt.Sprintf("%s took longer than %s", e.what, shortTime(e.bound))
}

// Timeout marks it as errors of the net package are, unless it was only a
// stream that nobody reads, say.
func (e *lateError) Timeout() bool { return e.kind == wait.Request }

// Hint implements what errors with a way out have.
func (e *lateError) Hint() string {
	return "if it only needs more time: --timeout TIME, 0 for any time"
}

// A watchdog looks for operations that take too long.
type watchdog struct {
	watch   wait.Watch
	bounds  atomic.Pointer[bounds]
	changed chan struct{}
}

func newWatchdog() *watchdog {
	d := &watchdog{changed: make(chan struct{}, 1)}
	d.set(bounds{})
	return d
}

// set changes the bounds.
func (d *watchdog) set(b bounds) {
	d.bounds.Store(&b)
	select {
	case d.changed <- struct{}{}:
	default: // it has not even heard of an earlier change, or is not awake
	}
}

// run returns when an operation takes too long, and says which. It sleeps until
// the first moment when one can.
func (d *watchdog) run() *lateError {
	var awake time.Time // what began earlier counts from here
	for {
		late, due := d.look(awake)
		if late != nil {
			return late
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
			if time.Since(due) > unwind { // the process itself was stopped, and all it waits for with it
				awake = time.Now()
			}
		case <-d.changed:
			timer.Stop()
		}
	}
}

// look finds an operation that takes too long, or else the moment until which
// there can be none.
func (d *watchdog) look(awake time.Time) (late *lateError, due time.Time) {
	now := time.Now()
	b := *d.bounds.Load()
	due = now.Add(time.Hour)
	for kind, bound := range []time.Duration{wait.Request: b.request, wait.Stream: b.stream} {
		if bound == 0 {
			continue
		}
		what, since := d.watch.Longest(wait.Kind(kind))
		switch {
		case what == "": // one may begin in this moment
			since = now
		case since.Before(awake):
			since = awake
		}
		end := since.Add(bound)
		if !end.After(now) {
			return &lateError{what, bound, wait.Kind(kind)}, now
		}
		if end.Before(due) {
			due = end
		}
	}
	return nil, due
}

// hung reports whether something has been waited for since before the work was
// broken off.
func (d *watchdog) hung() bool {
	for _, kind := range []wait.Kind{wait.Request, wait.Patient} {
		if what, since := d.watch.Longest(kind); what != "" && time.Since(since) >= unwind {
			return true
		}
	}
	return false
}

// outcome is the error of a program's work, or the reason why that was broken
// off: what became of it then is a consequence, and no answer.
func outcome(ctx context.Context, err error) error {
	var late *lateError
	switch {
	case err == nil || !errors.As(context.Cause(ctx), &late):
		return err
	case errors.Is(err, context.Canceled), errors.As(err, new(*lateError)):
		return late
	}
	return fmt.Errorf("%w (%v)", late, err)
}
