package stream

import (
	"encoding/hex"
	"hash"
	"io"
	"iter"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// An InnerManifest is the backup_manifest in a stream, which comes last: what it
// may ask for has to be known of every file by then. SHA-256 is known anyhow,
// CRC32C is pg_basebackup's default. Of files with other checksums only the sizes
// are compared. It must be closed.
type InnerManifest struct {
	algorithm string           // of the checksums in it
	wanted    *manifest.Writer // what it says
	sums      *manifest.Writer // the stream's files with their CRC32C
}

// NewInnerManifest is one that has not come yet.
func NewInnerManifest() *InnerManifest {
	return &InnerManifest{wanted: manifest.NewWriter(""), sums: manifest.NewWriter("")}
}

// sumPadding makes the hex digits of a CRC32C as long as those of a SHA-256, so
// that an entry holds them.
var sumPadding = strings.Repeat("0", 56)

// Place is a place for a member where its CRC32C is noted: when it is closed it
// must have been given the whole contents.
func (n *InnerManifest) Place(m Member) (io.WriteCloser, error) {
	sum, err := manifest.NewServerHash("CRC32C")
	return &summed{sum, m, n.sums}, err
}

// Close gives up what has been noted.
func (n *InnerManifest) Close() {
	n.wanted.Close()
	n.sums.Close()
}

// summed is the place of a file of which only the checksum matters.
type summed struct {
	hash.Hash
	member Member
	sums   *manifest.Writer
}

func (s *summed) Close() error {
	if s.member.Kind != manifest.File {
		return nil
	}
	e := manifest.Entry{Kind: manifest.File, Path: s.member.Path, Size: s.member.Size}
	e.SHA256 = sumPadding + hex.EncodeToString(s.Sum(nil))
	return s.sums.Add(e)
}

// Want takes a file that it lists. An error is of the kind [ErrBad], or of a
// temporary file.
func (n *InnerManifest) Want(f manifest.ServerFile) error {
	if n.algorithm == "" {
		n.algorithm = f.Algorithm
	}
	e := manifest.Entry{Kind: manifest.File, Path: f.Path, Size: f.Size}
	switch {
	case f.Algorithm != n.algorithm:
		return Bad("%s has checksums of several kinds", pgdata.ManifestFile)
	case f.Algorithm == "SHA256":
		e.SHA256 = f.Checksum
	case f.Algorithm == "CRC32C":
		e.SHA256 = sumPadding + f.Checksum
	}
	return n.wanted.Add(e)
}

// Algorithm is that of the checksums in it, "" if it has not come or lists
// nothing.
func (n *InnerManifest) Algorithm() string { return n.algorithm }

// Check fails unless these entries of the stream, with their SHA-256, are the
// files that it lists, if it has come. If it has CRC32C, which no entry has, it is
// what was placed that counts, as for CheckSums. The error is of the kind
// [ErrDiffers].
func (n *InnerManifest) Check(entries manifest.EntrySource) error {
	switch n.algorithm {
	case "":
		return nil
	case "CRC32C":
		return n.CheckSums(pgdata.Unlisted)
	}
	return n.compare(entries, pgdata.Unlisted)
}

// CheckSums fails unless the files that have been placed are those that it lists
// with their CRC32C, which must be its kind, but for the paths to ignore. The error is of the kind
// [ErrDiffers].
func (n *InnerManifest) CheckSums(ignore func(path string) bool) error {
	return n.compare(n.sums.Entries(), ignore)
}

func (n *InnerManifest) compare(got manifest.EntrySource, ignore func(path string) bool) error {
	o := manifest.CompareOptions{
		IgnoreMode: true, IgnoreOwner: true, Ignore: ignore,
		IgnoreSHA256: n.algorithm != "SHA256" && n.algorithm != "CRC32C",
	}
	var differ Tally
	return differ.Gather(n.named(manifest.Compare(n.wanted.Entries(), Files(got), o)))
}

// named gives differing checksums the name of their kind.
func (n *InnerManifest) named(all iter.Seq2[manifest.Difference, error]) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		for d, err := range all {
			d.What = strings.ReplaceAll(strings.Replace(d.What, "sha256", n.algorithm, 1), sumPadding, "")
			if !yield(d, err) {
				return
			}
		}
	}
}
