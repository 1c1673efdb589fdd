// Base-restore makes a data directory of a base stream.
package main

import (
	"context"
	"errors"
	"syscall"

	"pgpipes/lib/cli"
	"pgpipes/lib/restore"
	"pgpipes/lib/stream"
)

func main() {
	cli.Main(cli.Program{
		Name:    "base-restore",
		Summary: "Make a data directory of a base backup.",
		Description: `  repo get base/$LABEL/000.tar.zst | base-restore -D DIR -m manifest
  base-restore -D DIR -m manifest -j 4 --source 'repo get "$KEY"'

The stream, or each part, may be as base-copy wrote it, or compressed by
compress, zstd, gzip, xz or lz4, which is found out. Streams of
pg_basebackup -Ft -D - do as well.

DIR must be empty or absent. Status 0 means that it is complete, that every
byte was checked and is on stable storage. A restore that fails removes what
it wrote. One that was killed leaves a directory that no server can start; the
same command begins anew in it.

--source COMMAND prints the part $PART of the backup $LABEL, which is not
always the one being restored: an increment needs parts of others. $KEY is
where the manifest says the part is stored. Only the parts that are needed are
asked for; one that fails or is damaged is asked for three times, and $TRY is 1,
2, then 3. Of one of which little is needed only so much is read: COMMAND is
killed when that has come.

--delta works on what is there: a data directory of the same cluster, in which
no server runs, and the tablespaces that it links to; a copy made by cp links to
those of the original. Every file is read and compared. What the backup does not
have is removed, WAL and logs too: save what is not archived in pg_wal before.
Links are not followed: where the backup has a directory there will be one. What
is mounted stays, or stops the restore. No server can start until it is complete;
if it fails after it has changed something, or is killed, the same command goes
on. One that was killed while it compared has changed nothing yet, but for the
name of global/pg_control, which is .pgpipes-restoring-delta.

Tablespaces go back to where they were, as the manifest has it, or with --delta
stay where they are; with --tablespace, or without a manifest, all of them must
be given places. OLDDIR with = in it has it as \=.

--only-database leaves holes, which take no room, for the files of other
databases; those that initdb made are always restored. The others cannot be
connected to: drop them before the next backup, VACUUM of all, or pg_dumpall.
WAL may refer to pages that are not there, above all without page checksums:
recover with ignore_invalid_pages = on. A database may be given by name if the
manifest knows the names.

WAL is not restored, unless the backup holds it: set restore_command, and have
recovery.signal created, before starting the server.`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	o, err := restoreOptions(p)
	if err != nil {
		return err
	}
	if options.Source == "" {
		if err := p.RefuseTerminalInput(); err != nil {
			return err
		}
		p.WidenPipes()
	}
	syscall.Umask(0o077) // modes are set one by one; meanwhile nobody else may look
	if options.Manifest != "" {
		m, err := cli.OpenFile(ctx, options.Manifest)
		if err != nil {
			return cli.Mistake(err)
		}
		defer m.Close()
		o.Manifest = m
	}
	meter, err := p.Meter(options.Progress)
	if err != nil {
		return err
	}
	defer meter.Stop()
	o.Progress = meter.Set
	return verdict(restore.Run(ctx, p.In, o))
}

// verdict marks what is a "no", and what only another command line can cure.
func verdict(err error) error {
	switch {
	case errors.Is(err, stream.ErrDiffers):
		return cli.No(err)
	case errors.Is(err, restore.ErrTarget):
		return cli.Mistake(err)
	}
	return err
}
