package wait_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgpipes/lib/wait"
)

// longest is what a watch says, with the time that has passed.
func longest(w *wait.Watch, kind wait.Kind) string {
	what, since := w.Longest(kind)
	if what == "" {
		return ""
	}
	return what + " " + time.Since(since).String()
}

func TestWatchNamesTheLongestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		ctx := wait.WithWatch(t.Context(), &w)
		expect := func(want string) {
			t.Helper()
			if got := longest(&w, wait.Request); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		expect("")
		first := wait.For(ctx, "first")
		time.Sleep(time.Second)
		second := wait.For(ctx, "second")
		time.Sleep(time.Second)
		third := wait.For(ctx, "third")
		expect("first 2s")
		second()
		expect("first 2s")
		first()
		expect("third 0s")
		third()
		expect("")
		third() // once more does no harm
		expect("")
	})
}

func TestWatchCountsEveryTurnAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		o := wait.On(wait.WithWatch(t.Context(), &w), "again")
		for range 3 {
			o.Begin()
			time.Sleep(time.Second)
			if got := longest(&w, wait.Request); got != "again 1s" {
				t.Errorf("%q", got)
			}
			o.End()
			time.Sleep(time.Hour)
		}
	})
}

func TestWatchKeepsKindsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		r, wr := io.Pipe()
		in := w.Operation(wait.Stream, "reading standard input").Reader(r)
		go io.Copy(io.Discard, in)
		synctest.Wait()
		time.Sleep(time.Minute)
		done := wait.For(wait.WithWatch(t.Context(), &w), "a request")
		defer done()
		if got := longest(&w, wait.Stream); got != "reading standard input 1m0s" {
			t.Errorf("%q", got)
		}
		if got := longest(&w, wait.Request); got != "a request 0s" {
			t.Errorf("%q", got)
		}
		wr.Close()
		synctest.Wait()
		if got := longest(&w, wait.Stream); got != "" {
			t.Errorf("%q after the end", got)
		}
	})
}

func TestWatchOfReadersAndWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		r, out := io.Pipe()
		writer := w.Operation(wait.Stream, "writing").Writer(out)
		go func() {
			io.WriteString(writer, "contents")
			out.Close()
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		if got := longest(&w, wait.Stream); got != "writing 1s" {
			t.Errorf("%q", got)
		}
		got, err := io.ReadAll(w.Operation(wait.Stream, "reading").Reader(r))
		if string(got) != "contents" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got := longest(&w, wait.Stream); got != "" {
			t.Errorf("%q after the end", got)
		}
	})
}

// Without a watch everything works, and costs nothing.
func TestNobodyWatches(t *testing.T) {
	var w wait.Watch
	for name, ctx := range map[string]context.Context{"none": t.Context(), "nil": wait.WithWatch(t.Context(), nil)} {
		done := wait.For(ctx, "x")
		if got, _ := w.Longest(wait.Request); got != "" {
			t.Errorf("%s: %q", name, got)
		}
		done()
		o := wait.On(ctx, "x")
		o.Begin()
		o.End()
		text, err := io.ReadAll(o.Reader(strings.NewReader("contents")))
		if string(text) != "contents" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		var b strings.Builder
		if _, err := io.WriteString(o.Writer(&b), "contents"); b.String() != "contents" || err != nil {
			t.Errorf("%s: %q, %v", name, b.String(), err)
		}
	}
}

func TestPatientOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		ctx := wait.WithWatch(wait.WithWatch(t.Context(), &w), nil)
		done := wait.For(ctx, "x")
		time.Sleep(time.Second)
		if got := longest(&w, wait.Request); got != "" {
			t.Errorf("%q is counted", got)
		}
		if got := longest(&w, wait.Patient); got != "x 1s" {
			t.Errorf("%q", got)
		}
		done()
		if got := longest(&w, wait.Patient); got != "" {
			t.Errorf("%q after the end", got)
		}
	})
}

func TestSparedOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wait.Watch
		ctx, blame := wait.Spared(wait.WithWatch(t.Context(), &w))
		done := wait.For(ctx, "x")
		time.Sleep(time.Second)
		if request, patient := longest(&w, wait.Request), longest(&w, wait.Patient); request != "" || patient != "x 1s" {
			t.Errorf("%q as a request, %q as a patient one", request, patient)
		}
		blame()
		if request, patient := longest(&w, wait.Request), longest(&w, wait.Patient); request != "x 1s" || patient != "" {
			t.Errorf("then %q as a request, %q as a patient one", request, patient)
		}
		done()
		if got := longest(&w, wait.Request); got != "" {
			t.Errorf("%q after the end", got)
		}
	})
}

func TestWatchIsCheap(t *testing.T) {
	var w wait.Watch
	ctx := wait.WithWatch(t.Context(), &w)
	o := wait.On(ctx, "x")
	if n := testing.AllocsPerRun(1000, func() { o.Begin(); o.End() }); n > 0 {
		t.Errorf("%v allocations for a turn of an operation", n)
	}
	if n := testing.AllocsPerRun(1000, func() { wait.For(ctx, "x")() }); n > 2 {
		t.Errorf("%v allocations for an operation", n)
	}
}

func TestWatchFromManyGoroutines(t *testing.T) {
	var w wait.Watch
	ctx := wait.WithWatch(t.Context(), &w)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				done := wait.For(ctx, "x")
				if what, since := w.Longest(wait.Request); what != "x" || since.IsZero() {
					t.Errorf("%q since %s", what, since)
				}
				done()
			}
		})
	}
	all.Wait()
	if what, _ := w.Longest(wait.Request); what != "" {
		t.Errorf("%q is left", what)
	}
}
