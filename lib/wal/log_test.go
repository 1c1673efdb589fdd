package wal_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/wal"
)

// A heard is what a walk has told.
type heard struct {
	records []wal.Record
	moments []wal.Moment
}

func (h *heard) listener() wal.Listener {
	return wal.Listener{
		Record: func(r wal.Record) { h.records = append(h.records, r) },
		Moment: func(m wal.Moment) { h.moments = append(h.moments, m) },
	}
}

// walk walks through one segment, in pieces of a size.
func walk(t testing.TB, name string, b []byte, piece int, l wal.Listener) (wal.Link, error) {
	t.Helper()
	n, err := wal.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	w := wal.NewWalk(n)
	w.Listener = l
	for len(b) > 0 && err == nil {
		some := b[:min(piece, len(b))]
		b = b[len(some):]
		_, err = w.Write(some)
	}
	link, end := w.End()
	if err != nil && !errors.Is(end, err) {
		t.Errorf("%s: End says %v, Write has said %v", name, end, err)
	}
	return link, end
}

// chain walks through segments by the order of their names and joins them. What
// follows an error is not read.
func chain(t testing.TB, segments map[string][]byte, l wal.Listener) error {
	t.Helper()
	c := wal.Chain{Listener: l}
	for _, name := range slices.SortedFunc(maps.Keys(segments), byNumber) {
		link, err := walk(t, name, segments[name], 1<<20, l)
		if err == nil {
			err = c.Add(link)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func byNumber(a, b string) int { return strings.Compare(a[8:], b[8:]) }

// line reads the fixtures of a directory that lie on the line to its last
// timeline: 1 MiB segments that a server of that major has archived. The log has
// transactions of all kinds, a restore point, a record that is longer than two
// segments, one that a crash has left unfinished, switches, and a switch to
// another timeline. It is small because the long records hold but one letter.
func line(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	segments := map[string][]byte{}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".gz"); !strings.Contains(name, ".") {
			segments[name] = unzip(t, file)
		}
	}
	return segments
}

func unzip(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// broken is an independent copy of the segments with one changed.
func broken(segments map[string][]byte, name string, change func(b []byte)) map[string][]byte {
	copied := maps.Clone(segments)
	copied[name] = bytes.Clone(copied[name])
	change(copied[name])
	return copied
}
