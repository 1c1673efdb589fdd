package main

import (
	"context"
	"strconv"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/backup"
	"pgpipes/lib/cli"
	"pgpipes/lib/server"
)

// Stream are the options of a copy that the server itself sends.
type Stream struct {
	Stream      bool   `long:"stream" description:"have the server send its files by the replication protocol: nothing is needed where it runs, and -D is not looked at"`
	Compression string `long:"server-compress" value-name:"FORMAT[:LEVEL]" description:"with --stream, have the server (15 or later) compress on the way: gzip, lz4 or zstd. What is written is not compressed"`
}

// check finds what cannot go together with --stream.
func (o Stream) check() error {
	_, _, err := o.compression()
	switch {
	case err != nil:
		return err
	case !o.Stream && o.Compression != "":
		return cli.Usagef("--server-compress belongs to --stream")
	case o.Stream && options.Since != "":
		return cli.Usagef("--since needs the data directory: a server sends all its files")
	case o.Stream && options.Follow:
		return cli.Usagef("--follow-links needs the data directory: a server leaves links out")
	}
	return nil
}

func (o Stream) compression() (format string, level int, err error) {
	format, text, given := strings.Cut(o.Compression, ":")
	if given {
		level, err = strconv.Atoi(text)
	}
	known := map[string]bool{"": o.Compression == "", "gzip": true, "lz4": true, "zstd": true}
	if err != nil || !known[format] {
		return "", 0, cli.Usagef("--server-compress %s: that is gzip, lz4 or zstd, and a level after a colon", o.Compression)
	}
	return format, level, nil
}

// alone reports whether one connection for replication is enough.
func (o Stream) alone() bool { return o.Stream && options.NoCheck }

// receive has the server send the backup.
func receive(ctx context.Context, p *cli.Process, o backup.CopyOptions) (*backup.Copied, error) {
	replication, err := server.ConnectReplication(ctx, options.Conninfo)
	if err != nil {
		return nil, err
	}
	defer replication.Close()
	replication.OnNotice(func(severity, message string) {
		if severity == "WARNING" { // such as for what it leaves out
			p.Warnf("server: %s", message)
		} else {
			p.Verbosef("server: %s: %s", severity, message)
		}
	})
	if o.Session == nil {
		id := replication.Identity()
		o.Archive, err = repository(ctx, archive.Cluster{SystemID: id.SystemID, Major: id.Major, SegmentSize: id.SegmentSize})
		if err != nil {
			return nil, err
		}
	}
	r := backup.ReceiveOptions{CopyOptions: o, Replication: replication, KeepBad: options.BadPages == "warn"}
	r.Compression, r.Level, _ = options.compression()
	return backup.Receive(ctx, p.Out, r)
}
