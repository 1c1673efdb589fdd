package verify

import (
	"errors"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/note"
	"pgpipes/lib/wal"
)

// A Finding is something that is wrong in a repository.
type Finding struct {
	Kind string
	Name string // of an object, a WAL file, a run of them, or a backup
	What string // is wrong with it
}

// Kinds of findings.
const (
	FoundDamaged = "damaged" // an object is not what was stored, or not where it belongs
	FoundMissing = "missing" // an object or a WAL file is not there that something else needs
	FoundHole    = "hole"    // segments are missing that recoveries need, see Hole
	FoundDropped = "dropped" // segments were dropped by wal-push --queue-max, and are still missing
	FoundDiffers = "differs" // the parts of a backup are as they were stored, but not what its manifest says
)

// String is the finding in one line: kind, name and what is wrong, with tabs
// between them.
func (f Finding) String() string { return f.Kind + "\t" + f.Name + "\t" + note.InLine(f.What) }

// isDamage reports whether an error says something about an object, not about
// the way to it.
func isDamage(err error) bool {
	for _, damage := range []error{
		archive.ErrDamaged, manifest.ErrDamaged, codec.ErrCorrupt, wal.ErrHeader, wal.ErrMismatch, wal.ErrRecord,
	} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// complaint is what an error says about an object, without what a finding says
// anyhow.
func complaint(key string, err error) string {
	text := strings.TrimPrefix(err.Error(), key+": ")
	if n, _, ok := layout.ParseWALKey(key); ok {
		text = strings.TrimPrefix(strings.TrimPrefix(text, n.String()+": "), "wal: ")
	}
	for _, known := range []error{archive.ErrDamaged, manifest.ErrDamaged} {
		text = strings.TrimPrefix(text, known.Error()+": ")
	}
	return text
}
