package main

import (
	"context"

	"pgpipes/lib/archive"
	"pgpipes/lib/backup"
	"pgpipes/lib/cli"
	"pgpipes/lib/server"
)

// take takes the backup, from the data directory or from the server.
func take(ctx context.Context, p *cli.Process, o backup.CopyOptions) (*backup.Copied, error) {
	if options.alone() {
		return receive(ctx, p, o)
	}
	session, err := server.Connect(ctx, options.Conninfo)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	session.OnNotice(func(severity, message string) { p.Verbosef("server: %s: %s", severity, message) })
	info := session.Info()
	o.Session = session
	o.Archive, err = repository(ctx, archive.Cluster{SystemID: info.SystemID, Major: info.Major, SegmentSize: info.SegmentSize})
	if err != nil {
		return nil, err
	}
	if options.Stream.Stream {
		return receive(ctx, p, o)
	}
	return backup.Copy(ctx, p.Out, o)
}

// repository opens the repository that -r names, nil without one.
func repository(ctx context.Context, cluster archive.Cluster) (backup.Archive, error) {
	if len(options.Locations) == 0 {
		return nil, nil
	}
	location, err := options.One()
	if err != nil {
		return nil, err
	}
	return cli.OpenRepositoryFor(ctx, location, cluster)
}
