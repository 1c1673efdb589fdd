package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// order proves of the lines of entries that their paths ascend strictly and
// that nothing lies below a file or a link: whoever restores such a manifest
// is never led through a link out of the data directory.
type order struct {
	last   []byte // the path before, as it is written
	leaves []int  // lengths of the beginnings of last that are files or links
}

// next takes the next line.
func (o *order) next(line []byte) error {
	name := pathOf(line)
	switch c := bytes.Compare(name, o.last); {
	case c == 0:
		return fmt.Errorf("%s: twice", name)
	case c < 0:
		return fmt.Errorf("%s: after %s, out of order", name, o.last)
	}
	o.trim(commonPrefix(name, o.last))
	// A name in leaves begins both paths and is shorter than the new one,
	// which would sort before the last otherwise.
	for _, n := range o.leaves {
		if name[n] == '/' {
			return fmt.Errorf("%s: below %s, which is not a directory", name, name[:n])
		}
	}
	if line[0] != Directory {
		o.leaves = append(o.leaves, len(name))
	}
	o.last = append(o.last[:0], name...)
	return nil
}

// trim forgets the names that are longer than n.
func (o *order) trim(n int) {
	for len(o.leaves) > 0 && o.leaves[len(o.leaves)-1] > n {
		o.leaves = o.leaves[:len(o.leaves)-1]
	}
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// totals are the counts that the header holds.
type totals struct{ files, bytes int64 }

func (t *totals) add(e *Entry) error {
	if e.Kind != File {
		return nil
	}
	if e.Size > math.MaxInt64-t.bytes {
		return fmt.Errorf("%s: size %d is more than can be added up", Escape(e.Path), e.Size)
	}
	t.files++
	t.bytes += e.Size
	return nil
}

// partSet holds the names of the parts of a header.
type partSet map[string]bool

func newPartSet(parts []Part) partSet {
	set := make(partSet, len(parts))
	for _, p := range parts {
		set[p.Name] = true
	}
	return set
}

// check demands a receipt for a part that an entry names, once there are
// receipts at all.
func (s partSet) check(name string) error {
	if len(s) == 0 || name == "" || s[name] {
		return nil
	}
	return errors.New("part " + name + ": not in the header")
}
