package manifest

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"

	"pgpipes/lib/durable"
)

const (
	// runSize is how many bytes of lines are sorted in memory at a time.
	runSize = 16 << 20

	// mergeMemory is shared by the buffers of all runs that are merged.
	mergeMemory  = 8 << 20
	maxRunBuffer = 256 << 10
	minRunBuffer = 4 << 10
)

// sorter puts the lines of entries in the order of their paths. What does not
// fit in memory goes, in sorted runs, to one temporary file that has no name.
type sorter struct {
	dir   string // of the temporary file
	limit int    // bytes of a run
	lines []byte // the run in memory
	spans []span // its lines
	file  *durable.File
	runs  []section // what is in file
}

// span is a line in sorter.lines.
type span struct{ start, path, pathEnd, end uint32 }

// section is a run in sorter.file.
type section struct{ start, size int64 }

// add copies a line, which ends in an LF.
func (s *sorter) add(line []byte) error {
	if len(s.lines)+len(line) > s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.lines == nil {
		s.lines = make([]byte, 0, max(s.limit, len(line)))
	}
	start := len(s.lines)
	s.lines = append(s.lines, line...)
	path, pathEnd := findPath(line)
	s.spans = append(s.spans, span{
		uint32(start), uint32(start + path), uint32(start + pathEnd), uint32(start + len(line)),
	})
	return nil
}

// sort orders the run in memory.
func (s *sorter) sort() {
	slices.SortFunc(s.spans, func(a, b span) int {
		return bytes.Compare(s.lines[a.path:a.pathEnd], s.lines[b.path:b.pathEnd])
	})
}

// spill sorts the run in memory and appends it to the temporary file.
func (s *sorter) spill() error {
	if len(s.spans) == 0 {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	s.sort()
	w := bufio.NewWriterSize(s.file, maxRunBuffer)
	for _, p := range s.spans {
		w.Write(s.lines[p.start:p.end]) // Flush tells of its errors
	}
	if err := w.Flush(); err != nil {
		return err
	}
	run := section{size: int64(len(s.lines))}
	if n := len(s.runs); n > 0 {
		run.start = s.runs[n-1].start + s.runs[n-1].size
	}
	s.runs = append(s.runs, run)
	s.lines, s.spans = s.lines[:0], s.spans[:0]
	return nil
}

// open makes the temporary file. It never gets a name, so it ends with the
// process whatever happens.
func (s *sorter) open() error {
	if s.file != nil {
		return nil
	}
	dir := cmp.Or(s.dir, os.TempDir())
	f, err := durable.Create(filepath.Join(dir, "manifest"), 0o600)
	if err == nil {
		s.file = f
	}
	return err
}

func (s *sorter) close() error {
	s.lines, s.spans = nil, nil
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// merge starts to give all lines in order. It may be called again.
func (s *sorter) merge() (*merge, error) {
	s.sort()
	i := 0
	m := &merge{}
	inMemory := func() ([]byte, error) {
		if i == len(s.spans) {
			return nil, io.EOF
		}
		p := s.spans[i]
		i++
		return s.lines[p.start:p.end], nil
	}
	if err := m.add(inMemory); err != nil {
		return nil, err
	}
	size := max(minRunBuffer, min(maxRunBuffer, mergeMemory/(len(s.runs)+1)))
	for _, r := range s.runs {
		b := bufio.NewReaderSize(io.NewSectionReader(s.file, r.start, r.size), size)
		if err := m.add(func() ([]byte, error) { return readLine(b) }); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// readLine gives the next line with its LF. It is good until the next call.
func readLine(b *bufio.Reader) ([]byte, error) {
	line, err := b.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	start := bytes.Clone(line)
	rest, err := b.ReadBytes('\n')
	return append(start, rest...), err
}
