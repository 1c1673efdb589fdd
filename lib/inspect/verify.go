// Package inspect reads to the last byte what a backup is: a base stream, parts of
// one, what an interrupted backup has left, or a data directory that was made of
// one. It makes a manifest of that or compares it with one, and changes nothing.
package inspect

import (
	"context"
	"io"
	"iter"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// VerifyStream reads a base stream and gives the differences to its manifest.
// A stream that is cut or damaged as such, and a damaged manifest, are errors;
// an error is the last thing that comes.
func VerifyStream(ctx context.Context, in, want io.Reader) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		entries := manifest.NewWriter("")
		defer entries.Close()
		t := stream.NewIntake(in)
		t.Bare, t.Note = true, entries.Add
		wanted, err := manifest.NewReader(want)
		if err == nil {
			err = t.Run(ctx)
		}
		if err != nil {
			yield(manifest.Difference{}, err)
			return
		}
		stream.Compare(wanted, entries.Entries(), manifest.CompareOptions{})(yield)
	}
}

// VerifyDir reads all files of a data directory and gives the differences to
// the manifest of the backup it was made of. Left out are what
// pg_verifybackup leaves out (WAL, postgresql.auto.conf and the signal files),
// owners, and that tablespaces may have moved. It makes sense before the first
// start of a server.
func VerifyDir(ctx context.Context, dir string, want io.Reader) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		wanted, err := manifest.NewReader(want)
		if err != nil {
			yield(manifest.Difference{}, err)
			return
		}
		s := &survey{dir: dir, entries: manifest.NewWriter(""), files: make(chan manifest.Entry)}
		defer s.entries.Close()
		if err := s.run(ctx, wanted.Header().Tablespaces); err != nil {
			yield(manifest.Difference{}, err)
			return
		}
		stream.Compare(wanted, s.entries.Entries(), manifest.CompareOptions{Ignore: s.ignore})(yield)
	}
}
