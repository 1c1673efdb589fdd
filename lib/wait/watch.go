package wait

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Watch knows what a process waits for, so that a wait without end can be
// ended and named. The zero Watch is ready for use, by any number of
// goroutines.
type Watch struct {
	mu    sync.Mutex
	under map[*Operation]struct{} // under way
}

// A Kind of operations has a bound of its own.
type Kind int

// The kinds of operations.
const (
	Request Kind = iota // something asked of a store, a file system or a server
	Stream              // a piece of a standard stream: the process at its other end decides how long it takes
	Patient             // what may honestly take any time
)

// An Operation is something that may take for ever, and may be done again and
// again by one goroutine at a time. A nil Operation is one that nobody watches.
type Operation struct {
	watch  *Watch
	kind   Kind
	spared *atomic.Bool // counts as patient while that is so; may be nil
	what   string
	since  time.Time
}

func (o *Operation) isOf(kind Kind) bool {
	if o.spared != nil && o.spared.Load() {
		return kind == Patient
	}
	return o.kind == kind
}

// Operation makes an operation. What it does is said as in "reading
// wal/history/00000002.history in /backup/pg".
func (w *Watch) Operation(kind Kind, what string) *Operation {
	return &Operation{watch: w, kind: kind, what: what}
}

// Begin says that the operation begins.
func (o *Operation) Begin() {
	if o == nil {
		return
	}
	o.watch.mu.Lock()
	defer o.watch.mu.Unlock()
	if o.watch.under == nil {
		o.watch.under = map[*Operation]struct{}{}
	}
	o.since = time.Now()
	o.watch.under[o] = struct{}{}
}

// End says that the operation has ended, well or not.
func (o *Operation) End() {
	if o == nil {
		return
	}
	o.watch.mu.Lock()
	defer o.watch.mu.Unlock()
	delete(o.watch.under, o)
}

// Longest is the operation of a kind that has been under way for longest, and
// since when; "" if there is none.
func (w *Watch) Longest(kind Kind) (what string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for o := range w.under {
		if o.isOf(kind) && (what == "" || o.since.Before(since)) {
			what, since = o.what, o.since
		}
	}
	return what, since
}

type watchKey struct{}

// watching is what a context knows: who watches, and as what.
type watching struct {
	watch  *Watch
	kind   Kind
	spared *atomic.Bool
}

func watchingIn(ctx context.Context) watching {
	w, _ := ctx.Value(watchKey{}).(watching)
	return w
}

// WithWatch returns a context whose operations w watches, as requests. With nil
// they are watched by whoever did so before, as patient ones.
func WithWatch(ctx context.Context, w *Watch) context.Context {
	as := watching{watch: w}
	if w == nil {
		as = watching{watch: watchingIn(ctx).watch, kind: Patient}
	}
	return context.WithValue(ctx, watchKey{}, as)
}

// Spared returns a context whose operations count as patient until blame is called,
// because others do the same meanwhile. Then they are what they were, since they
// began.
func Spared(ctx context.Context) (spared context.Context, blame func()) {
	as := watchingIn(ctx)
	as.spared = &atomic.Bool{}
	as.spared.Store(true)
	return context.WithValue(ctx, watchKey{}, as), func() { as.spared.Store(false) }
}

// On makes an operation for the watch of a context, nil if it has none.
func On(ctx context.Context, what string) *Operation {
	in := watchingIn(ctx)
	if in.watch == nil {
		return nil
	}
	o := in.watch.Operation(in.kind, what)
	o.spared = in.spared
	return o
}

// For tells the watch of a context that an operation begins, and returns what is to
// be called at its end:
//
//	defer wait.For(ctx, "listing wal/ in /backup/pg")()
func For(ctx context.Context, what string) (done func()) {
	o := On(ctx, what)
	o.Begin()
	return o.End
}

// Reader is r with every Read watched as the operation.
func (o *Operation) Reader(r io.Reader) io.Reader {
	if o == nil {
		return r
	}
	return watchedReader{r, o}
}

type watchedReader struct {
	r io.Reader
	o *Operation
}

func (w watchedReader) Read(p []byte) (int, error) {
	w.o.Begin()
	defer w.o.End()
	return w.r.Read(p)
}

// Writer is w with every Write watched as the operation.
func (o *Operation) Writer(w io.Writer) io.Writer {
	if o == nil {
		return w
	}
	return watchedWriter{w, o}
}

type watchedWriter struct {
	w io.Writer
	o *Operation
}

func (w watchedWriter) Write(p []byte) (int, error) {
	w.o.Begin()
	defer w.o.End()
	return w.w.Write(p)
}
