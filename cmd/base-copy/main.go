// Base-copy writes a base backup of a running cluster to standard output.
package main

import (
	"context"
	"fmt"

	"pgpipes/lib/backup"
	"pgpipes/lib/cli"
)

func main() {
	cli.Main(cli.Program{
		Name:    "base-copy",
		Summary: "Write a base backup of a running cluster to standard output, as a tar.",
		Description: `  base-copy -D "$PGDATA" -r /backup/pg/main -m m | compress > base.tar.zst
  base-copy -D "$PGDATA" -r /backup/pg/main -m m --label "$l" -j 4 \
      --filter 'repo put -r /backup/pg/main -c zstd "base/$LABEL/$PART.tar.zst"'

The tar holds the data directory and its tablespaces, which lie inline below
pg_tblspc/OID. Its last member is backup_manifest, PostgreSQL's own: a stream
without it is not complete, and has no pg_control to start from. Before
copying it is tested that archiving works, and at the end the WAL from the
start to the stop of the backup is waited for: in the repository that -r
names, else as the server reports it. What is there has to be what this server,
if it is a primary, has written; other WAL of the same names is status 1. -r also
records there that a backup is under way.

With --filter nothing goes to standard output. Each part is a tar of its own, and
the last one ends as above. A part whose command fails is written again under
the next number, three times at most. sh knows only the status of the last
command of a pipeline: one command that does it all, or a shell with pipefail,
hides no failure.

With --since a file is not copied again if its size and time are as they were
and the time is from before that backup; if the clock or the timeline has
changed, the time is from while that backup was made, or a standby is one of the
two sources, its contents decide.

With --stream the server sends its files and verifies its pages: base-copy may run
anywhere, as a role that is allowed replication. What is written is the same. The
parts are then cut from one stream: if the command of one fails the backup does.
With --no-archive-check a connection for replication is all that is needed.

Without --fast the server takes its time for the checkpoint that a backup
begins with: up to checkpoint_timeout and more, which --timeout does not bound.

The role needs to be superuser, or to be allowed to call pg_backup_start and
pg_backup_stop (pg_start_backup and pg_stop_backup before 15); for --with-wal
also to be allowed replication.`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	if err := checkOptions(p); err != nil {
		return err
	}
	p.WidenPipes()
	parent, err := since(ctx)
	if err != nil {
		return err
	}
	written, err := createManifest()
	if err != nil {
		return err
	}
	if written != nil {
		defer written.Close()
	}
	meter, err := p.Meter(options.Progress)
	if err != nil {
		return err
	}
	o := backup.CopyOptions{
		Data: options.Data, Label: options.Label, Tags: options.Tags, Fast: options.Fast,
		Unchecked: options.NoCheck, WithWAL: options.WithWAL, Patience: options.Patience, Parts: parts(p),
		Follow: options.Follow, MaxRate: int64(options.MaxRate), Progress: meter.Progress(), Warn: p.Warnf, Notice: p.Verbosef,
	}
	if parent != nil {
		defer parent.Close()
		o.Since = parent
	}
	copied, err := take(ctx, p, o)
	meter.Stop()
	if err != nil {
		return explain(err)
	}
	defer copied.Close()
	if written != nil {
		if err := written.ReplaceWith(copied.WriteManifest); err != nil {
			return err
		}
	}
	if copied.Bad > 0 && options.BadPages == "fail" {
		return cli.No(fmt.Errorf("%d pages have wrong checksums", copied.Bad))
	}
	return nil
}
