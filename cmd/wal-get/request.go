package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// A request is what is asked for.
type request struct {
	locations []string
	here      *archive.Cluster
	name      wal.Name
	path      string // - is standard output
	making    string // where the file is written before it is delivered
}

// place is where the file is written before it is delivered. What is wrong with
// it is no outage, and cannot pass.
func place(p *cli.Process, name wal.Name, path string) (string, error) {
	if path == "-" {
		return filepath.Join(os.TempDir(), name.String()), p.CheckOutput()
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a plain file", path)
	}
	_, err := os.Stat(filepath.Dir(path))
	return path, err
}

// fetch has the file come from a repository now.
func (r request) fetch(ctx context.Context, p *cli.Process) error {
	var f *durable.File
	err := wait.Retry(ctx, options.Retry, temporary, func() (err error) {
		f, err = archive.Get(ctx, r.locations, r.here, r.name, r.making, func(err error) { p.Warnf("%v", err) })
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	p.Verbosef("%s: fetched", r.name)
	if r.path == "-" {
		_, err := io.CopyBuffer(p.Out, io.NewSectionReader(f, 0, int64(wal.MaxSegmentSize)), make([]byte, 256<<10))
		return cli.Failure(err)
	}
	return cli.Failure(deliver(f, r.path))
}

// deliver gives the file its name. The server syncs what it asked for under
// these two names itself (xlogarchive.c:KeepFileRestoredFromArchive).
func deliver(f *durable.File, path string) error {
	switch filepath.Base(path) {
	case "RECOVERYXLOG", "RECOVERYHISTORY":
		return f.ReplaceUnsynced()
	}
	return f.Replace()
}
