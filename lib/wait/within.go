package wait

import "time"

// Within does what is only of use if it is quick, and reports whether it was.
// Else it goes on by itself, and what it writes must not be looked at.
func Within(d time.Duration, do func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
