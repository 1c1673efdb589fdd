package manifest

import (
	"fmt"
	"io"
)

// Writer collects entries in any order and writes them as a manifest. It keeps
// some 20 MB in memory and the rest in a temporary file that has no name and
// so vanishes with the process. It is not for use by several goroutines at
// once.
type Writer struct {
	sorter   sorter
	totals   totals
	parts    partSet // that entries have named
	unhashed string  // a file without a hash, if there is one
	line     []byte
}

// NewWriter returns a Writer that puts its temporary file, if it needs one,
// into tmpdir, or into the system's directory for such files if tmpdir is "".
func NewWriter(tmpdir string) *Writer {
	return &Writer{sorter: sorter{dir: tmpdir, limit: runSize}, parts: partSet{}}
}

// Add takes an entry. A File may come without a hash for [Writer.Entries], but
// not for [Writer.Finish]. An error is either due to the entry, which then has
// not been taken, or to the temporary file.
func (w *Writer) Add(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	w.line = append(appendEntry(w.line[:0], &e), '\n')
	if len(w.line) > maxLine {
		return fmt.Errorf("%.100s...: too long for a manifest", Escape(e.Path))
	}
	if err := w.totals.add(&e); err != nil {
		return err
	}
	w.note(&e)
	return w.sorter.add(w.line)
}

// note keeps what Finish has to know of an entry.
func (w *Writer) note(e *Entry) {
	if e.Part != "" && !w.parts[e.Part] {
		w.parts[e.Part] = true
	}
	if e.Kind == File && e.SHA256 == "" {
		w.unhashed = e.Path
	}
}

// Finish writes the manifest of all entries with the header h, of which it
// sets Files and Bytes itself. Entries that do not agree with each other or
// with the parts of the header are an error: the same path twice, an entry
// below a file or a link, a part without a receipt although others have one.
// After an error out holds no complete manifest.
func (w *Writer) Finish(out io.Writer, h Header) error {
	h.Files, h.Bytes = w.totals.files, w.totals.bytes
	if w.unhashed != "" {
		return fmt.Errorf("%s: file without a hash", Escape(w.unhashed))
	}
	parts := newPartSet(h.Parts)
	for name := range w.parts {
		if err := parts.check(name); err != nil {
			return err
		}
	}
	o, err := newOutput(out, &h)
	if err != nil {
		return err
	}
	lines, err := w.ordered()
	for err == nil {
		var line []byte
		if line, err = lines.next(); err == nil {
			_, err = o.Write(line)
		}
	}
	if err != io.EOF {
		return err
	}
	return o.seal()
}

// Entries gives all entries in order, so that they can be compared with a
// manifest without making one of them. Entries must not be added while it is
// in use.
func (w *Writer) Entries() EntrySource {
	return &entries{writer: w}
}

// Close removes the temporary file. The Writer is of no more use.
func (w *Writer) Close() error {
	return w.sorter.close()
}

// ordered gives the lines in order and proves that they can stand in one
// manifest.
func (w *Writer) ordered() (*orderedLines, error) {
	m, err := w.sorter.merge()
	return &orderedLines{merge: m}, err
}

type orderedLines struct {
	merge *merge
	order order
}

func (l *orderedLines) next() ([]byte, error) {
	line, err := l.merge.next()
	if err != nil {
		return nil, err
	}
	return line, l.order.next(line)
}

// entries is the EntrySource of a Writer. It begins with the first call of
// Next.
type entries struct {
	writer *Writer
	lines  *orderedLines
}

func (s *entries) Next() (Entry, error) {
	if s.lines == nil {
		lines, err := s.writer.ordered()
		if err != nil {
			return Entry{}, err
		}
		s.lines = lines
	}
	line, err := s.lines.next()
	if err != nil {
		return Entry{}, err
	}
	return parseEntry(string(line[:len(line)-1]))
}
