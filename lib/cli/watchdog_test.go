package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

func TestBounds(t *testing.T) {
	unset(t, "PGPIPES_TIMEOUT")
	const minute = time.Minute
	for _, test := range []struct {
		program Program
		args    string
		want    bounds
	}{
		{Program{}, "", bounds{10 * minute, 0}},
		{Program{Timeout: minute}, "", bounds{minute, 0}},
		{Program{Server: true}, "", bounds{minute, minute}},
		{Program{Server: true, Timeout: 2 * minute}, "", bounds{2 * minute, 2 * minute}},
		{Program{}, "--timeout 300ms", bounds{300 * time.Millisecond, 300 * time.Millisecond}},
		{Program{Server: true, Timeout: 2 * minute}, "--timeout 1h", bounds{time.Hour, time.Hour}},
		{Program{Server: true}, "--timeout 0", bounds{}},
		{Program{}, "--timeout=0s", bounds{}},
	} {
		p, _ := printing("x")
		p.dog.set(test.program.usualBounds())
		test.program.Run = nothing
		err := test.program.run(t.Context(), p, strings.Fields(test.args))
		if got := *p.dog.bounds.Load(); err != nil || got != test.want {
			t.Errorf("%+v %s: %+v, %v; want %+v", test.program, test.args, got, err, test.want)
		}
	}
	for _, args := range []string{"--timeout=-1s", "--timeout=1", "--timeout=soon", "--timeout="} {
		p, _ := printing("x")
		program := Program{Action: Action{Run: nothing}}
		if err := program.run(t.Context(), p, []string{args}); status(err) != statusUsage {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestTimeoutFromTheEnvironment(t *testing.T) {
	t.Setenv("PGPIPES_TIMEOUT", "7s")
	p, _ := printing("x")
	program := Program{Action: Action{Run: nothing}}
	if err := program.run(t.Context(), p, nil); err != nil || *p.dog.bounds.Load() != (bounds{7 * time.Second, 7 * time.Second}) {
		t.Errorf("%+v, %v", *p.dog.bounds.Load(), err)
	}
}

func TestHelpNamesTheBounds(t *testing.T) {
	for want, program := range map[string]Program{
		"(default: 10m, standard streams any time)": {},
		"(default: 1m)":  {Server: true},
		"(default: 90s,": {Timeout: 90 * time.Second},
	} {
		p, out := printing("x")
		if err := errors.Join(program.run(t.Context(), p, []string{"--help"}), p.Text.Flush()); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(out.String()), " ")
		if want = strings.ReplaceAll(want, "90s", "1m30s"); !strings.Contains(got, want) || !strings.Contains(got, "PGPIPES_TIMEOUT") {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// watching starts a watchdog and returns what it will say.
func watching(d *watchdog) <-chan *lateError {
	late := make(chan *lateError, 1)
	go func() { late <- d.run() }()
	synctest.Wait()
	return late
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newWatchdog()
		d.set(bounds{request: time.Minute})
		ctx := wait.WithWatch(t.Context(), &d.watch)
		said := watching(d)
		start := time.Now()
		for range 50 { // many short ones, one after the other and side by side
			outer := wait.For(ctx, "short")
			time.Sleep(40 * time.Second)
			inner := wait.For(ctx, "other")
			outer()
			time.Sleep(50 * time.Second)
			inner()
		}
		if len(said) > 0 {
			t.Fatalf("late after %s: %v", time.Since(start), <-said)
		}
		start = time.Now()
		defer wait.For(ctx, "reading X in /backup/pg")()
		time.Sleep(30 * time.Second)
		defer wait.For(ctx, "a later one")()
		late := <-said
		if got := late.Error(); got != "reading X in /backup/pg took longer than 1m" || time.Since(start) != time.Minute {
			t.Errorf("%s after %s", got, time.Since(start))
		}
	})
}

func TestWatchdogKnowsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newWatchdog()
		d.set(bounds{request: time.Minute})
		r, w := io.Pipe()
		defer w.Close()
		go io.Copy(io.Discard, d.watch.Operation(wait.Stream, "reading standard input").Reader(r))
		said := watching(d)
		time.Sleep(24 * time.Hour)
		if len(said) > 0 {
			t.Fatal(<-said)
		}
		d.set(bounds{time.Minute, time.Second}) // which has passed
		start := time.Now()
		if late := <-said; late.Error() != "reading standard input took longer than 1s" || time.Since(start) > 0 {
			t.Errorf("%v after %s", late, time.Since(start))
		}
	})
}

// A process that was stopped has not waited while it was.
func TestWatchdogForgivesAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newWatchdog()
		d.set(bounds{request: time.Minute})
		defer wait.For(wait.WithWatch(t.Context(), &d.watch), "x")()
		time.Sleep(time.Hour) // the watchdog does not run yet
		if late, _ := d.look(time.Now().Add(-59 * time.Second)); late != nil {
			t.Error(late)
		}
		if late, _ := d.look(time.Now().Add(-time.Minute)); late == nil {
			t.Error("not late")
		}
	})
}

// What became of the work after it was broken off is no answer.
func TestOutcome(t *testing.T) {
	late := &lateError{"reading X", time.Second, wait.Request}
	broken := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	absent := fmt.Errorf("X: %w", store.ErrNotExist)
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		want string
	}{
		{"nothing happened", t.Context(), nil, ""},
		{"an error", t.Context(), absent, absent.Error()},
		{"a signal", broken(nil), context.Canceled, "context canceled"},
		{"late, and done all the same", broken(late), nil, ""},
		{"late", broken(late), fmt.Errorf("query: %w", context.Canceled), late.Error()},
		{"late, as the cause says", broken(late), fmt.Errorf("query: %w", late), late.Error()},
		{"late, and another error", broken(late), absent, late.Error() + " (" + absent.Error() + ")"},
	} {
		err := outcome(test.ctx, test.err)
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if isLate := errors.As(err, new(*lateError)); isLate && status(err) != statusFailure {
			t.Errorf("%s: status %d", test.name, status(err))
		}
	}
}

func TestVerdict(t *testing.T) {
	program := Program{Verdict: No}
	for _, test := range []struct {
		err    error
		status int
	}{
		{nil, statusDone},
		{errors.New("x"), statusNo},
		{&lateError{"x", time.Second, wait.Request}, statusNo},
		{Failure(errors.New("x")), statusFailure},
		{fmt.Errorf("x: %w", Usagef("y")), statusUsage},
	} {
		if got := status(program.judge(test.err)); got != test.status {
			t.Errorf("%v: %d, want %d", test.err, got, test.status)
		}
	}
	if err := errors.New("x"); (&Program{}).judge(err) != err {
		t.Error("judged by nobody")
	}
}
