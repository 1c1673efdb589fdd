package store_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pgpipes/lib/sftpmsg"
	"pgpipes/lib/store"
)

// A hostile is a server that speaks ssh and sftp well until one of these does it
// in its place. Behind it is OpenSSH's sftp server.
type hostile struct {
	greet   func(net.Conn)                               // all there is to a connection
	preAuth func(ssh.ServerPreAuthConn)                  // before anybody has logged in
	refuse  bool                                         // there is no sftp
	session func(ssh.Channel)                            // the subsystem
	instead func(request sftpmsg.Message) []byte         // of passing it on; nil if it is
	after   func(request, honest sftpmsg.Message) []byte // what is said in place of an answer
	Root    string                                       // of the store
	config  string                                       // of ssh
	known   string                                       // its keys
	key     ssh.Signer
	all     sync.WaitGroup // of its goroutines
	mu      sync.Mutex
	open    map[io.Closer]bool
	over    bool
}

// start has the server listen until the test ends, and opens a store there.
func (h *hostile) start(t *testing.T) store.Store {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h.Root, h.config, h.known, h.open = filepath.Join(dir, "repo"), filepath.Join(dir, "config"), filepath.Join(dir, "known"), map[io.Closer]bool{}
	h.key = newKey(t)
	if err := os.Mkdir(h.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	h.know(t, h.key)
	settings := []string{
		"Host vault", "HostName 127.0.0.1", "Port " + strconv.Itoa(l.Addr().(*net.TCPAddr).Port), "User nobody", "HostKeyAlias vault",
		"IdentityFile /does/not/exist", "IdentitiesOnly yes", "IdentityAgent none", "UserKnownHostsFile " + h.known, "GlobalKnownHostsFile /dev/null",
	}
	if err := os.WriteFile(h.config, []byte(strings.Join(settings, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open("sftp://vault" + h.Root + "?config=" + h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.keep(l)
	h.all.Go(func() { h.listen(l) })
	t.Cleanup(h.stop)
	t.Cleanup(func() { s.(io.Closer).Close() })
	return s
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// know makes a key what ssh takes for the server's.
func (h *hostile) know(t *testing.T, key ssh.Signer) {
	t.Helper()
	if err := os.WriteFile(h.known, []byte("vault "+string(ssh.MarshalAuthorizedKey(key.PublicKey()))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// keep has stop close something.
func (h *hostile) keep(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[c] = true; h.over {
		c.Close()
	}
}

func (h *hostile) drop(c io.Closer) {
	c.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c)
}

func (h *hostile) stop() {
	h.mu.Lock()
	h.over = true
	for c := range h.open {
		c.Close()
	}
	h.mu.Unlock()
	h.all.Wait()
}

func (h *hostile) listen(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		h.keep(c)
		h.all.Go(func() {
			defer h.drop(c)
			if h.greet != nil {
				h.greet(c)
				return
			}
			h.login(c)
		})
	}
}

func (h *hostile) login(c net.Conn) {
	settings := &ssh.ServerConfig{NoClientAuth: true, PreAuthConnCallback: h.preAuth}
	settings.AddHostKey(h.key)
	conn, channels, requests, err := ssh.NewServerConn(c, settings)
	if err != nil {
		return
	}
	defer conn.Close()
	h.all.Go(func() { ssh.DiscardRequests(requests) })
	for asked := range channels {
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		h.all.Go(func() {
			for r := range requests {
				r.Reply(!h.refuse, nil)
				if h.refuse {
					continue
				}
				h.all.Go(func() {
					defer channel.Close()
					if h.session != nil {
						h.session(channel)
						return
					}
					h.sftp(channel)
				})
			}
		})
	}
}

// sftp passes messages on to the real server and back, as far as they are not
// meddled with.
func (h *hostile) sftp(channel ssh.Channel) {
	server := exec.Command("/usr/lib/openssh/sftp-server")
	in, err1 := server.StdinPipe()
	out, err2 := server.StdoutPipe()
	if errors.Join(err1, err2, server.Start()) != nil {
		return
	}
	defer server.Wait()
	talk := &talk{hostile: h, channel: channel, asked: map[uint32]sftpmsg.Message{}}
	h.all.Go(func() {
		talk.answers(out)
		channel.Close()
	})
	talk.requests(in)
	in.Close()
	io.Copy(io.Discard, out)
}

// A talk is what passes in one connection.
type talk struct {
	*hostile
	mu      sync.Mutex
	channel ssh.Channel
	asked   map[uint32]sftpmsg.Message
}

func (k *talk) say(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.channel.Write(b)
}

func (k *talk) requests(to io.Writer) {
	for {
		m, err := sftpmsg.Next(k.channel, nil)
		if err != nil {
			return
		}
		if k.instead != nil && m[0] != sftpmsg.Init {
			if b := k.instead(m); b != nil {
				k.say(b)
				continue
			}
		}
		if m[0] != sftpmsg.Init {
			k.mu.Lock()
			k.asked[idOf(m)] = m
			k.mu.Unlock()
		}
		if _, err := to.Write(m.Bytes()); err != nil {
			return
		}
	}
}

func (k *talk) answers(from io.Reader) {
	for {
		m, err := sftpmsg.Next(from, nil)
		if err != nil {
			return
		}
		b := m.Bytes()
		if m[0] != sftpmsg.Version {
			k.mu.Lock()
			request := k.asked[idOf(m)]
			delete(k.asked, idOf(m))
			k.mu.Unlock()
			if k.after != nil {
				b = k.after(request, m)
			}
		} else if k.after != nil {
			b = k.after(nil, m)
		}
		k.say(b)
	}
}

func idOf(m sftpmsg.Message) uint32 {
	id, _, _ := m.Parts()
	return id
}

// reply makes an answer: numbers of 32 and 64 bits, and texts, after the id.
func reply(kind byte, to sftpmsg.Message, fields ...any) []byte {
	m := sftpmsg.Message(binary.BigEndian.AppendUint32([]byte{kind}, idOf(to)))
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			m = binary.BigEndian.AppendUint32(m, uint32(f))
		case uint64:
			m = binary.BigEndian.AppendUint64(m, f)
		case string:
			m = append(binary.BigEndian.AppendUint32(m, uint32(len(f))), f...)
		}
	}
	return m.Bytes()
}

func status(to sftpmsg.Message, code int) []byte {
	return reply(sftpmsg.Status, to, code, "", "")
}

// attributes of a plain file, or of a directory.
func attributes(size uint64, mode int, at time.Time) []any {
	return []any{0xd, size, mode, int(at.Unix()), int(at.Unix())}
}

const (
	plainFile = 0o100644
	directory = 0o040755
	codeEOF   = 1
)

// names is a directory as READDIR tells of it.
func names(to sftpmsg.Message, mode int, list ...string) []byte {
	fields := []any{len(list)}
	for _, name := range list {
		fields = append(append(fields, name, ""), attributes(1, mode, time.Now())...)
	}
	return reply(sftpmsg.Name, to, fields...)
}
