package manifest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

var errNotWritten = errors.New("not in the form in which it is written")

// Reader reads a manifest from its beginning to its end. What it has given is
// to be believed only after Next has returned [io.EOF].
//
// Errors that are due to the contents are in the chain of [ErrDamaged] or
// [ErrVersion]; those of the underlying reader are passed on.
type Reader struct {
	in      *bufio.Reader
	hash    hash.Hash // of the lines before the current one
	line    []byte    // the current line with its LF
	number  int       // of the current line, from 1
	held    bool      // the current line has not been used yet
	header  Header
	parts   partSet
	order   order
	totals  totals
	scratch []byte
	err     error // that Next has ended with
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	m := &Reader{in: bufio.NewReaderSize(r, maxLine), hash: sha256.New()}
	if err := m.readVersion(); err != nil {
		return nil, err
	}
	if err := m.readHeader(); err != nil {
		return nil, err
	}
	m.parts = newPartSet(m.header.Parts)
	return m, nil
}

// Header returns the header.
func (m *Reader) Header() Header { return m.header }

// Next returns the next entry. It returns io.EOF only after it has found the
// order and the number of the entries, the sum of their sizes and the hash of
// the manifest right and nothing after it.
func (m *Reader) Next() (Entry, error) {
	if m.err != nil {
		return Entry{}, m.err
	}
	e, err := m.next()
	m.err = err
	return e, err
}

func (m *Reader) next() (Entry, error) {
	if err := m.readLine(); err != nil {
		return Entry{}, err
	}
	if m.atSeal() {
		return Entry{}, m.end()
	}
	m.hash.Write(m.line)
	e, err := parseEntry(string(m.line[:len(m.line)-1]))
	if err == nil {
		err = m.checkEntry(&e)
	}
	if err != nil {
		return Entry{}, m.damaged(err.Error())
	}
	return e, nil
}

// checkEntry checks what makes a line right apart from its columns.
func (m *Reader) checkEntry(e *Entry) error {
	m.scratch = append(appendEntry(m.scratch[:0], e), '\n')
	switch {
	case !bytes.Equal(m.scratch, m.line):
		return errNotWritten
	case e.Kind == File && e.SHA256 == "":
		return fmt.Errorf("%s: file without a hash", Escape(e.Path))
	}
	if err := m.totals.add(e); err != nil {
		return err
	}
	if err := m.parts.check(e.Part); err != nil {
		return err
	}
	return m.order.next(m.line)
}

// end checks the last line and what the header has promised.
func (m *Reader) end() error {
	if err := m.checkSeal(); err != nil {
		return err
	}
	if promised := (totals{m.header.Files, m.header.Bytes}); m.totals != promised {
		return m.damaged(fmt.Sprintf("%d files of %d bytes, but the header says %d of %d",
			m.totals.files, m.totals.bytes, promised.files, promised.bytes))
	}
	return io.EOF
}

// checkSeal checks that the current line holds the hash of all others and is
// the last.
func (m *Reader) checkSeal() error {
	if string(m.line) != sealLine(m.hash) {
		return m.damaged("the hash does not match")
	}
	switch _, err := m.in.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return m.damaged("something follows the hash")
	default:
		return err
	}
}

// readVersion reads the first line.
func (m *Reader) readVersion() error {
	if err := m.readLine(); err != nil {
		return err
	}
	m.hash.Write(m.line)
	line := string(m.line[:len(m.line)-1])
	if line == versionLine {
		return nil
	}
	key, version, _ := strings.Cut(line, "\t")
	if n, err := strconv.ParseUint(version, 10, 32); key == versionKey && err == nil && n > 0 {
		return fmt.Errorf("%w: version %d needs another version of this program", ErrVersion, n)
	}
	return m.damaged("not a manifest")
}

// readHeader reads up to the first line that is not of the header.
func (m *Reader) readHeader() error {
	var p headerParser
	for {
		if err := m.readLine(); err != nil {
			return err
		}
		if m.atSeal() || bytes.IndexByte(m.line, '\t') == 1 {
			break
		}
		m.hash.Write(m.line)
		switch err := p.add(string(m.line[:len(m.line)-1])); {
		case errors.Is(err, errUnknownKey):
			return m.unknown(err)
		case err != nil:
			return m.damaged(err.Error())
		}
	}
	m.held = true
	written := sha256.Sum256(p.header.append(nil))
	if !bytes.Equal(m.hash.Sum(nil), written[:]) {
		return m.damaged("the header before this is " + errNotWritten.Error())
	}
	m.header = p.header
	return nil
}

// unknown finds out whether a key is unknown because a newer program wrote it
// or because the manifest is damaged: only the former has the right hash.
func (m *Reader) unknown(cause error) error {
	for !m.atSeal() {
		if err := m.readLine(); err != nil {
			return err
		}
		if !m.atSeal() {
			m.hash.Write(m.line)
		}
	}
	if err := m.checkSeal(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w needs a newer version of this program", ErrVersion, cause)
}

func (m *Reader) atSeal() bool {
	return bytes.HasPrefix(m.line, []byte(sealPrefix))
}

// readLine goes to the next line unless the current one is held.
func (m *Reader) readLine() (err error) {
	if m.held {
		m.held = false
		return nil
	}
	m.number++
	m.line, err = m.in.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return m.damaged("the manifest is cut off")
	case err == bufio.ErrBufferFull || len(m.line) > maxLine:
		return m.damaged("the line is too long")
	}
	return err
}

// damaged makes an error that says where the manifest is wrong.
func (m *Reader) damaged(what string) error {
	return fmt.Errorf("%w: line %d: %s", ErrDamaged, m.number, what)
}
