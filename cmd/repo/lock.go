package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/lock"
	"pgpipes/lib/pgdata"
)

var initOptions struct {
	Data string `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory of the cluster it is for"`
}

func runInit(ctx context.Context, _ *cli.Process, _ []string) error {
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
	_, err = cli.OpenRepositoryFor(ctx, location, archive.ClusterOf(control))
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
	// Its arguments may be secrets, and who holds a lock is for all to see.
	err = takeLock(ctx, p, r, name, argv[0])
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

// takeLock takes a lock for this process and what it becomes.
func takeLock(ctx context.Context, p *cli.Process, r *archive.Repo, name, command string) error {
	files, able := r.Store.(lock.Files)
	if !able {
		return takeLease(ctx, p, r, name, command, lockOptions.Wait)
	}
	begun := time.Now()
	l, err := lock.AcquireIn(ctx, files, name, command, lockOptions.Wait)
	if err != nil {
		return err
	}
	leased, err := lock.Leased(ctx, r.Store, name)
	switch {
	case err != nil:
		return err
	case leased:
		err = takeLease(ctx, p, r, name, command, lockOptions.Wait-time.Since(begun))
	default:
		err = os.Unsetenv(leaseSetting) // of another repository
	}
	if err != nil {
		return err
	}
	return l.Inherit() // and the keeper of the lease has not
}
