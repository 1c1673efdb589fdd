package model

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// progressEvery is how often a long run says how far it is.
const progressEvery = time.Minute

// runMany runs the schedules of consecutive seeds for a time.
func runMany(t *testing.T, first uint64, limit time.Duration) {
	var next, done, calls atomic.Uint64
	next.Store(first)
	start := time.Now()
	spoke := start
	var speaking sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for time.Since(start) < limit && !t.Failed() {
				seed := next.Add(1) - 1
				w, err := run(seed)
				if err != nil {
					t.Errorf("%v\nschedule:\n%s\nagain: go test ./test/model -run Schedules -seed %d", err, strings.Join(w.log, "\n"), seed)
				}
				done.Add(1)
				calls.Add(w.calls)
				speaking.Lock()
				if time.Since(spoke) > progressEvery {
					spoke = time.Now()
					t.Logf("%s: %d schedules, %d calls", time.Since(start).Round(time.Second), done.Load(), calls.Load())
				}
				speaking.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d schedules, %d calls", done.Load(), calls.Load())
	if done.Load() == 0 {
		t.Error("no schedule was run")
	}
}

// run runs the schedule of a seed and returns what is left of its world: the
// log. The error says what did not hold.
func run(seed uint64) (w *world, err error) {
	finished := make(chan struct{})
	go func() { // a thread of its own, which sees file systems that nobody else sees
		defer close(finished)
		private := unshare()
		w = newWorld(seed, private)
		defer func() {
			switch v := recover().(type) {
			case nil:
			case violation:
				err = fmt.Errorf("seed %d, step %d: %s", seed, w.step, string(v))
			default:
				panic(v)
			}
			err = errors.Join(err, w.end())
		}()
		w.play()
	}()
	<-finished
	return w, err
}

// A violation is what did not hold.
type violation string

// fail ends the schedule.
func (w *world) fail(format string, args ...any) {
	panic(violation(fmt.Sprintf(format, args...)))
}

// must is for what the test itself does.
func (w *world) must(err error) {
	if err != nil {
		w.fail("the test itself: %v", err)
	}
}

// play is the schedule: random steps, then everything is made healthy, and what
// is left to do must be done without a failure.
func (w *world) play() {
	steps := 8 + w.chance.IntN(20)
	for w.step = 1; w.step <= steps; w.step++ {
		// The decisions of a step do not depend on how long others took.
		w.chance = rand.New(rand.NewPCG(w.seed, uint64(w.step)))
		w.pick()()
	}
	w.chance = rand.New(rand.NewPCG(w.seed, uint64(w.step)))
	w.heal()
	for _, h := range w.hosts {
		w.drain(h)
	}
	w.finalGets()
	w.settle()
}
