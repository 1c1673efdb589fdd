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
	caught  atomic.Int32
	dog     *watchdog
	arrived chan os.Signal
	ended   chan struct{} // closed when no more are waited for
}

func watchSignals(cancel context.CancelCauseFunc, dog *watchdog) *signals {
	s := &signals{dog: dog, arrived: make(chan os.Signal, 1), ended: make(chan struct{})}
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(s.arrived, sig)
		}
	}
	go func() {
		defer close(s.ended)
		for sig := range s.arrived {
			s.caught.Store(int32(sig.(unix.Signal)))
			breakOff(cancel, nil)
			s.dieIfAny()
		}
	}()
	return s
}

// letThrough has signals end the process at once from now on. It does not return if
// one has come before.
func (s *signals) letThrough() {
	signal.Stop(s.arrived)
	close(s.arrived)
	<-s.ended
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
