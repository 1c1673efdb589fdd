// Expire removes from a repository what its retention policy does not keep.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/lock"
	"pgpipes/lib/retain"
)

func main() {
	cli.Main(cli.Program{
		Name:    "expire",
		Summary: "Remove backups that no rule keeps, and WAL that no kept backup needs.",
		Description: `Prints a line for every backup, every run of WAL, and some more:

  keep|drop  backup|wal|partial|gap|hole|part|restore|record  NAME  reason

with tabs between. Of parts and records only those are named that go.

A backup that any rule keeps stays; without a rule nothing is removed. The newest
complete backup never is, nor the newest from which the newest timeline can be
reached, nor are pinned ones (manifest keep), those being restored or in progress,
WAL that a kept backup needs, and timeline histories. A backup whose parts a kept
one uses is kept with it.

With --wal-keep 7d a recovery to any moment is possible for seven days: WAL is
whole from the newest backup on that ended before that. Older backups keep what
they need to be restored to their own end; what lies between is removed and
recorded as a known hole (hole/FIRST-LAST).

A backup without a manifest is taken for abandoned when a newer one is complete and
nothing was stored of it for two days. --abandon LABEL says so of one at once, and
alone: no rule is applied then. It stays all the same if it is complete by now, or
pinned, or another one uses its parts, be that complete or under way.

A part that the manifest of its backup does not name is what a failed try has
left, and goes when it is two days old. Records of verifications and drills go after
400 days, but for the last that say all. A backup's manifest goes first, and before
that of its parent, so that what is listed can be restored at any moment.

While it works it holds the lock expire in the repository, as repo lock has it: a
second one is busy, status 1, and told who has it. A dry run takes none.

  expire -r /backup/pg/main --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --wal-keep 14d`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	policy, err := policy()
	if err != nil {
		return err
	}
	location, err := options.One()
	if err != nil {
		return err
	}
	r, err := cli.OpenRepository(ctx, location)
	if err != nil {
		return err
	}
	work := func(ctx context.Context) error { return expire(ctx, p, r, policy) }
	if options.DryRun || options.Explain != "" {
		return work(ctx)
	}
	return lock.Hold(ctx, r.Store, lockName, "expire", options.Wait, work)
}

// lockName is the lock that keeps a second one out: what one has decided holds
// only while no other removes anything.
const lockName = "expire"

// expire decides, says what, and does it.
func expire(ctx context.Context, p *cli.Process, r *archive.Repo, policy retain.Policy) error {
	e, err := r.Decide(ctx, policy, time.Now())
	if err != nil {
		return hinted(err)
	}
	if options.Explain != "" {
		return explain(p, e, options.Explain)
	}
	for _, d := range e.Decisions {
		if _, err := fmt.Fprintln(p.Text, d); err != nil {
			return err
		}
	}
	if err := p.Text.Flush(); err != nil || options.DryRun {
		return err // what is said before it is done is known also if this is killed
	}
	return e.Apply(ctx, jobs(), func(err error) { p.Warnf("%v", err) })
}

// hinted says how to go on without a backup that is damaged.
func hinted(err error) error {
	var broken *archive.NotWhole
	if !errors.As(err, &broken) || !errors.Is(err, archive.ErrDamaged) && !errors.Is(err, archive.ErrHole) {
		return err
	}
	gone := "/manifest"
	if !broken.Complete {
		gone = "/start"
	}
	hint := fmt.Sprintf("manifest verify says more; repo rm base/%s%s gives the backup up", broken.Label, gone)
	if users := broken.NeededBy; len(users) > 0 {
		hint += fmt.Sprintf(": its parts stay as long as there is %s, which needs them", strings.Join(users, ", "))
	}
	return cli.Hint(err, "%s", hint)
}

// explain prints what each rule says of a backup, who needs it, what WAL is kept
// for it, and what that comes to.
func explain(p *cli.Process, e *archive.Expiry, label string) error {
	x, err := e.Explain(label)
	if errors.Is(err, archive.ErrNoBackup) {
		return cli.No(err)
	}
	if err != nil {
		return err
	}
	for _, v := range x.Rules {
		says := "no"
		if v.Keep {
			says = "keep"
		}
		fmt.Fprintf(p.Text, "rule\t%s\t%s\n", says, v.Why)
	}
	for _, other := range x.NeededBy {
		fmt.Fprintf(p.Text, "needed-by\t%s\n", other)
	}
	for _, d := range x.WAL {
		fmt.Fprintf(p.Text, "wal\t%s\n", d.Name)
	}
	_, err = fmt.Fprintln(p.Text, x.Decision)
	return err
}
