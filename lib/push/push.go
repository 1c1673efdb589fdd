// Package push is what a call of an archive_command does: it stores a WAL file in
// every repository, unless the server is still writing it (finished), and those that
// follow it ahead of time (ahead, notes), and saves the server's disk when a repository
// cannot take its WAL (queue, dropped).
package push

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// A Pusher stores WAL files as one call of an archive_command does.
type Pusher struct {
	Locations []string
	Codec     codec.Options
	Retry     time.Duration // go on trying for so long
	// Ahead is how many of the segments that follow, and that the server wants
	// archived too, are stored in the same call; State remembers them for the
	// calls that will ask for them. With State nil there are none.
	Ahead int
	State *state.Dir
	// Reached, if not nil, is called with every repository that was opened,
	// before anything is stored in it, from several goroutines.
	Reached func(context.Context, *archive.Repo)
}

// An Outcome is what became of a file in one repository.
type Outcome struct {
	Location string
	Repo     *archive.Repo // nil if it could not be opened
	Err      error
	object   store.Info // what holds the file
	noted    bool       // it was there already, stored ahead
}

// Outcomes are those of all repositories.
type Outcomes []Outcome

// Err is nil if every repository has the file.
func (o Outcomes) Err() error {
	var failed []error
	for _, one := range o {
		failed = append(failed, one.Err)
	}
	return errors.Join(failed...)
}

// Push stores a WAL file, which the caller has inspected, in every repository,
// all at once. One that fails or is slow keeps neither the file from the others
// nor, as far as that may be stored ahead, what follows it.
// Repositories that are not there yet are made for cluster; a nil cluster (a
// timeline history from a pipe) needs one that is there.
//
// The same contents there already, in whatever codec, are success. Other
// contents are store.ErrDiffers. A repository that does not answer is not waited
// for when ctx has ended: its error is the cause of that.
func (p *Pusher) Push(ctx context.Context, cluster *archive.Cluster, n wal.Name, s *archive.Source) Outcomes {
	id := identity(s)
	lacking, haveIt := context.WithCancel(ctx) // ends when all have it
	defer haveIt()
	var have atomic.Int64
	var further sync.WaitGroup
	outcomes := p.pushToAll(ctx, func(location string) Outcome {
		o := p.pushTo(ctx, location, cluster, n, s, id)
		if o.Err == nil && have.Add(1) == int64(len(p.Locations)) {
			haveIt()
		}
		if o.Err == nil && o.noted {
			further.Go(func() {
				if wait.Sleep(lacking, slow) {
					p.goOn(lacking, o.Repo, cluster, n, s)
				}
			})
		}
		return o
	})
	everywhere := outcomes.Err() == nil
	for _, o := range outcomes {
		switch {
		case o.Err == nil && everywhere:
			notesOf(p.State, o.Repo).remove(n)
		case o.Err == nil: // it will be asked for again, for the others
			_ = notesOf(p.State, o.Repo).add(n, id, o.object)
		}
	}
	if ctx.Err() == nil {
		awaitUnless(lacking, &further)
	}
	return outcomes
}

// slow is how long one repository waits for the others before it goes on.
const slow = time.Second

// awaitUnless waits for what is under way. When ctx ends that has a moment to clean
// up after itself.
func awaitUnless(ctx context.Context, working *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(slow):
	}
}

// grace is how long a push that was broken off has to say so.
const grace = 100 * time.Millisecond

// pushToAll calls do for all locations at once.
func (p *Pusher) pushToAll(ctx context.Context, do func(location string) Outcome) Outcomes {
	late, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, giveUp) })()
	answers := make([]chan Outcome, len(p.Locations))
	for i, location := range p.Locations {
		answers[i] = make(chan Outcome, 1)
		go func() { answers[i] <- do(location) }()
	}
	outcomes := make(Outcomes, len(p.Locations))
	for i, location := range p.Locations {
		select {
		case outcomes[i] = <-answers[i]:
		case <-late.Done():
			outcomes[i] = Outcome{Location: location, Err: fmt.Errorf("%s: %w", location, context.Cause(ctx))}
		}
	}
	return outcomes
}

func (p *Pusher) pushTo(ctx context.Context, location string, cluster *archive.Cluster, n wal.Name, s *archive.Source, id string) Outcome {
	o := Outcome{Location: location}
	o.Err = wait.Retry(ctx, p.Retry, mayPass, func() (err error) {
		if o.Repo == nil {
			if o.Repo, err = openMaybeFor(ctx, location, cluster); err != nil {
				return err
			}
		}
		if p.Reached != nil {
			p.Reached(ctx, o.Repo)
		}
		if o.noted = p.noted(ctx, o.Repo, n, id); o.noted {
			return nil // it was just seen there
		}
		o.object, err = p.convoy(o.Repo, cluster, n, s).gather(p.Ahead).run(ctx)
		if err == nil { // it is not in something else that is there by now
			err = o.Repo.StillThere(ctx)
		}
		return err
	})
	return o
}

// notePatience is how long the notes may take to answer: they only save time.
const notePatience = 2 * time.Second

// noted reports whether a file is known to be stored.
func (p *Pusher) noted(ctx context.Context, r *archive.Repo, n wal.Name, id string) bool {
	answer := make(chan bool, 1)
	wait.Within(notePatience, func() {
		answer <- notesOf(p.State, r).has(wait.WithWatch(ctx, nil), r, n, id)
	})
	select {
	case yes := <-answer:
		return yes
	default:
		return false
	}
}

// mayPass reports whether a failure to store may pass.
func mayPass(err error) bool {
	for _, final := range []error{store.ErrDiffers, store.ErrLocation, store.ErrOverwrites, archive.ErrForeign, archive.ErrFormat} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

func openMaybeFor(ctx context.Context, location string, cluster *archive.Cluster) (*archive.Repo, error) {
	if cluster == nil {
		return archive.Open(ctx, location)
	}
	return archive.OpenFor(ctx, location, *cluster)
}
