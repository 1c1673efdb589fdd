package manifest

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// Lines sorts lines of text by their eighth column, the PATH column of an
// entry, with the bounds of a [Writer]. Their other columns may be of any kind.
// It is not for use by several goroutines at once.
type Lines struct{ sorter sorter }

// NewLines returns Lines that put their temporary file, if they need one, into
// tmpdir, or into the system's directory for such files if tmpdir is "".
func NewLines(tmpdir string) *Lines {
	return &Lines{sorter{dir: tmpdir, limit: runSize}}
}

// Add copies a line, which has at least eight columns and ends in an LF.
func (l *Lines) Add(line []byte) error {
	if bytes.Count(line, []byte{'\t'}) < pathColumn || bytes.IndexByte(line, '\n') != len(line)-1 {
		return errors.New("not a line of eight columns")
	}
	return l.sorter.add(line)
}

// All gives the lines in order. Each is good until the next one. An error comes
// last.
func (l *Lines) All() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		m, err := l.sorter.merge()
		for err == nil {
			var line []byte
			if line, err = m.next(); err == nil && !yield(line, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(nil, err)
		}
	}
}

// Close removes the temporary file.
func (l *Lines) Close() error { return l.sorter.close() }
