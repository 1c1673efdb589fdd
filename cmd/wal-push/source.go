package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/codec"
	"pgpipes/lib/push"
	"pgpipes/lib/wal"
)

func walName(path string) (wal.Name, error) {
	if options.Name != "" {
		return wal.ParseName(options.Name)
	}
	if path == "-" {
		return wal.Name{}, cli.Usagef("standard input needs a name: --name NAME")
	}
	base := filepath.Base(path)
	if options.Decompress {
		base, _ = codec.SplitName(base)
	}
	return wal.ParseName(base)
}

// open returns the file and the data directory it lies in, if that is what it
// lies in: by the path's text, as pg_wal may be a link.
func open(p *cli.Process, path string) (*archive.Source, string, error) {
	if path == "-" {
		s, err := spool("standard input", p.In)
		return s, ".", err
	}
	s, err := archive.OpenSource(path)
	if errors.Is(err, fs.ErrNotExist) && path == filepath.Base(path) {
		if _, serr := os.Stat(filepath.Join("pg_wal", path)); serr == nil {
			err = cli.Hint(cli.Mistake(err), "it is in pg_wal: archive_command wants %%p, not %%f")
		}
	}
	if err == nil && options.Decompress {
		defer s.Close()
		s, err = spool(path, s.Reader())
	}
	return s, filepath.Dir(filepath.Dir(path)), err
}

// spool keeps what can be read only once, decompressed if that was asked for.
// It has to be compressed then: a plain .history that was cut on its way may
// look whole, while every format has an end mark.
func spool(what string, r io.Reader) (*archive.Source, error) {
	if !options.Decompress {
		return archive.Spool(r)
	}
	z, err := codec.NewReader(r, int(options.Jobs))
	if err != nil {
		return nil, undecoded(what, err)
	}
	defer z.Close()
	s, err := archive.Spool(z)
	return s, undecoded(what, err)
}

// undecoded says what it was that could not be decompressed. As bytes get lost
// on the way, it is a failure and not a mistake.
func undecoded(what string, err error) error {
	switch {
	case errors.Is(err, codec.ErrFormat):
		return cli.Hint(cli.Failure(fmt.Errorf("%s: %w", what, err)), "--decompress wants what compress has written: nothing else shows a cut")
	case errors.Is(err, codec.ErrCorrupt):
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// inspect checks a file against its name and the data directory that it lies
// in, and returns the cluster that it is of, nil if nothing tells.
func inspect(name wal.Name, s *archive.Source, data string) (*archive.Cluster, error) {
	local, err := archive.ClusterAt(data)
	if err != nil {
		return nil, err
	}
	cluster, err := archive.Inspect(name, s.Content)
	switch {
	case err != nil:
		return nil, err
	case cluster == (archive.Cluster{}):
		return local, nil
	case local != nil && cluster != *local:
		return nil, fmt.Errorf("the segment %w than the data directory's: %s, not %s", archive.ErrForeign, cluster, local)
	}
	return &cluster, nil
}

// unfinished says what can be done about a segment that is not full.
func unfinished(err error) error {
	if errors.Is(err, push.ErrUnfinished) {
		err = cli.Hint(cli.Mistake(err), "the server has it archived when it is full, or after SELECT pg_switch_wal(); that of a lost server goes into pg_wal of what is restored")
	}
	return err
}
