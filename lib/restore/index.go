package restore

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"slices"
	"sort"

	"pgpipes/lib/manifest"
)

// An index knows of every path of a manifest what a restore has to decide by:
// 32 bytes for each, as a cluster can have millions. What it decides is checked
// against the manifest itself at the end.
type index struct {
	seed    maphash.Seed
	all     []listed // in the order of their paths' hashes
	parts   []manifest.Part
	last    int    // the part that ends the backup
	nowhere string // a file that is in no part
}

// listed is what an index knows of a path.
type listed struct {
	path  uint64 // its hash
	sum   uint64 // the beginning of the SHA-256 of a file
	size  int64
	part  uint32 // index of the part that holds it
	kind  byte
	state state
}

// A state says how far a file has come.
type state uint8

const (
	awaited  state = iota // still to be written
	inPlace               // was there already
	received              // has been written
	excluded              // is not wanted
)

// indexing makes an index of entries.
type indexing struct {
	index   *index
	numbers map[string]uint32 // of parts, by name
}

func newIndexing(parts []manifest.Part) *indexing {
	n := &indexing{&index{seed: maphash.MakeSeed(), last: -1}, map[string]uint32{}}
	for _, p := range parts {
		n.number(p)
	}
	return n
}

// number is that of a part, which may not be known yet.
func (n *indexing) number(p manifest.Part) uint32 {
	number, known := n.numbers[p.Name]
	if !known {
		number = uint32(len(n.index.parts))
		n.numbers[p.Name] = number
		n.index.parts = append(n.index.parts, p)
	}
	return number
}

func (n *indexing) add(e manifest.Entry, s state) {
	f := listed{path: n.index.hash(e.Path), sum: beginning(e.SHA256), size: e.Size, kind: e.Kind, state: s}
	if e.Part != "" {
		f.part = n.number(manifest.Part{Name: e.Part})
	} else if e.Kind == manifest.File {
		n.index.nowhere = e.Path
	}
	n.index.all = append(n.index.all, f)
}

// finish puts everything in order. That two paths have one hash will hardly
// ever happen, and never twice.
func (n *indexing) finish() (*index, error) {
	slices.SortFunc(n.index.all, func(a, b listed) int { return cmp.Compare(a.path, b.path) })
	for i := range len(n.index.all) - 1 {
		if n.index.all[i].path == n.index.all[i+1].path {
			return nil, errors.New("two paths cannot be told apart this time: try again")
		}
	}
	for i, p := range n.index.parts {
		if n.index.last < 0 || comesAfter(p.Name, n.index.parts[n.index.last].Name) {
			n.index.last = i
		}
	}
	return n.index, nil
}

// comesAfter says which of two parts is nearer to the end of a backup: its own
// come after those of others, and then the number counts.
func comesAfter(a, b string) bool {
	labelA, numberA := manifest.SplitPart(a)
	labelB, numberB := manifest.SplitPart(b)
	switch {
	case (labelA == "") != (labelB == ""):
		return labelA == ""
	case len(numberA) != len(numberB):
		return len(numberA) > len(numberB)
	}
	return numberA > numberB
}

func (x *index) hash(path string) uint64 { return maphash.String(x.seed, path) }

// beginning is what an index keeps of a SHA-256.
func beginning(sum string) uint64 {
	var b [8]byte
	if len(sum) < 2*len(b) {
		return 0
	}
	_, _ = hex.Decode(b[:], []byte(sum[:2*len(b)]))
	return binary.BigEndian.Uint64(b[:])
}

// find looks a path up; nil if the manifest does not have it. Only whoever has
// the part, or the file, in hand may look at the state.
func (x *index) find(path string) *listed {
	h := x.hash(path)
	i := sort.Search(len(x.all), func(i int) bool { return x.all[i].path >= h })
	if i == len(x.all) || x.all[i].path != h {
		return nil
	}
	return &x.all[i]
}

// A need is what is wanted of a part.
type need struct {
	any            bool
	files          int   // that are awaited
	awaited, bytes int64 // of the files that are awaited, and of all
}

// sparse says whether less is wanted than can be passed over.
func (n *need) sparse() bool { return n.awaited < n.bytes/2 }

// needs says what is wanted of which part. The one that ends the backup always
// is.
func (x *index) needs() []need {
	needs := make([]need, max(1, len(x.parts)))
	for i := range x.all {
		f := &x.all[i]
		if f.kind != manifest.File {
			continue
		}
		n := &needs[f.part]
		n.bytes += f.size
		if f.state == awaited {
			n.any, n.files, n.awaited = true, n.files+1, n.awaited+f.size
		}
	}
	if x.last >= 0 {
		needs[x.last].any = true
	}
	return needs
}
