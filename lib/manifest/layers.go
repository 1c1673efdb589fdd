package manifest

import (
	"io"
	"strconv"
)

// Layers collects entries in any order, as a Writer does and with its bounds,
// but of several parts: a path may come once for each of them. It is not for
// use by several goroutines at once.
type Layers struct {
	sorter sorter
	line   []byte
}

// NewLayers returns Layers that put their temporary file, if they need one,
// into tmpdir, or into the system's directory for such files if tmpdir is "".
func NewLayers(tmpdir string) *Layers {
	return &Layers{sorter: sorter{dir: tmpdir, limit: runSize}}
}

// Add takes an entry.
func (l *Layers) Add(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	l.line = append(appendEntry(l.line[:0], &e), '\n')
	return l.sorter.add(l.line)
}

// Close removes the temporary file.
func (l *Layers) Close() error { return l.sorter.close() }

// Latest gives of each path the entry in the part with the highest number, and
// of those in parts of other backups only if there is no other. What would
// lie below a file then is left out. Entries must not be added meanwhile.
func (l *Layers) Latest() EntrySource { return &latest{paths: paths{layers: l}} }

// Named gives of each path that a manifest has the entry in the part that the
// manifest names, if there is one. What is in no part comes as it is in the
// manifest. Entries must not be added meanwhile.
func (l *Layers) Named(m EntrySource) EntrySource {
	return &named{manifest: m, paths: paths{layers: l}}
}

// paths gives all entries of a path at a time.
type paths struct {
	layers *Layers
	merge  *merge
	ahead  Entry // the first of the next path
	held   bool
}

// next returns io.EOF after the last path. The entries are good until the next
// call.
func (p *paths) next(group []Entry) (_ []Entry, err error) {
	if p.merge == nil {
		if p.merge, err = p.layers.sorter.merge(); err == nil {
			err = p.advance()
		}
	}
	group = group[:0]
	for err == nil && p.held && (len(group) == 0 || group[0].Path == p.ahead.Path) {
		group = append(group, p.ahead)
		err = p.advance()
	}
	if err == nil && len(group) == 0 {
		err = io.EOF
	}
	return group, err
}

func (p *paths) advance() error {
	line, err := p.merge.next()
	if p.held = err == nil; err == io.EOF {
		return nil
	}
	if err == nil {
		p.ahead, err = parseEntry(string(line[:len(line)-1]))
	}
	return err
}

type latest struct {
	paths paths
	order order
	group []Entry
}

func (l *latest) Next() (e Entry, err error) {
	for {
		if l.group, err = l.paths.next(l.group); err != nil {
			return Entry{}, err
		}
		e = l.group[0]
		for _, other := range l.group[1:] {
			if age(other.Part) >= age(e.Part) {
				e = other
			}
		}
		if l.order.next(appendEntry(nil, &e)) == nil {
			return e, nil
		}
	}
}

// age is the number of a part of the backup itself, and less of another's.
func age(part string) int {
	label, number := SplitPart(part)
	if n, err := strconv.Atoi(number); err == nil && label == "" {
		return n
	}
	return -1
}

type named struct {
	manifest EntrySource
	paths    paths
	group    []Entry
	key      string // escaped path of group; "" before the first
	ended    bool
}

func (n *named) Next() (Entry, error) {
	for {
		want, err := n.manifest.Next()
		if err != nil || want.Part == "" {
			return want, err
		}
		if err := n.seek(Escape(want.Path)); err != nil {
			return Entry{}, err
		}
		for _, e := range n.group {
			if !n.ended && e.Path == want.Path && e.Part == want.Part {
				return e, nil
			}
		}
	}
}

// seek goes to the first path that is not before key.
func (n *named) seek(key string) (err error) {
	for !n.ended && n.key < key {
		if n.group, err = n.paths.next(n.group); err == io.EOF {
			n.ended = true
			return nil
		}
		if err != nil {
			return err
		}
		n.key = Escape(n.group[0].Path)
	}
	return nil
}
