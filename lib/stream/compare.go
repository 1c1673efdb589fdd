package stream

import (
	"iter"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

// Compare gives the differences between a manifest and what was found, as
// [manifest.Compare] does, but for the owners. Whether a list has the data
// directory itself and backup_manifest is left to it.
func Compare(want, got manifest.EntrySource, o manifest.CompareOptions) iter.Seq2[manifest.Difference, error] {
	o.IgnoreOwner = true
	return func(yield func(manifest.Difference, error) bool) {
		for d, err := range manifest.Compare(want, got, o) {
			if (err != nil || !optional(d)) && !yield(d, err) {
				return
			}
		}
	}
}

// optional holds for differences in what one of two lists may leave out.
func optional(d manifest.Difference) bool {
	onlyInOne := d.What == "missing" || d.What == "not in the manifest"
	return onlyInOne && (d.Path == "." || d.Path == pgdata.ManifestFile && d.What != "missing")
}

// Files are the entries without directories and links.
func Files(of manifest.EntrySource) manifest.EntrySource { return onlyFiles{of} }

type onlyFiles struct{ manifest.EntrySource }

func (s onlyFiles) Next() (manifest.Entry, error) {
	for {
		e, err := s.EntrySource.Next()
		if err != nil || e.Kind == manifest.File {
			return e, err
		}
	}
}

// A Tally counts differences and keeps the first.
type Tally struct {
	Tell  func(format string, args ...any) // is told of each; may be nil
	first manifest.Difference
	count int
}

// Add counts one more.
func (t *Tally) Add(d manifest.Difference) {
	if t.count++; t.count == 1 {
		t.first = d
	}
	if t.Tell != nil {
		t.Tell("%s", d)
	}
}

// Gather adds all of a comparison. If anything differs, then or before, the
// error is of the kind [ErrDiffers].
func (t *Tally) Gather(differences iter.Seq2[manifest.Difference, error]) error {
	for d, err := range differences {
		if err != nil {
			return err
		}
		t.Add(d)
	}
	switch t.count {
	case 0:
		return nil
	case 1:
		return Differs("%s", t.first)
	}
	return Differs("%s; %d differences in all", t.first, t.count)
}
