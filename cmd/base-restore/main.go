// Base-restore makes a data directory of a base stream.
package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"pgpipes/lib/base"
	"pgpipes/lib/cli"
)

var options struct {
	Data        string   `short:"D" long:"pgdata" env:"PGDATA" value-name:"DIR" description:"the data directory to make; empty or absent"`
	Manifest    string   `short:"m" long:"manifest" value-name:"FILE" description:"check against this manifest; by default against the backup_manifest in the stream"`
	Tablespaces []string `long:"tablespace" value-name:"OID=DIR" description:"put the tablespace OID into DIR; given for all tablespaces or for none"`
}

func main() {
	cli.Main(cli.Program{
		Name:    "base-restore",
		Summary: "Make a data directory of the base stream on standard input.",
		Description: `  repo get base/$LABEL/000.tar.zst | base-restore -D DIR -m manifest

The stream may be as base-copy wrote it, or compressed by compress, zstd, gzip,
xz or lz4, which is found out.

DIR must be empty or absent. Status 0 means that it is complete, that every
byte was checked and is on stable storage. A restore that fails removes what
it wrote. One that was killed leaves a directory that no server can start; the
same command begins anew in it. Streams of pg_basebackup -Ft -D - do as well.

Tablespaces go back to where they were, as the manifest has it; with
--tablespace, or without a manifest, all of them must be given places.

WAL is not restored: set restore_command and create recovery.signal before
starting the server.`,
		Options: &options,
		Action:  cli.Action{Run: run},
	})
}

func run(ctx context.Context, p *cli.Process, _ []string) error {
	if options.Data == "" {
		return cli.Hint(cli.Usagef("which directory?"), "give -D DIR, or set PGDATA")
	}
	if err := p.RefuseTerminalInput(); err != nil {
		return err
	}
	p.WidenPipes()
	syscall.Umask(0o077) // modes are set one by one; meanwhile nobody else may look
	spaces, err := tablespaces(options.Tablespaces)
	if err != nil {
		return err
	}
	o := base.RestoreOptions{Dir: options.Data, Tablespaces: spaces, Notice: p.Verbosef}
	if options.Manifest != "" {
		m, err := cli.OpenFile(ctx, options.Manifest)
		if err != nil {
			return cli.Mistake(err)
		}
		defer m.Close()
		o.Manifest = m
	}
	o.Room = func(dir string, need, free int64) {
		p.Remarkf("%s: %s are needed, %s are free", dir, cli.Bytes(need), cli.Bytes(free))
	}
	meter := p.Meter()
	defer meter.Stop()
	o.Progress = meter.Set
	return verdict(base.Restore(ctx, p.In, o))
}

// tablespaces reads OID=DIR.
func tablespaces(list []string) (map[uint32]string, error) {
	spaces := map[uint32]string{}
	for _, text := range list {
		number, dir, found := strings.Cut(text, "=")
		oid, err := strconv.ParseUint(number, 10, 32)
		if !found || err != nil || oid == 0 || dir == "" {
			return nil, cli.Usagef("--tablespace %s: not OID=DIR", text)
		}
		if _, twice := spaces[uint32(oid)]; twice {
			return nil, cli.Usagef("--tablespace %s: %d is given twice", text, oid)
		}
		spaces[uint32(oid)] = dir
	}
	return spaces, nil
}

// verdict marks what is a "no", and what only another command line can cure.
func verdict(err error) error {
	switch {
	case errors.Is(err, base.ErrDiffers):
		return cli.No(err)
	case errors.Is(err, base.ErrTarget):
		return cli.Mistake(err)
	}
	return err
}
