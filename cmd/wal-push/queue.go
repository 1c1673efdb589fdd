package main

import (
	"context"
	"errors"
	"sync"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/push"
	"pgpipes/lib/state"
	"pgpipes/lib/wal"
)

// queue is what is done about a queue of WAL that no repository takes.
type queue struct {
	QueueMax cli.Size `long:"queue-max" env:"PGPIPES_QUEUE_MAX" value-name:"SIZE" description:"when more than SIZE (as in 10GiB) waits in pg_wal and a repository cannot take it, DROP it, and point-in-time recovery across it, to save the server; by default nothing ever is"`
}

// guard drops what does not fit in the queue. Without a state directory it can
// drop nothing.
func (q queue) guard(p *cli.Process, s *state.Dir, locations []string) push.Guard {
	return push.Guard{Max: int64(q.QueueMax), State: s, Locations: locations, Warn: func(err error) { p.Warnf("%v", err) }}
}

// dropped says whether the guard has dropped the file. It is locked while that
// is being decided.
var dropped struct {
	sync.Mutex
	yes bool
}

// afterPush has the guard decide what a failed push means.
func afterPush(ctx context.Context, g push.Guard, path string, name wal.Name, cluster *archive.Cluster, outcomes push.Outcomes) error {
	dropped.Lock()
	defer dropped.Unlock()
	err := g.After(ctx, path, name, cluster, outcomes)
	if errors.Is(err, push.ErrUnrecorded) {
		return cli.Hint(err, "--queue-max needs a state directory that can be written, on a disk with room: --state DIR")
	}
	dropped.yes = err == nil && outcomes.Err() != nil
	return cli.RepositoryHint(err)
}

// verdict is success when the file was dropped while the process was already
// being ended for having waited too long.
func verdict(err error) error {
	dropped.Lock()
	defer dropped.Unlock()
	if dropped.yes {
		return nil
	}
	return err
}
