package manifest

import (
	"fmt"
	"io"
	"iter"
)

// Difference is one thing in which two lists of entries do not agree.
type Difference struct {
	Path string // raw bytes
	What string // printable: "missing", "size 10, expected 20", …
}

// String gives the escaped path and what is different, in one line.
func (d Difference) String() string { return Escape(d.Path) + ": " + d.What }

// CompareOptions says what Compare does not look at. Times of modification it
// never compares, nor modes of links, which mean nothing, nor an owner that
// one of the sides does not know.
type CompareOptions struct {
	IgnoreMode   bool
	IgnoreOwner  bool
	IgnoreSHA256 bool                   // sizes are still compared
	Ignore       func(path string) bool // holds for paths that both sides leave out; may be nil
}

// Compare gives the differences between two lists of entries in the order of
// their paths, reading both only once and keeping nothing. An error of either
// side comes last and ends the comparison; before it has ended without one,
// the manifest that is compared has not been proved whole.
func Compare(want, got EntrySource, o CompareOptions) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		w, g := side{source: want, ignore: o.Ignore}, side{source: got, ignore: o.Ignore}
		for {
			if err := w.fill(); err != nil {
				yield(Difference{}, err)
				return
			}
			if err := g.fill(); err != nil {
				yield(Difference{}, err)
				return
			}
			if !w.held && !g.held {
				return
			}
			for _, d := range o.step(&w, &g) {
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

// step compares the entries that the sides hold and takes the one that sorts
// first, or both.
func (o CompareOptions) step(w, g *side) []Difference {
	switch {
	case !g.held || w.held && w.key < g.key:
		w.held = false
		return []Difference{{w.entry.Path, "missing"}}
	case !w.held || g.key < w.key:
		g.held = false
		return []Difference{{g.entry.Path, "not in the manifest"}}
	default:
		w.held, g.held = false, false
		return o.compare(&w.entry, &g.entry)
	}
}

// side is one of the lists of a comparison and its first entry that has not
// been compared yet.
type side struct {
	source EntrySource
	ignore func(path string) bool
	entry  Entry
	key    string // escaped path of entry
	held   bool
	ended  bool
}

// fill sees to it that the side holds an entry unless it has ended.
func (s *side) fill() error {
	for !s.held && !s.ended {
		e, err := s.source.Next()
		if err == io.EOF {
			s.ended = true
			return nil
		}
		if err != nil {
			return err
		}
		last := s.key
		if s.entry, s.key = e, Escape(e.Path); s.key <= last {
			return fmt.Errorf("%s: after %s, out of order", s.key, last)
		}
		s.held = s.ignore == nil || !s.ignore(e.Path)
	}
	return nil
}

var kindNames = map[byte]string{Directory: "directory", File: "file", Link: "link"}

// compare lists in what two entries of the same path differ.
func (o CompareOptions) compare(want, got *Entry) []Difference {
	if want.Kind != got.Kind {
		return []Difference{differ(want, "", kindNames[got.Kind], kindNames[want.Kind])}
	}
	var list []Difference
	if want.Size != got.Size {
		list = append(list, differ(want, "size ", got.Size, want.Size))
	} else if want.SHA256 != got.SHA256 && !o.IgnoreSHA256 {
		list = append(list, differ(want, "sha256 ", column(got.SHA256), column(want.SHA256)))
	}
	if want.Target != got.Target {
		list = append(list, differ(want, "target ", column(got.Target), column(want.Target)))
	}
	if want.Mode != got.Mode && !o.IgnoreMode && want.Kind != Link {
		list = append(list, differ(want, "mode ", octal(got), octal(want)))
	}
	if known := want.Owner != "" && got.Owner != ""; known && want.Owner != got.Owner && !o.IgnoreOwner {
		list = append(list, differ(want, "owner ", column(got.Owner), column(want.Owner)))
	}
	return list
}

func differ(e *Entry, what string, got, want any) Difference {
	return Difference{e.Path, fmt.Sprintf("%s%v, expected %v", what, got, want)}
}

func column(s string) string { return string(appendText(nil, s)) }

func octal(e *Entry) string { return fmt.Sprintf("%04o", uint32(e.Mode)) }
