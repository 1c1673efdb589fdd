package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"pgpipes/lib/sftpmsg"
)

// ErrProtocol says that a server gives answers that are none.
var ErrProtocol = errors.New("the server does not keep to the sftp protocol")

const (
	// namesLimit is how much memory what a server says of one directory may take,
	// in bytes: some 250,000 names of OpenSSH's server.
	namesLimit = 64 << 20
	// nameCost is what a name takes besides its own bytes and its attributes.
	nameCost = 100
	// statusLimit is how long a server may speak of a failure, in bytes.
	statusLimit = 4 << 10
)

// A wire is the two streams of an sftp conversation. It lets only answers
// through that fit what was asked: the library takes others for something else,
// or does not survive them, and it keeps whatever a directory is said to hold. It
// asks the server for its limits, of which the library knows nothing.
type wire struct {
	requests io.WriteCloser
	answers  io.Reader
	body     int    // bytes to come of a request whose head was written
	request  []byte // that head, and what has come of the body
	answer   []byte // the last one, with its length before it
	rest     []byte // of it, not yet given away
	greeted  bool   // the version has come
	mu       sync.Mutex
	asked    map[uint32]asked // what waits for an answer
	names    map[string]int64 // bytes that directories take, by handle
	broken   error            // why no answer is let through any more
	takes    atomic.Uint64    // bytes to read or write at once, 0 while that is not known
}

// asked is a request.
type asked struct {
	kind   byte
	handle string // of a directory
	limits bool   // it is the wire's own
}

// limitsID is the id of the wire's own request. The library's begin with 1.
const limitsID = 0

func newWire(answers io.Reader, requests io.WriteCloser) *wire {
	return &wire{requests: requests, answers: answers, answer: make([]byte, 4+sftpmsg.Longest), asked: map[uint32]asked{}, names: map[string]int64{}}
}

// Close implements io.Closer.
func (w *wire) Close() error { return w.requests.Close() }

// Write implements io.Writer. The library writes the head of a request at once,
// and what is to be stored after it: they go together, as each by itself would be
// a packet of ssh.
func (w *wire) Write(p []byte) (int, error) {
	if w.body == 0 {
		w.begin(p)
		w.request = w.request[:0]
	} else {
		w.body -= len(p)
	}
	w.request = append(w.request, p...)
	if w.body > 0 {
		return len(p), nil
	}
	if _, err := w.requests.Write(w.request); err != nil {
		return 0, err
	}
	return len(p), nil
}

