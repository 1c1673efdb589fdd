package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/wal"
)

func walName(path string) (wal.Name, error) {
	if options.Name != "" {
		return wal.ParseName(options.Name)
	}
	if path == "-" {
		return wal.Name{}, cli.Usagef("standard input needs a name: --name NAME")
	}
	return wal.ParseName(filepath.Base(path))
}

// open returns the file and the data directory it lies in, if that is what it
// lies in: by the path's text, as pg_wal may be a link.
func open(p *cli.Process, path string) (*archive.Source, string, error) {
	if path == "-" {
		s, err := archive.Spool(p.In)
		return s, ".", err
	}
	s, err := archive.OpenSource(path)
	if errors.Is(err, fs.ErrNotExist) && path == filepath.Base(path) {
		if _, serr := os.Stat(filepath.Join("pg_wal", path)); serr == nil {
			err = cli.Hint(cli.Mistake(err), "it is in pg_wal: archive_command wants %%p, not %%f")
		}
	}
	return s, filepath.Dir(filepath.Dir(path)), err
}
