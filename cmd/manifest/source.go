package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
)

// sourceOf opens parts through the command of --source, after their receipts have
// been found right.
func sourceOf(ctx context.Context, p *cli.Process, r *archive.Repo) func(backup string, part manifest.Part) (io.ReadCloser, error) {
	return func(backup string, part manifest.Part) (io.ReadCloser, error) {
		is, err := store.Sum(ctx, r, part.Key)
		if err != nil {
			return nil, err
		}
		if is.SHA256 != part.SHA256 {
			return nil, fmt.Errorf("%s: %w: its SHA-256 is not that of its receipt", part.Key, archive.ErrDamaged)
		}
		label, number := manifest.SplitPart(part.Name)
		env := []string{"LABEL=" + cmp.Or(label, backup), "PART=" + number, "KEY=" + part.Key}
		out, err := filter.Command{Text: verifyOptions.Source, Env: env, Stderr: p.Err}.Reader(ctx)
		if err != nil {
			return nil, err
		}
		return &sourced{from: out}, nil
	}
}

// sourced is what a command prints. Its end is an error if the command fails.
type sourced struct {
	from  *filter.Reader
	ended error
}

func (s *sourced) Read(p []byte) (int, error) {
	if s.ended != nil {
		return 0, s.ended
	}
	n, err := s.from.Read(p)
	if err == io.EOF {
		s.ended = cmp.Or(s.from.Finish(), io.EOF)
		err = s.ended
	}
	return n, err
}

// Close ends the command in any case.
func (s *sourced) Close() error {
	s.from.Abandon()
	return nil
}
