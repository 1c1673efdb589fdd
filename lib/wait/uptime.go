package wait

import (
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the time since the machine was started. Nobody can set that clock, it
// goes on while the machine sleeps, and all processes see the same.
func Uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux that runs this has it
	}
	return time.Duration(t.Nano())
}
