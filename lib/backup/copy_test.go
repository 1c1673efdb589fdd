package backup

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A session is not broken off when all that is wanted is that nobody asks any more:
// it has to live on.
func TestWatchingRests(t *testing.T) {
	asked := make(chan struct{}, 1)
	watched, rest, stop := watchAlive(t.Context(), func(ctx context.Context) error {
		asked <- struct{}{}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Error("broken off")
		}
		return nil
	})
	defer stop()
	<-asked
	if rest(); watched.Err() != nil {
		t.Error(context.Cause(watched))
	}
}

// Who has failed does not wait for an answer, and a session that was lost ends all.
func TestWatchingEnds(t *testing.T) {
	asked := make(chan struct{}, 1)
	_, _, stop := watchAlive(t.Context(), func(ctx context.Context) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	<-asked
	stop()

	lost := errors.New("lost")
	watched, _, stop := watchAlive(t.Context(), func(context.Context) error { return lost })
	defer stop()
	if <-watched.Done(); !errors.Is(context.Cause(watched), lost) {
		t.Error(context.Cause(watched))
	}
}
