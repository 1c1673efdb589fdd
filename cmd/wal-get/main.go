// Wal-get fetches a WAL file from a repository. It is a restore_command.
package main

import (
	"context"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// stop is the status of every failure. A recovering server takes 1 to 125 for
// "there is no such file", ends recovery there and begins a new timeline; above
// that it stops where it is, and can go on later. 126, 127 and 143 would be
// reported as something else (xlogarchive.c:RestoreArchivedFile).
const stop = 254

var options struct {
	cli.Repositories
	ahead
	Retry   time.Duration `long:"retry" env:"PGPIPES_RETRY" default:"15s" value-name:"TIME" description:"go on trying after failures, and waiting at a hole, for this long"`
	Until   string        `long:"until" value-name:"SEGMENT" description:"for a recovery to the end of a backup: segments after this one, on whatever timeline, are absent"`
	OnError string        `long:"on-error" env:"PGPIPES_ON_ERROR" default:"auto" choice:"auto" choice:"stop" choice:"absent" description:"what a failure tells the server; auto: stop, but a standby in an outage is told absent, and asks again"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "wal-get",
		Summary: "Fetch the WAL file NAME to PATH, or to standard output.",
		Description: `In postgresql.conf:

  restore_command = 'wal-get -r /backup/pg/main %f %p'

Status 1 says that NAME is proved absent: every repository was reached, is the
right one, and holds nothing that shows NAME must have existed. The server
then ends recovery. Anything else that goes wrong (no repository, damage,
another cluster's file, a hole with later files behind it) is tried again for
a while and ends in 254, which makes the server stop; when the cause is gone,
start it and it goes on. Of several repositories the next one is asked too when
one has not served within 2s, and the first to have the file whole serves. So
that even a lack of memory or processes, which ends in 2 before this program
begins, stops the server, write

  restore_command = 'trap ''[ $? -ne 2 ] || exit 254'' 0; wal-get … %f %p'

In a data directory with standby.signal an outage is
status 1, because a standby asks again by itself.

While the server replays a segment, the ones that follow are fetched in the
background and kept in the state directory, so that it need not wait for them.
At most N are there at a time (--ahead), checked like all others before they
are delivered. None are fetched where there is too little space for twice as
many, or where the server is process 1 of a container.`,
		Options: &options,
		Action:  cli.Action{Operands: "NAME [PATH|-]", Min: 1, Max: 2, Run: run},
		Failure: stop,
		Verdict: judge,
		Server:  true,
	})
}

func run(ctx context.Context, p *cli.Process, operands []string) error {
	locations, err := options.Some()
	if err == nil {
		err = options.check()
	}
	if err != nil {
		return err
	}
	name, err := wal.ParseName(operands[0])
	if err != nil {
		return cli.Mistake(err)
	}
	if err := refuseLater(name); err != nil {
		return err
	}
	if options.Prefetch {
		return fill(ctx, p, locations, name, operands[1:])
	}
	r := request{locations: locations, name: name, path: "-"}
	if len(operands) == 2 {
		r.path = operands[1]
	}
	if r.making, err = place(p, name, r.path); err != nil {
		return cli.Failure(err)
	}
	if r.here, err = archive.ClusterAt("."); err != nil {
		return err
	}
	c := cache(p, r)
	if name.Kind == wal.TimelineHistory && r.here != nil {
		prune(p)
	}
	if fetchedAhead(ctx, c, r) {
		p.Verbosef("%s: it was fetched ahead", name)
	} else if err := r.fetch(ctx, p); err != nil {
		return err
	}
	if c != nil {
		wait.Within(cachePatience, func() { goAhead(wait.WithWatch(ctx, nil), p, c, r) })
	}
	return nil
}
