package server

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A framing tells which of the bytes that a base backup sends belong to which
// file.
type framing interface {
	// expect announces a file in the order of the tablespaces.
	expect(s Sent)
	// begin takes a CopyOutResponse.
	begin() (*Sent, error)
	// data takes what one CopyData holds: a file begins, or bytes of it, or
	// neither. An empty one is allowed everywhere, and ends nothing.
	data(b []byte) (*Sent, []byte, error)
	// end takes a CopyDone. The bytes belong to the file that ends.
	end() ([]byte, error)
	// complete reports whether all files have come.
	complete() bool
}

func newFraming(major int) framing {
	if major < 15 {
		return &separate{}
	}
	return &typed{}
}

// trailer ends a tar; servers before 15 leave it out.
var trailer = make([]byte, 2*512)

// separate is the framing before 15: one copy for each file, in the order of the
// tablespaces, and a last one for the manifest.
type separate struct {
	files []Sent
	begun int  // files
	open  bool // the last of them has not ended
}

func (f *separate) expect(s Sent) { f.files = append(f.files, s) }

func (f *separate) begin() (*Sent, error) {
	if f.open || f.begun > len(f.files) {
		return nil, fmt.Errorf("%w: a file too many", ErrProtocol)
	}
	f.open = true
	f.begun++
	if f.begun > len(f.files) {
		return &Sent{Name: SentManifest}, nil
	}
	return &f.files[f.begun-1], nil
}

func (f *separate) data(b []byte) (*Sent, []byte, error) {
	if !f.open {
		return nil, nil, fmt.Errorf("%w: bytes that belong to no file", ErrProtocol)
	}
	return nil, b, nil
}

func (f *separate) end() ([]byte, error) {
	if !f.open {
		return nil, fmt.Errorf("%w: an end without a beginning", ErrProtocol)
	}
	f.open = false
	if f.begun > len(f.files) {
		return nil, nil // the manifest is no tar
	}
	return trailer, nil
}

func (f *separate) complete() bool { return !f.open && f.begun == len(f.files)+1 }

// typed is the framing since 15 (basebackup_copy.c): one copy of messages that
// begin with a letter.
type typed struct {
	archives int // that are still to come
	inFile   bool
	manifest bool
	ended    bool
}

func (f *typed) expect(Sent) { f.archives++ }

func (f *typed) begin() (*Sent, error) {
	if f.inFile || f.ended {
		return nil, fmt.Errorf("%w: a second copy", ErrProtocol)
	}
	return nil, nil
}

func (f *typed) data(b []byte) (*Sent, []byte, error) {
	if len(b) == 0 {
		return nil, nil, nil
	}
	switch letter, b := b[0], b[1:]; {
	case letter == 'n' && !f.manifest:
		return f.archive(b)
	case letter == 'm' && !f.manifest && f.archives == 0:
		f.manifest = true
		return &Sent{Name: SentManifest}, nil, nil
	case letter == 'd' && f.inFile:
		return nil, b, nil
	case letter == 'p':
		return nil, nil, nil // how far it is; what has come is counted here
	default:
		return nil, nil, fmt.Errorf("%w: message %q out of place", ErrProtocol, letter)
	}
}

// archive understands the name of an archive, after which comes the path of the
// tablespace.
func (f *typed) archive(b []byte) (*Sent, []byte, error) {
	name, _, ok := bytes.Cut(b, []byte{0})
	s := &Sent{Name: string(name)}
	oid, _, tar := strings.Cut(s.Name, ".tar")
	if oid != "base" {
		n, err := strconv.ParseUint(oid, 10, 32)
		tar = tar && err == nil
		s.OID = uint32(n)
	}
	if !ok || !tar || f.archives == 0 {
		return nil, nil, fmt.Errorf("%w: an archive called %q", ErrProtocol, name)
	}
	f.archives--
	f.inFile = true
	return s, nil, nil
}

func (f *typed) end() ([]byte, error) {
	f.ended = true
	return nil, nil
}

func (f *typed) complete() bool { return f.ended && f.manifest }
