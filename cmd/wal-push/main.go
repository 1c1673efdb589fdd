// Wal-push stores a WAL file in a repository. It is an archive_command.
package main

import (
	"context"
	"fmt"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
)

// frame is the size in bytes of the pieces of a segment that are compressed at
// once: two cores are busy for most of a 16 MiB segment.
const frame = 1 << 20

// level is the effort for zstd unless one is asked for: a server waits for each
// segment, and a third of the time is worth some per cent of size.
const level = 1

var options struct {
	cli.Repositories
	cli.Compression
	Name string `long:"name" value-name:"NAME" description:"the name of the WAL file, where FILE is - or has another name"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "wal-push",
		Summary: "Store a WAL file in every repository given.",
		Description: `In postgresql.conf:

  archive_command = 'wal-push -r /backup/pg/main %p'

FILE is checked first: its name, and for a segment its size and header, must
agree with each other, with the data directory it lies in and with the
repository. Status 0 means that it is on stable storage. The same file again
is success; other contents under the same name are an error. With --name NAME
and - for FILE the contents come from standard input.`,
		Options: &options,
		Server:  true,
		Action:  cli.Action{Operands: "FILE", Min: 1, Max: 1, Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, operands []string) error {
	locations, err := options.Some()
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
	if err := push(ctx, locations, name, source.Content, data, compression); err != nil {
		return cli.RepositoryHint(fmt.Errorf("%s: %w", name, err))
	}
	p.Verbosef("%s: stored", name)
	return nil
}

func push(ctx context.Context, locations []string, name wal.Name, c archive.Content, data string, o codec.Options) error {
	local, err := archive.ClusterAt(data)
	if err != nil {
		return err
	}
	cluster, err := archive.Inspect(name, c)
	if err != nil {
		return err
	}
	from := &cluster
	if cluster == (archive.Cluster{}) {
		from = local
	} else if local != nil && cluster != *local {
		return fmt.Errorf("the segment %w than the data directory's: %s, not %s", archive.ErrForeign, cluster, local)
	}
	return archive.Push(ctx, locations, from, name, c, o)
}
