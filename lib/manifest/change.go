package manifest

import (
	"iter"
	"time"
)

// State says what became of a path between two manifests.
type State string

// The states. A file has changed when its contents have; what has only another
// mode, owner, time or target has been touched.
const (
	Added     State = "added"
	Removed   State = "removed"
	Changed   State = "changed"
	Touched   State = "touched"
	Unchanged State = "unchanged"
)

// A Change is what became of one path.
type Change struct {
	State  State
	Before Entry // the zero Entry if it was added
	After  Entry // the zero Entry if it was removed
}

// Path is the path of both entries, as raw bytes.
func (c *Change) Path() string {
	if c.State == Removed {
		return c.Before.Path
	}
	return c.After.Path
}

// Changes gives what became of every path that one of two manifests has, also
// of what is unchanged, in the order of the paths. It reads both only once and
// keeps nothing. In which parts they are stored does not matter, nor does the
// mode of a link, nor an owner or a time that one of the sides does not know. An
// error of either side comes last and ends it; before it has ended without one,
// the manifests have not been proved whole.
func Changes(before, after EntrySource) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		b, a := side{source: before}, side{source: after}
		for {
			c, more, err := nextChange(&b, &a)
			if err != nil {
				yield(Change{}, err)
				return
			}
			if !more || !yield(c, nil) {
				return
			}
		}
	}
}

// nextChange takes the entry that sorts first, or one of each side.
func nextChange(b, a *side) (c Change, more bool, err error) {
	if err := b.fill(); err != nil {
		return c, false, err
	}
	if err := a.fill(); err != nil {
		return c, false, err
	}
	hadBefore := b.held && (!a.held || b.key <= a.key)
	hasAfter := a.held && (!b.held || a.key <= b.key)
	if hadBefore {
		c.State, c.Before, b.held = Removed, b.entry, false
	}
	if hasAfter {
		c.State, c.After, a.held = Added, a.entry, false
	}
	if hadBefore && hasAfter {
		c.State = became(&c.Before, &c.After)
	}
	return c, hadBefore || hasAfter, nil
}

// became compares two entries of a path.
func became(before, after *Entry) State {
	owners := before.Owner != "" && after.Owner != ""
	times := !before.MTime.IsZero() && !after.MTime.IsZero()
	switch {
	case before.Kind != after.Kind || before.Size != after.Size || before.SHA256 != after.SHA256:
		return Changed
	case before.Target != after.Target,
		before.Mode != after.Mode && before.Kind != Link,
		owners && before.Owner != after.Owner,
		times && !before.MTime.Truncate(time.Second).Equal(after.MTime.Truncate(time.Second)):
		return Touched
	}
	return Unchanged
}
