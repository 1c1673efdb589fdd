// Expire removes from a repository what its retention policy does not keep.
package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/expire"
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

Nothing is removed while a complete backup lacks parts, or WAL that it needs, or its
manifest is damaged: status 111, of a dry run too. If anything is to go, the
manifests of all complete backups that stay are read to their last lines before; of
one that goes the header is enough.

With --wal-keep 7d a recovery to any moment is possible for seven days: WAL is
whole from the newest backup on that ended before that. Older backups keep what
they need to be restored to their own end; what lies between is removed and
recorded as a known hole (hole/FIRST-LAST).

A backup without a manifest is taken for abandoned when a newer one is complete and
nothing was stored of it for two days. --abandon LABEL says so of one at once, and
alone: no rule is applied then. It stays all the same if it is complete by now, or
pinned, or another one uses its parts, be that complete or under way.

A part that the manifest of its backup does not name is what a failed try has
left, and goes when it is two days old. Leases that a host has left which may not
remove anything go when a later one is there. Records of verifications and drills go after
400 days, but for the last that say all. A backup's manifest goes first, and before
that of its parent, so that what is listed can be restored at any moment.

While it works it holds the lock expire in the repository, as repo lock has it: a
second one is busy, status 1, and told who has it. A dry run takes none. While repo
copy brings backups there it has the lock for a moment for each: --wait 1m.

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
	work := func(ctx context.Context) error { return apply(ctx, p, r, policy) }
	if options.DryRun || options.Explain != "" {
		return work(ctx)
	}
	return lock.Hold(ctx, r.Store, archive.ExpireLock, "expire", options.Wait, work)
}

// apply decides by the policy, says what, and does it.
func apply(ctx context.Context, p *cli.Process, r *archive.Repo, policy retain.Policy) error {
	e, err := expire.Decide(ctx, r, policy, time.Now())
	if err != nil {
		return hinted(err)
	}
	if options.Explain != "" {
		return explain(p, e, options.Explain)
	}
	warnUnknown(p, e, policy.Abandon)
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

// warnUnknown tells of labels that may be mistyped.
func warnUnknown(p *cli.Process, e *expire.Expiry, labels []string) {
	for _, label := range labels {
		if !slices.ContainsFunc(e.Decisions, func(d retain.Decision) bool { return d.Kind == retain.KindBackup && d.Name == label }) {
			p.Warnf("there is nothing of a backup %s", label)
		}
	}
}
