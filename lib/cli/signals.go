package cli

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// signals makes HUP, INT, TERM and QUIT end the process in order: the context
// ends, temporary files are removed, and the process dies of the same signal,
// so that its parent sees the truth. HUP and INT stay ignored if they were at
// the start (nohup, the server's archiver); of others the runtime keeps no
// record. SIGPIPE is left alone.
type signals struct {
	caught atomic.Int32
	dog    *watchdog
}

func watchSignals(cancel context.CancelCauseFunc, dog *watchdog) *signals {
	s := &signals{dog: dog}
	arrived := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(arrived, sig)
		}
	}
	go func() {
		sig := (<-arrived).(unix.Signal)
		s.caught.Store(int32(sig))
		breakOff(cancel, nil)
		s.dieIfAny()
	}()
	return s
}

// dieIfAny ends the process by the signal that was caught, if one was.
func (s *signals) dieIfAny() {
	sig := unix.Signal(s.caught.Load())
	if sig == 0 {
		return
	}
	clean(s.dog)
	if sig != unix.SIGQUIT { // of which the runtime would make a crash
		signal.Reset(sig)
		_ = unix.Kill(os.Getpid(), sig)
		time.Sleep(time.Second) // delivery is not instant
	}
	os.Exit(128 + int(sig))
}
