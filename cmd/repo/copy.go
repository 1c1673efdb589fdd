package main

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"pgpipes/lib/cli"
	"pgpipes/lib/transfer"
)

var copyOptions struct {
	Jobs    cli.Jobs `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"how many objects to copy at once; one a core by default, and one more"`
	Backup  string   `long:"backup" value-name:"LABEL" description:"only this backup, and what it needs"`
	Compare bool     `long:"compare" description:"read also what is there already in the same size, and say what differs"`
}

// runCopy copies what one repository has and another has not.
func runCopy(ctx context.Context, p *cli.Process, operands []string) error {
	from, err := cli.OpenRepository(ctx, operands[0])
	if err != nil {
		return err
	}
	to, err := cli.OpenRepositoryFor(ctx, operands[1], from.Cluster)
	if err != nil {
		return err
	}
	if from.ID == to.ID {
		return cli.Usagef("%s and %s are one repository", operands[0], operands[1])
	}
	if label := copyOptions.Backup; label != "" {
		if _, err := from.Header(ctx, label); err != nil {
			return fmt.Errorf("backup %s: %w", label, err)
		}
	}
	var objects, bytes atomic.Int64
	t := transfer.Transfer{From: from, To: to, Jobs: copyOptions.Jobs.Or(runtime.GOMAXPROCS(0) + 1), Backup: copyOptions.Backup, Compare: copyOptions.Compare, Copied: func(key string, size int64) {
		objects.Add(1)
		bytes.Add(size)
		p.Verbosef("%s: copied", key)
	}}
	err = t.Run(ctx)
	p.Verbosef("%d objects copied, %d bytes", objects.Load(), bytes.Load())
	if err != nil && ctx.Err() == nil && transfer.OnlyLost(err) {
		return cli.Hint(cli.No(err), "all else is in %s; put back what is damaged or lost in %s from elsewhere, or give up there the backups that need it: repo rm base/LABEL/manifest, also of the increments that use their parts and are not copied without them", to.Location, from.Location)
	}
	return cli.Failure(err)
}
