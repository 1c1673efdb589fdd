// Wal-push stores a WAL file in a repository. It is an archive_command.
package main

import (
	"context"
	"fmt"
	"time"

	"pgpipes/lib/cli"
	"pgpipes/lib/codec"
	"pgpipes/lib/prefetch"
	"pgpipes/lib/push"
	"pgpipes/lib/wait"
)

// frame is the size in bytes of the pieces of a segment that are compressed at
// once: two cores are busy for most of a 16 MiB segment.
const frame = 1 << 20

// level is the effort for zstd unless one is asked for: a server waits for each
// segment, and a third of the time is worth some per cent of size.
const level = 1

// quick is how long something may take that need not be done.
const quick = time.Second

var options struct {
	cli.Repositories
	cli.Compression
	cli.State
	queue
	Ahead      int           `long:"ahead" env:"PGPIPES_AHEAD" default:"32" value-name:"N" description:"store up to N segments that wait behind FILE with it, and answer at once when they are asked for; 0 for none"`
	Retry      time.Duration `long:"retry" env:"PGPIPES_RETRY" default:"0s" value-name:"TIME" description:"go on trying after failures for this long; the server tries again by itself"`
	Name       string        `long:"name" value-name:"NAME" description:"the name of the WAL file, where FILE is - or has another name"`
	Decompress bool          `long:"decompress" description:"FILE is compressed, in any of the formats; one that was cut is an error"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "wal-push",
		Summary: "Store a WAL file in every repository given.",
		Description: `In postgresql.conf:

  archive_command = 'wal-push -r /backup/pg/main %p'

FILE is checked first: its name, and for a segment its size and header, must
agree with each other, with the data directory it lies in and with the
repository. Status 0 means that it is on stable storage, or that it was dropped
if --queue-max asks for that. The same file again is success; other contents
under the same name are an error. With --name NAME and - for FILE the contents
come from standard input.`,
		Options: &options,
		Verdict: verdict,
		Server:  true,
		Action:  cli.Action{Operands: "FILE", Min: 1, Max: 1, Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, operands []string) error {
	locations, err := options.Some()
	if err == nil && options.Ahead < 0 {
		err = cli.Usagef("--ahead %d: less than none", options.Ahead)
	}
	if err != nil {
		return err
	}
	compression, err := options.Codec(frame)
	if err != nil {
		return err
	}
	if compression.Format == codec.Zstd && compression.Level == 0 {
		compression.Level = level
	}
	path := operands[0]
	name, err := walName(path)
	if err != nil {
		return err
	}
	source, data, err := open(p, path)
	if err != nil {
		return err
	}
	defer source.Close()
	cluster, err := inspect(name, source, data)
	if err == nil && path != "-" {
		err = unfinished(push.CheckFinished(path, name, source))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	memory := options.State.Open(p)
	guard := options.guard(p, memory, locations)
	pusher := push.Pusher{
		Locations: locations, Codec: compression, Retry: options.Retry,
		Ahead: options.Ahead, State: memory, Reached: guard.Reached,
	}
	if err := afterPush(ctx, guard, path, name, cluster, pusher.Push(ctx, cluster, name, source)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if memory != nil {
		wait.Within(quick, func() { _ = prefetch.PruneCache(memory) }) // what the recovery before this server's promotion has left
	}
	p.Verbosef("%s: stored", name)
	return nil
}