// begin takes note of a request.
func (w *wire) begin(p []byte) {
	w.body = int(binary.BigEndian.Uint32(p)) + 4 - len(p)
	m := sftpmsg.Message(p[4:])
	id, f, _ := m.Parts()
	if m[0] == sftpmsg.Init {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := asked{kind: m[0]}
	switch m[0] {
	case sftpmsg.Readdir:
		a.handle = f.Text()
	case sftpmsg.Close:
		delete(w.names, f.Text())
	}
	w.asked[id] = a
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if err := w.next(); err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.broken = err
			return 0, err
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// next reads an answer. One that is for the wire leaves nothing to give away.
func (w *wire) next() error {
	m, err := sftpmsg.Next(w.answers, w.answer[4:])
	if errors.Is(err, sftpmsg.ErrMessage) {
		return fmt.Errorf("%w: %w; does the account's shell print something?", ErrProtocol, err)
	}
	if err != nil {
		return err
	}
	own := false
	if m[0] == sftpmsg.Version && !w.greeted {
		err = w.greet(m)
	} else {
		own, err = w.check(m)
	}
	if err == nil && !own {
		binary.BigEndian.PutUint32(w.answer, uint32(len(m)))
		w.rest = w.answer[:4+len(m)]
	}
	return err
}

// greet asks for the limits if the server tells them. The library writes nothing
// before it has seen the version, so that this may.
func (w *wire) greet(version sftpmsg.Message) error {
	w.greeted = true
	_, f, _ := version.Parts()
	for len(f.Rest) > 0 && !f.Bad {
		if name, data := f.Text(), f.Text(); name != sftpmsg.LimitsExtension || data != "1" {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked[limitsID] = asked{kind: sftpmsg.Extended, limits: true}
		_, err := w.requests.Write(sftpmsg.AskLimits(limitsID).Bytes())
		return err
	}
	return nil
}

// learn takes note of the limits. A server that does not tell them after all has
// those that all have.
func (w *wire) learn(m sftpmsg.Message, f *sftpmsg.Fields) {
	if m[0] != sftpmsg.Answer {
		return
	}
	message, read, write := f.Long(), f.Long(), f.Long()
	w.takes.Store(min(message-min(message, headSize), read, write))
}

// headSize is what a message with data has before it at most, in bytes: a handle is
// of up to 256.
const headSize = 300

// offence is the error that ended the conversation if that was the server's
// fault.
func (w *wire) offence() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.broken, ErrProtocol) {
		return w.broken
	}
	return nil
}

// check is an error unless a message answers something that was asked, and says
// whether that was the wire.
func (w *wire) check(m sftpmsg.Message) (own bool, err error) {
	id, f, ok := m.Parts()
	w.mu.Lock()
	defer w.mu.Unlock()
	request, waits := w.asked[id]
	delete(w.asked, id)
	if !ok || !waits {
		return false, fmt.Errorf("%w: an answer to nothing that was asked", ErrProtocol)
	}
	if request.limits {
		w.learn(m, f)
		return true, nil
	}
	var wrong string
	switch m[0] {
	case sftpmsg.Status:
		wrong = wrongStatus(request.kind, f)
	case sftpmsg.Handle:
		if f.Text() == "" {
			wrong = "a handle that is none"
		}
	case sftpmsg.Data:
		if f.Number() == 0 {
			wrong = "no data, and no end of file"
		}
	case sftpmsg.Attrs:
		wrong = wrongAttrs(f)
	case sftpmsg.Name:
		wrong = w.wrongNames(request, len(m), f)
	case sftpmsg.Version:
		wrong = "its version, once more"
	}
	if wrong == "" && f.Bad {
		wrong = "an answer that was cut"
	}
	if wrong != "" {
		return false, fmt.Errorf("%w: %s", ErrProtocol, wrong)
	}
	return false, nil
}

// wrongStatus: where something is asked for, "ok" alone is no answer.
func wrongStatus(kind byte, f *sftpmsg.Fields) string {
	switch code := f.Number(); {
	case len(f.Rest) > statusLimit:
		return "an endless message"
	case code == sftpmsg.OK && bytes.IndexByte(wantMore, kind) >= 0:
		return `"ok" without what was asked for`
	}
	return ""
}

// wantMore are the requests that want more than a status.
var wantMore = []byte{
	sftpmsg.Open, sftpmsg.Read, sftpmsg.Lstat, sftpmsg.Fstat, sftpmsg.Opendir, sftpmsg.Readdir, sftpmsg.Realpath, sftpmsg.Stat, sftpmsg.Readlink,
}

// What attributes are told (draft-ietf-secsh-filexfer-02, section 5).
const (
	attrSize     = 0x01
	attrOwner    = 0x02
	attrMode     = 0x04
	attrTime     = 0x08
	attrExtended = 0x80000000
	attrNeeded   = attrSize | attrMode | attrTime
)

// wrongAttrs reads attributes. What is left out the library takes for 0.
func wrongAttrs(f *sftpmsg.Fields) string {
	told := f.Number()
	if !f.Bad && told&attrNeeded != attrNeeded {
		return "a file without size, mode or time"
	}
	if f.Long() > math.MaxInt64 {
		return "a file of an impossible size"
	}
	if told&attrOwner != 0 {
		f.Long()
	}
	f.Number()
	f.Long()
	if told&attrExtended != 0 {
		for n := f.Number(); n > 0 && !f.Bad; n-- {
			_, _ = f.Text(), f.Text()
		}
	}
	return ""
}

// wrongNames reads what a directory holds. Names come without their directory;
// the library would cut a path to its last component.
func (w *wire) wrongNames(request asked, size int, f *sftpmsg.Fields) string {
	if request.kind != sftpmsg.Readdir {
		return ""
	}
	n := f.Number()
	if n == 0 && !f.Bad {
		return "no names, and no end of the directory"
	}
	if w.names[request.handle] += int64(size) + int64(n)*nameCost; w.names[request.handle] > namesLimit {
		return "more names in one directory than can be kept"
	}
	for ; n > 0 && !f.Bad; n-- {
		name, _ := f.Text(), f.Text()
		if !f.Bad && (name == "" || strings.ContainsAny(name, "/\x00")) {
			return fmt.Sprintf("%.100q as a name in a directory", name)
		}
		if wrong := wrongAttrs(f); wrong != "" {
			return wrong
		}
	}
	return ""
}
