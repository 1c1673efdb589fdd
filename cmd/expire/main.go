// Expire removes from a repository what its retention policy does not keep.
package main

import (
	"context"
	"fmt"
	"time"

	"pgpipes/lib/cli"
	"pgpipes/lib/retain"
)

// abandoned is the age at which a backup that was begun and never completed is
// taken for dead, if a later one was completed.
const abandoned = 48 * time.Hour

var options struct {
	cli.Repositories
	KeepLast int  `long:"keep-last" env:"PGPIPES_KEEP_LAST" value-name:"N" description:"keep the last N complete backups"`
	DryRun   bool `short:"n" long:"dry-run" description:"print what would be done, and do nothing"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "expire",
		Summary: "Remove backups that no rule keeps, and WAL that no kept backup needs.",
		Description: `Prints a line for every backup and every run of WAL:

  keep|drop  backup|wal|gap|part  NAME  reason        (tab-separated)

Without a rule nothing is removed. The newest complete backup never is, nor
are pinned ones, those in progress, WAL that a kept backup needs to get to the
end of any timeline, and timeline histories. A backup whose parts a kept one
uses, or one in progress, is kept with it. A part that the manifest of its
backup does not name is what a failed try has left, and goes. A backup's
manifest goes first, and before that of its parent, so that what is listed can
be restored at any moment.`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	if options.KeepLast < 0 {
		return cli.Usagef("--keep-last %d: a number of backups, 1 or more", options.KeepLast)
	}
	location, err := options.One()
	if err != nil {
		return err
	}
	r, err := cli.OpenRepository(ctx, location)
	if err != nil {
		return err
	}
	e, err := r.Decide(ctx, retain.Policy{KeepLast: options.KeepLast, Abandoned: abandoned}, time.Now())
	if err != nil {
		return err
	}
	for _, d := range e.Decisions {
		if _, err := fmt.Fprintln(p.Text, d); err != nil {
			return err
		}
	}
	if err := p.Text.Flush(); err != nil || options.DryRun {
		return err // what is said before it is done is known also if this is killed
	}
	return e.Apply(ctx, func(err error) { p.Warnf("%v", err) })
}
