package cli

import (
	"cmp"
	"context"
	"os"
	"sync"
	"time"

	"pgpipes/lib/durable"
)

// unwind is how long a program has to end by itself when its work is broken
// off. One that is blocked in a system call cannot.
const unwind = 500 * time.Millisecond

// breakOff has the work end, and gives it time to.
func breakOff(cancel context.CancelCauseFunc, why error) {
	cancel(why)
	time.Sleep(unwind)
}

// clean removes temporary files, unless the file system does not answer, and
// makes sure that the process can end.
func clean(d *watchdog) {
	if d.hung() {
		letGo()
	}
	done := make(chan struct{})
	go func() {
		durable.RemoveTemporaries()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(unwind):
	}
}

// An ending is how the process ends: when its work is done, or when that waits
// too long for something. Signals, which win, have theirs.
type ending struct {
	program *Program
	process *Process
	cancel  context.CancelCauseFunc
	first   sync.Mutex // held by whoever ends the process, and never given up
}

// whenLate ends the process when an operation takes too long, as its error
// would. Nothing that may block for ever is waited for: neither the work nor
// somebody who reads messages.
func (e *ending) whenLate() {
	late := e.process.dog.run()
	breakOff(e.cancel, late)
	time.AfterFunc(2*unwind, func() {
		letGo()
		os.Exit(e.process.failure(cmp.Or(e.program.Failure, statusFailure)))
	})
	e.end(e.process.sayUnknown(e.program.judge(late)))
}

// end ends the process with what came of its work.
func (e *ending) end(err error) {
	e.first.Lock()
	e.process.signals.dieIfAny()
	status := e.process.report(err, e.program.Failure)
	clean(e.process.dog)
	os.Exit(status)
}
