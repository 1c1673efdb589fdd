package cli

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Another process is this test binary again, see TestSignalsAreNotLost.
const otherProcess = "CLI_TEST_SIGNAL"

// A signal that comes just when others are to have them all ends the process, before
// as after.
func TestSignalsAreNotLost(t *testing.T) {
	moment := os.Getenv(otherProcess)
	if moment != "" {
		s := watchSignals(func(error) {}, newWatchdog())
		if moment == "after" {
			s.letThrough()
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if moment == "before" {
			s.letThrough()
		}
		time.Sleep(time.Minute) // delivery is not instant
		os.Exit(0)
	}
	for _, moment := range []string{"before", "after"} {
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestSignalsAreNotLost$")
			cmd.Env = append(os.Environ(), otherProcess+"="+moment)
			err := cmd.Run()
			cancel()
			if ended, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ended.Signal() != syscall.SIGTERM {
				t.Fatalf("%s: %v", moment, err)
			}
		}
	}
}
