// Package wait repeats what may succeed later, within a bound, watches what may
// never end, and holds up what goes too fast.
package wait

import (
	"context"
	"time"
)

const (
	firstPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
)

// Retry calls do until it succeeds, again says of its error that a further
// call cannot help, the budget is spent or ctx ends, and returns the last
// error of do. The pauses between calls grow from 50 ms to 2 s. A budget of
// zero or less is one call.
func Retry(ctx context.Context, budget time.Duration, again func(error) bool, do func() error) error {
	deadline := time.Now().Add(budget)
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		err := do()
		if err == nil || !again(err) {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 || !Sleep(ctx, min(pause, left)) {
			return err
		}
	}
}

// Sleep waits for d and reports whether ctx was still alive at its end.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
