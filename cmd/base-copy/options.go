package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"pgpipes/lib/backup"
	"pgpipes/lib/cli"
	"pgpipes/lib/durable"
)

var options struct {
	cli.Repositories
	cli.Progress
	Data string `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory"`
	Stream
	Manifest string        `short:"m" long:"manifest" value-name:"FILE" description:"write the manifest to FILE when all is done"`
	Label    string        `long:"label" value-name:"NAME" description:"name of the backup; by default the time in UTC"`
	Tags     []string      `long:"tag" value-name:"NAME" description:"a mark for expire --keep-tag; may be repeated"`
	Since    string        `long:"since" value-name:"MANIFEST" description:"copy only what has changed since this backup, whose parts are needed then, too"`
	Filter   string        `long:"filter" value-name:"COMMAND" description:"write parts, each through a shell command that gets LABEL and PART in its environment and prints the receipt"`
	PartSize cli.Size      `long:"part-size" env:"PGPIPES_PART_SIZE" default:"1GiB" value-name:"SIZE" description:"how much goes into a part at most; a larger file is a part of its own"`
	Jobs     cli.Jobs      `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"how many parts to write at once; as many as there are cores by default"`
	Fast     bool          `long:"fast" description:"let the server do its checkpoint at once, not spread over minutes"`
	WithWAL  bool          `long:"with-wal" description:"copy the WAL that the backup needs as well: it can be started without an archive"`
	MaxRate  cli.Size      `long:"max-rate" env:"PGPIPES_MAX_RATE" value-name:"SIZE" description:"copy no more than this in a second"`
	Follow   bool          `long:"follow-links" description:"copy what links in the data directory lead to; otherwise they are left out with a warning, and one at its top to a directory, which may be of the cluster, ends the copy"`
	Conninfo string        `short:"d" long:"dbname" env:"PGPIPES_CONNINFO" value-name:"CONNINFO" description:"how to connect, as psql -d takes it; by default as PGHOST, PGPORT, PGSERVICE … say"`
	NoCheck  bool          `long:"no-archive-check" description:"do not look whether WAL is archived, neither before nor after"`
	Patience time.Duration `long:"archive-timeout" env:"PGPIPES_ARCHIVE_TIMEOUT" default:"60s" value-name:"TIME" description:"give up when no further WAL has arrived for so long"`
	BadPages string        `long:"bad-pages" env:"PGPIPES_BAD_PAGES" choice:"fail" choice:"warn" default:"fail" description:"whether pages with wrong checksums make the status 1; they are in the manifest in any case"`
}

// checkOptions finds what cannot go together.
func checkOptions(p *cli.Process) error {
	if err := options.Stream.check(); err != nil {
		return err
	}
	switch {
	case options.Data == "" && !options.Stream.Stream:
		return cli.Hint(cli.Usagef("which data directory?"), "give -D DIR, set PGDATA, or use --stream")
	case options.PartSize == 0:
		return cli.Usagef("--part-size is above 0")
	case options.Filter == "":
		return p.CheckOutput()
	case options.Manifest == "":
		return cli.Usagef("--filter makes parts, which only a manifest knows: give -m FILE")
	}
	return nil
}

// parts are those that the options ask for.
func parts(p *cli.Process) backup.Parts {
	jobs := options.Jobs.Or(runtime.GOMAXPROCS(0))
	return backup.Parts{Command: options.Filter, Size: int64(options.PartSize), Jobs: jobs, Stderr: p.Err}
}

// since opens the manifest of the parent, nil if there is none.
func since(ctx context.Context) (io.ReadCloser, error) {
	if options.Since == "" {
		return nil, nil
	}
	f, err := cli.OpenFile(ctx, options.Since)
	if err != nil {
		return nil, cli.Mistake(fmt.Errorf("--since: %w", err))
	}
	return f, nil
}

// createManifest begins the file that -m names, nil if it names none.
func createManifest() (*durable.File, error) {
	if options.Manifest == "" {
		return nil, nil
	}
	return cli.CreateFile(options.Manifest)
}
