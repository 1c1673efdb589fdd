package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/lock"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/store"
)

var initOptions struct {
	Data string `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory of the cluster it is for"`
}

func runInit(ctx context.Context, p *cli.Process, _ []string) error {
	location, err := options.One()
	if err != nil {
		return err
	}
	if initOptions.Data == "" {
		return cli.Hint(cli.Usagef("for which cluster?"), "give -D DIR; or do nothing: the first wal-push makes the repository")
	}
	control, _, err := pgdata.ReadControl(initOptions.Data)
	if err != nil {
		return err
	}
	r, err := cli.OpenRepositoryFor(ctx, location, archive.ClusterOf(control))
	if err != nil {
		return err
	}
	return probe(ctx, p, r)
}

// probe warns of a server that cannot be relied on to overwrite nothing.
func probe(ctx context.Context, p *cli.Process, r *archive.Repo) error {
	s, able := r.Store.(interface {
		Probe(ctx context.Context) error
	})
	if !able {
		return nil
	}
	err := s.Probe(ctx)
	if errors.Is(err, store.ErrOverwrites) {
		p.Warnf("%v", err)
		p.Warnf("hint: add conditional=no to the location: it is asked before then, and only two who store at once can harm each other")
		return nil
	}
	return err
}

var lockOptions struct {
	Wait time.Duration `long:"wait" value-name:"TIME" description:"wait for a busy lock as long as this, such as 30s or 10m"`
}

// runLock takes the lock, leaves it open for the command, and becomes the
// command: its status, its signals and its death are the lock's.
func runLock(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	name, argv := operands[0], operands[1:]
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return cli.Mistake(err)
	}
	hold := takeLease
	if _, able := r.Store.(lock.Files); able {
		hold = lockFile
	}
	// Its arguments may be secrets, and who holds a lock is for all to see.
	err = hold(ctx, p, r, name, argv[0])
	if errors.Is(err, lock.ErrBusy) {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	if err == nil {
		err = ctx.Err() // a signal came meanwhile
	}
	if err != nil {
		return err
	}
	return p.Exec(path, argv)
}

// lockFile locks the file of a lock for this process and what it becomes.
func lockFile(ctx context.Context, _ *cli.Process, r *archive.Repo, name, command string) error {
	l, err := lock.AcquireIn(ctx, r.Store.(lock.Files), name, command, lockOptions.Wait)
	if err != nil {
		return err
	}
	return l.Inherit()
}
