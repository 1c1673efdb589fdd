// Package sftpmsg takes apart the messages of SFTP version 3
// (draft-ietf-secsh-filexfer-02), for those who stand between its two sides.
package sftpmsg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The kinds of messages (section 3).
const (
	Init     = 1
	Version  = 2
	Open     = 3
	Close    = 4
	Read     = 5
	Write    = 6
	Lstat    = 7
	Fstat    = 8
	Setstat  = 9
	Fsetstat = 10
	Opendir  = 11
	Readdir  = 12
	Remove   = 13
	Mkdir    = 14
	Rmdir    = 15
	Realpath = 16
	Stat     = 17
	Rename   = 18
	Readlink = 19
	Symlink  = 20
	Status   = 101
	Handle   = 102
	Data     = 103
	Name     = 104
	Attrs    = 105
	Extended = 200
	Answer   = 201 // to Extended, if it is more than a status
)

// The flags of Open.
const (
	OpenRead  = 0x01
	OpenWrite = 0x02
	OpenCreat = 0x08
	OpenExcl  = 0x20
)

// The codes of Status that matter here.
const (
	OK               = 0
	PermissionDenied = 3
)

// Longest is what OpenSSH's server takes at most (SFTP_MAX_MSG_LENGTH), in bytes.
const Longest = 256 << 10

// ErrMessage says that what came is no message.
var ErrMessage = errors.New("not a message of sftp")

// A Message is one without its length: its kind and what follows.
type Message []byte

// Next reads one message, into memory if that is large enough. The end of the
// stream between two is io.EOF.
func Next(r io.Reader, memory []byte) (Message, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 1 || n > Longest {
		return nil, fmt.Errorf("%w (it begins with %q)", ErrMessage, length[:])
	}
	m := Message(memory)
	if cap(m) < int(n) {
		m = make(Message, n)
	}
	m = m[:n]
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return m, nil
}

// Bytes is the message with its length.
func (m Message) Bytes() []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...)
}

// Parts takes apart a message that has an id.
func (m Message) Parts() (id uint32, f *Fields, ok bool) {
	f = &Fields{Rest: m[1:]}
	id = f.Number()
	return id, f, !f.Bad
}

// Denial is the answer to what is not let through.
func Denial(id uint32, why string) Message {
	m := Message{Status}
	m = binary.BigEndian.AppendUint32(m, id)
	m = binary.BigEndian.AppendUint32(m, PermissionDenied)
	m = binary.BigEndian.AppendUint32(m, uint32(len(why)))
	m = append(m, why...)
	return binary.BigEndian.AppendUint32(m, 0) // of no language
}

// AskLimits asks a server that offers LimitsExtension what it takes at most.
func AskLimits(id uint32) Message {
	m := binary.BigEndian.AppendUint32(Message{Extended}, id)
	m = binary.BigEndian.AppendUint32(m, uint32(len(LimitsExtension)))
	return append(m, LimitsExtension...)
}

// LimitsExtension is answered with four numbers of 64 bits: of bytes in a message,
// to read and to write at once, and of open files; 0 is no limit that is known
// (OpenSSH's PROTOCOL, section 4.8).
const LimitsExtension = "limits@openssh.com"

// Fields reads the parts of a message one after the other.
type Fields struct {
	Rest []byte // not yet read
	Bad  bool   // there was less than was read
}

// Number reads one of 32 bits.
func (f *Fields) Number() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Long reads a number of 64 bits.
func (f *Fields) Long() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Text reads a string.
func (f *Fields) Text() string { return string(f.take(uint64(f.Number()))) }

// take is nil if there is less.
func (f *Fields) take(n uint64) []byte {
	if f.Bad || n > uint64(len(f.Rest)) {
		f.Bad = true
		return nil
	}
	b := f.Rest[:n]
	f.Rest = f.Rest[n:]
	return b
}
