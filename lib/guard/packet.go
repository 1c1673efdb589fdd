package guard

import (
	"encoding/binary"
	"errors"
	"io"
)

// The requests of SFTP version 3 that a guard looks at, and three answers
// (draft-ietf-secsh-filexfer-02, section 3).
const (
	fxpInit     = 1
	fxpVersion  = 2
	fxpOpen     = 3
	fxpClose    = 4
	fxpRead     = 5
	fxpWrite    = 6
	fxpLstat    = 7
	fxpFstat    = 8
	fxpSetstat  = 9
	fxpFsetstat = 10
	fxpOpendir  = 11
	fxpReaddir  = 12
	fxpRemove   = 13
	fxpMkdir    = 14
	fxpRmdir    = 15
	fxpRealpath = 16
	fxpStat     = 17
	fxpRename   = 18
	fxpReadlink = 19
	fxpSymlink  = 20
	fxpStatus   = 101
	fxpHandle   = 102
	fxpExtended = 200
)

// The flags of fxpOpen.
const (
	fxfRead  = 0x01
	fxfWrite = 0x02
	fxfCreat = 0x08
	fxfExcl  = 0x20
)

// attrPermissions is the flag of attributes that are nothing but permissions.
const attrPermissions = 0x04

// maxPacket is what OpenSSH's server takes at most (SFTP_MAX_MSG_LENGTH).
const maxPacket = 256 << 10

// permissionDenied is the code of the answer to what is not let through.
const permissionDenied = 3

var (
	errPacket    = errors.New("sftp: not a packet of the protocol")
	errBeginning = errors.New("sftp: a conversation begins with its version, once")
	errRepeated  = errors.New("sftp: the number of a request that is not answered yet")
)

// A packet is one message, without its length: its type and what follows.
type packet []byte

// readPacket reads one message. The end of the stream between two is io.EOF.
func readPacket(r io.Reader) (packet, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 1 || n > maxPacket {
		return nil, errPacket
	}
	p := make(packet, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return p, nil
}

// bytes is the message with its length.
func (p packet) bytes() []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// fields reads the parts of a message one after the other.
type fields struct {
	rest []byte
	bad  bool
}

// request splits a message that has an id.
func (p packet) request() (id uint32, f *fields, ok bool) {
	f = &fields{rest: p[1:]}
	id = f.number()
	return id, f, !f.bad
}

func (f *fields) number() uint32 {
	if len(f.rest) < 4 {
		f.bad = true
		return 0
	}
	n := binary.BigEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	if f.bad || uint64(n) > uint64(len(f.rest)) {
		f.bad = true
		return ""
	}
	s := string(f.rest[:n])
	f.rest = f.rest[n:]
	return s
}

// plain reads attributes and reports whether they say nothing, or nothing but
// who may read, write and execute.
func (f *fields) plain() bool {
	switch f.number() {
	case 0:
		return true
	case attrPermissions:
		return f.number()&^0o777 == 0
	}
	return false
}

// initiation begins a conversation in version 3, whatever the client can do: no
// other is known here.
func initiation() packet { return binary.BigEndian.AppendUint32(packet{fxpInit}, 3) }

// denial is the answer to what is not let through.
func denial(id uint32, why string) packet {
	p := packet{fxpStatus}
	p = binary.BigEndian.AppendUint32(p, id)
	p = binary.BigEndian.AppendUint32(p, permissionDenied)
	p = binary.BigEndian.AppendUint32(p, uint32(len(why)))
	p = append(p, why...)
	return binary.BigEndian.AppendUint32(p, 0) // of no language
}
