package main

import (
	"context"
	"errors"
	"io"
	"runtime"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/filter"
	"pgpipes/lib/inspect"
	"pgpipes/lib/store"
)

// createLeftover makes the manifest of what an interrupted backup has left.
func createLeftover(ctx context.Context, p *cli.Process, label string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	h, parts, err := r.Leftover(ctx, label)
	if errors.Is(err, archive.ErrNoLeftover) {
		return cli.No(err)
	}
	if err != nil {
		return err
	}
	l := inspect.Leftover{
		Header: h, Parts: parts, Jobs: createOptions.Jobs.Or(runtime.GOMAXPROCS(0)), Warn: p.Warnf,
		Open:   func(ctx context.Context, key string) (io.ReadCloser, error) { return r.Get(ctx, key, 0, -1) },
		Source: filter.Command{Text: createOptions.Source, Stderr: p.Err},
	}
	if h.Parent != "" {
		parent, err := r.Manifest(ctx, h.Parent)
		switch {
		case err == nil:
			defer parent.Close()
			l.Parent = parent
		case errors.Is(err, store.ErrNotExist):
			p.Warnf("%s: its parent %s is gone: what lies there will be copied again", label, h.Parent)
			l.Header.Parent = ""
		default:
			return err
		}
	}
	return writeManifest(p, func(w io.Writer) error { return l.WriteManifest(ctx, w) })
}
