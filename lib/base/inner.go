package base

import (
	"encoding/hex"
	"hash"
	"io"
	"iter"
	"strings"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// inner compares a stream with the backup_manifest inside it, which comes last:
// what it may ask for has to be known of every file by then. SHA-256 is known
// anyhow, CRC32C is pg_basebackup's default. Of files with other checksums only
// the sizes are compared.
type inner struct {
	algorithm string           // of the checksums in backup_manifest
	wanted    *manifest.Writer // what it says
	sums      *manifest.Writer // the stream's files with their CRC32C
}

// sumPadding makes the hex digits of a CRC32C as long as those of a SHA-256, so
// that an entry holds them.
var sumPadding = strings.Repeat("0", 56)

// attach has the intake tell of every file.
func (n *inner) attach(t *intake) {
	n.wanted, n.sums = manifest.NewWriter(""), manifest.NewWriter("")
	t.each = n.want
	t.place = func(m Member) (io.WriteCloser, error) {
		sum, err := manifest.NewServerHash("CRC32C")
		return &summed{sum, m, n.sums}, err
	}
}

func (n *inner) close() {
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

// want takes a file of backup_manifest.
func (n *inner) want(f manifest.ServerFile) error {
	if n.algorithm == "" {
		n.algorithm = f.Algorithm
	}
	e := manifest.Entry{Kind: manifest.File, Path: f.Path, Size: f.Size}
	switch {
	case f.Algorithm != n.algorithm:
		return badStream("%s has checksums of several kinds", pgdata.ManifestFile)
	case f.Algorithm == "SHA256":
		e.SHA256 = f.Checksum
	case f.Algorithm == "CRC32C":
		e.SHA256 = sumPadding + f.Checksum
	}
	return n.wanted.Add(e)
}

// check fails unless the stream is what its backup_manifest says.
func (n *inner) check(t *intake) error {
	if n.algorithm == "" {
		return nil // no backup_manifest
	}
	got := t.entries.Entries()
	if n.algorithm == "CRC32C" {
		got = n.sums.Entries()
	}
	return n.compare(got, pgdata.Unlisted)
}

// compare fails unless these are the files that backup_manifest wants.
func (n *inner) compare(got manifest.EntrySource, ignore func(path string) bool) error {
	o := manifest.CompareOptions{
		IgnoreMode: true, IgnoreOwner: true, Ignore: ignore,
		IgnoreSHA256: n.algorithm != "SHA256" && n.algorithm != "CRC32C",
	}
	var differ tally
	return differ.gather(n.named(manifest.Compare(n.wanted.Entries(), filesOf{got}, o)))
}

// named gives differing checksums the name of their kind.
func (n *inner) named(all iter.Seq2[manifest.Difference, error]) iter.Seq2[manifest.Difference, error] {
	return func(yield func(manifest.Difference, error) bool) {
		for d, err := range all {
			d.What = strings.ReplaceAll(strings.Replace(d.What, "sha256", n.algorithm, 1), sumPadding, "")
			if !yield(d, err) {
				return
			}
		}
	}
}
