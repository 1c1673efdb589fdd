package sshconn

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// A due context is one whose end is due, and comes a moment later.
type due struct{ context.Context }

func (due) Deadline() (time.Time, bool) { return time.Now(), true }

// What ended because it took too long says so, however close the race was.
func TestCauseOfWhatWasLate(t *testing.T) {
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(late) })
	if err := withCause(due{ctx}, io.ErrNoProgress); err != late {
		t.Error(err)
	}
}
