package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgpipes/lib/wait"
)

var errBroken = errors.New("broken")

func always(error) bool { return true }

// Time in these tests is a bubble's: it passes when nobody has anything to do.
func TestRetry(t *testing.T) {
	tests := []struct {
		name     string
		budget   time.Duration
		succeeds int // at which call; 0 never
		again    func(error) bool
		calls    int
		took     time.Duration
		err      error
	}{
		{"at once", time.Minute, 1, always, 1, 0, nil},
		{"at the third call", time.Minute, 3, always, 3, 150 * time.Millisecond, nil},
		{"no budget", 0, 0, always, 1, 0, errBroken},
		{"less than none", -time.Second, 0, always, 1, 0, errBroken},
		{"final error", time.Minute, 0, func(error) bool { return false }, 1, 0, errBroken},
		{"short budget", 120 * time.Millisecond, 0, always, 3, 120 * time.Millisecond, errBroken},
		// 50+100+200+400+800+1600 ms, then every 2 s, and a last call at the end
		{"long budget", 10 * time.Second, 0, always, 11, 10 * time.Second, errBroken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, calls := time.Now(), 0
				err := wait.Retry(t.Context(), test.budget, test.again, func() error {
					if calls++; calls == test.succeeds {
						return nil
					}
					return errBroken
				})
				if took := time.Since(start); err != test.err || calls != test.calls || took != test.took {
					t.Errorf("%d calls in %s: %v; want %d in %s: %v", calls, took, err, test.calls, test.took, test.err)
				}
			})
		})
	}
}

func TestRetryAsksAboutEveryError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fatal := errors.New("fatal")
		errs := []error{errBroken, errBroken, fatal, nil}
		calls := 0
		err := wait.Retry(t.Context(), time.Hour, func(err error) bool { return err != fatal }, func() error {
			calls++
			return errs[calls-1]
		})
		if err != fatal || calls != 3 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		err := wait.Retry(ctx, time.Hour, always, func() error { return errBroken })
		if took := time.Since(start); err != errBroken || took != 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !wait.Sleep(t.Context(), time.Second) || time.Since(start) != time.Second {
			t.Errorf("slept %s", time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if wait.Sleep(ctx, time.Hour) || time.Since(start) != time.Second {
			t.Errorf("slept although its context had ended")
		}
	})
}
