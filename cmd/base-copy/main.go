// Base-copy writes a base backup of a running cluster to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/base"
	"pgpipes/lib/cli"
	"pgpipes/lib/durable"
	"pgpipes/lib/server"
)

var options struct {
	cli.Repositories
	Data     string        `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory" required:"yes"`
	Manifest string        `short:"m" long:"manifest" value-name:"FILE" description:"write the manifest to FILE when all is done"`
	Label    string        `long:"label" value-name:"NAME" description:"name of the backup; by default the time in UTC"`
	Fast     bool          `long:"fast" description:"let the server do its checkpoint at once, not spread over minutes"`
	Conninfo string        `short:"d" long:"dbname" env:"PGPIPES_CONNINFO" value-name:"CONNINFO" description:"how to connect, as psql -d takes it; by default as PGHOST, PGPORT, PGSERVICE … say"`
	NoCheck  bool          `long:"no-archive-check" description:"do not look whether WAL is archived, neither before nor after"`
	Patience time.Duration `long:"archive-timeout" env:"PGPIPES_ARCHIVE_TIMEOUT" default:"60s" value-name:"TIME" description:"give up when no further WAL has arrived for so long"`
	BadPages string        `long:"bad-pages" env:"PGPIPES_BAD_PAGES" choice:"fail" choice:"warn" default:"fail" description:"whether pages with wrong checksums make the status 1; they are in the manifest in any case"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "base-copy",
		Summary: "Write a base backup of a running cluster to standard output, as a tar.",
		Description: `  base-copy -D "$PGDATA" -r /backup/pg/main -m m | compress > base.tar.zst

The tar holds the data directory and its tablespaces, which lie inline below
pg_tblspc/OID. Its last member is backup_manifest, PostgreSQL's own: a stream
without it is not complete, and has no pg_control to start from. Before
copying it is tested that archiving works, and at the end the WAL from the
start to the stop of the backup is waited for: in the repository that -r
names, else as the server reports it. -r also records there that a backup is
under way.

Without --fast the server takes its time for the checkpoint that a backup
begins with: up to checkpoint_timeout and more, which --timeout does not bound.

The role needs to be superuser, or to be allowed to call pg_backup_start and
pg_backup_stop (pg_start_backup and pg_stop_backup before 15).`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	if err := p.RefuseTerminal(); err != nil {
		return err
	}
	p.WidenPipes()
	session, err := server.Connect(ctx, options.Conninfo)
	if err != nil {
		return err
	}
	defer session.Close()
	session.OnNotice(func(severity, message string) { p.Verbosef("server: %s: %s", severity, message) })
	repo, err := repository(ctx, session)
	if err != nil {
		return err
	}
	meter := p.Meter()
	copied, err := base.Copy(ctx, p.Out, base.CopyOptions{
		Session: session, Data: options.Data, Label: label(), Fast: options.Fast, Archive: repo,
		Unchecked: options.NoCheck, Patience: options.Patience, Progress: meter.Progress(), Warn: p.Warnf, Notice: p.Verbosef,
	})
	meter.Stop()
	if err != nil {
		return explain(err)
	}
	defer copied.Close()
	if options.Manifest != "" {
		if err := durable.WriteFile(options.Manifest, 0o640, copied.WriteManifest); err != nil {
			return err
		}
	}
	if copied.Bad > 0 && options.BadPages == "fail" {
		return cli.No(fmt.Errorf("%d pages have wrong checksums", copied.Bad))
	}
	return nil
}

// repository opens the repository that -r names, nil without one.
func repository(ctx context.Context, s *server.Session) (base.Archive, error) {
	if len(options.Locations) == 0 {
		return nil, nil
	}
	location, err := options.One()
	if err != nil {
		return nil, err
	}
	info := s.Info()
	return cli.OpenRepositoryFor(ctx, location, archive.Cluster{
		SystemID: info.SystemID, Major: info.Major, SegmentSize: info.SegmentSize,
	})
}

func label() string {
	if options.Label != "" {
		return options.Label
	}
	return time.Now().UTC().Format(base.LabelLayout)
}

func explain(err error) error {
	switch {
	case errors.Is(err, base.ErrArchiving):
		return cli.Hint(err, "--no-archive-check copies without looking; the backup needs its WAL all the same")
	case errors.Is(err, base.ErrWrongServer):
		return cli.Hint(cli.Mistake(err), "-D and PGHOST, PGPORT … must name the same server")
	case errors.Is(err, base.ErrLabel):
		return cli.Mistake(err)
	}
	return err
}
