package wait

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is the time since the machine was started. Nobody can set that clock, it
// goes on while the machine sleeps, and all processes see the same. Should there be
// none it is later than everything: a lease counts as lost then.
func Uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return math.MaxInt64 // every Linux that runs this has it
	}
	return time.Duration(t.Nano())
}
