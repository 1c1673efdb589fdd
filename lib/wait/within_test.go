package wait_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pgpipes/lib/wait"
)

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		did := false
		if !wait.Within(time.Second, func() { did = true }) || !did {
			t.Error("what is quick was not waited for")
		}
		start := time.Now()
		if wait.Within(time.Second, func() { time.Sleep(time.Minute) }) || time.Since(start) != time.Second {
			t.Errorf("what is slow was waited for: %s", time.Since(start))
		}
		synctest.Wait()
		time.Sleep(time.Minute)
	})
}
