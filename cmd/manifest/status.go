package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"pgpipes/lib/cli"
)

var statusOptions struct {
	BackupAge  limits `long:"backup-age" env:"PGPIPES_BACKUP_AGE" default:"26h,50h" value-name:"W[,C]" description:"how old the newest backup that can be recovered may be before that is a warning, and critical: 26h, 7d or 26h,50h; off for any age"`
	WALAge     limits `long:"wal-age" env:"PGPIPES_WAL_AGE" default:"off" value-name:"W[,C]" description:"likewise the newest WAL"`
	VerifyAge  limits `long:"verify-age" env:"PGPIPES_VERIFY_AGE" default:"off" value-name:"W[,C]" description:"likewise the last full manifest verify"`
	DrillAge   limits `long:"drill-age" env:"PGPIPES_DRILL_AGE" default:"off" value-name:"W[,C]" description:"likewise the last drill"`
	Prometheus bool   `long:"prometheus" description:"print metrics for Prometheus instead"`
	Now        string `long:"now" hidden:"true"`
}

var statusCommand = cli.Command{
	Name:    "status",
	Summary: "Say for a monitoring system how a repository is, as a plugin of Nagios does.",
	Description: `The first line says it, with data behind a bar; lines with details follow.

Critical are: no backup that can be recovered, a damaged one, one whose WAL is
missing, a hole in the WAL behind a backup (unless manifest accept-hole or expire
has accepted it), also if wal-push --queue-max has made it, a timeline without its
history, a last verification that found damage, a last drill that failed. A quick
verification does not make up for a full one. A warning is a backup that was
interrupted, and that a restore without --timeline does not use the newest one: the
newest timeline branched off before that. After a recovery to a moment make a new one;
otherwise a copy of the server has archived here. How old things may be is for the
options to say; where they do, what is from more than five minutes in the future is a
warning: a clock was wrong. --wal-age needs archive_timeout on the server: one that
has nothing to do ends no segment otherwise.

Whatever keeps status from telling, a backup that cannot be read and wrong usage too,
is 3, unless something is known to be critical, and is said on standard output as
well. Monitoring systems do not wait long: give --timeout 20s, or so.

With --prometheus it prints metrics for the textfile collector of node_exporter,
and the status is 0; the limits do not count. If the repository cannot be read
pgpipes_up is 0, and alone. Have it replace a whole file:

  manifest status -r /backup/pg/main --prometheus > x.$$ && mv x.$$ pgpipes.prom`,
	Options: &statusOptions, Action: cli.Action{Max: 0, Run: runStatus}, Unknown: cannotTell,
}

// looking says that the command line was right.
var looking atomic.Bool

func runStatus(ctx context.Context, p *cli.Process, _ []string) error {
	if _, err := options.One(); err != nil {
		return err
	}
	now, err := present()
	if err != nil {
		return err
	}
	looking.Store(true)
	r, err := open(ctx)
	if err != nil {
		return err
	}
	c, err := look(ctx, r, now)
	if err != nil {
		return err
	}
	if statusOptions.Prometheus {
		text, err := c.metrics(ctx, options.Locations[0])
		if err == nil {
			_, err = p.Text.WriteString(text)
		}
		return err
	}
	all := c.findings()
	if _, err = p.Text.WriteString(summarize(all)); err != nil {
		return err
	}
	return worst(all).Err()
}

func present() (time.Time, error) {
	if statusOptions.Now == "" {
		return time.Now(), nil
	}
	now, err := time.Parse(time.RFC3339, statusOptions.Now)
	return now, cli.Mistake(err)
}

// cannotTell is for a failure. A repository that cannot be read is what Prometheus
// is to be told of, and no reason to keep the file that says otherwise.
func cannotTell(err error) (string, cli.Severity) {
	switch {
	case !statusOptions.Prometheus:
		return fmt.Sprintf("%s %s - %s\n", plugin, cli.Unknown, barless(err.Error())), cli.Unknown
	case !looking.Load():
		return "", cli.Unknown
	}
	m := metrics{repository: options.Locations[0]}
	m.up(false)
	return m.text.String(), cli.OK
}
