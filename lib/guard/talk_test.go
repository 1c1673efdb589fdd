package guard

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"pgpipes/lib/sftpmsg"
)

// A talk is a conversation through a guard of which a test plays both ends.
type talk struct {
	t      *testing.T
	client struct {
		io.Writer
		io.Reader
	}
	server struct {
		io.WriteCloser
		io.Reader
	}
	ended chan error
}

// talking is one that has not begun. The repository is /r.
func talking(t *testing.T) *talk {
	t.Helper()
	fromClient, say := io.Pipe()
	hear, toClient := io.Pipe()
	serve, toServer := io.Pipe()
	fromServer, reply := io.Pipe()
	c := &talk{t: t, ended: make(chan error, 1)}
	c.client.Writer, c.client.Reader = say, bufio.NewReader(hear)
	c.server.WriteCloser, c.server.Reader = reply, bufio.NewReader(serve)
	go func() { c.ended <- Run("/r", fromClient, toClient, toServer, fromServer) }()
	over := func() {
		for _, p := range []io.Closer{say, hear, serve, reply} {
			p.Close()
		}
	}
	t.Cleanup(over)
	stop := time.AfterFunc(10*time.Second, over) // what was to come does not come
	t.Cleanup(func() { stop.Stop() })
	return c
}

// begun is a talk in which the two have greeted each other.
func begun(t *testing.T) *talk {
	t.Helper()
	c := talking(t)
	c.passes(initiation())
	c.answers(message(sftpmsg.Version, 3))
	return c
}

// message makes a packet of numbers and texts.
func message(kind byte, parts ...any) sftpmsg.Message {
	p := sftpmsg.Message{kind}
	for _, part := range parts {
		switch v := part.(type) {
		case int:
			p = binary.BigEndian.AppendUint32(p, uint32(v))
		case string:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(v))), v...)
		}
	}
	return p
}

func (c *talk) say(p sftpmsg.Message) {
	c.t.Helper()
	if _, err := c.client.Write(p.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talk) expect(from io.Reader, want sftpmsg.Message) {
	c.t.Helper()
	if got, err := sftpmsg.Next(from, nil); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("%q, %v, not %q", got, err, want)
	}
}

// passes says something that reaches the server.
func (c *talk) passes(p sftpmsg.Message) {
	c.t.Helper()
	c.say(p)
	c.expect(c.server, p)
}

// answers has the server say something, which reaches the client.
func (c *talk) answers(p sftpmsg.Message) {
	c.t.Helper()
	if _, err := c.server.Write(p.Bytes()); err != nil {
		c.t.Fatal(err)
	}
	c.expect(c.client, p)
}

// refused says something that is answered with a denial.
func (c *talk) refused(p sftpmsg.Message, why string) {
	c.t.Helper()
	c.say(p)
	id, _, _ := p.Parts()
	c.expect(c.client, sftpmsg.Denial(id, why))
}

// ends says something that ends the conversation.
func (c *talk) ends(p sftpmsg.Message, because error) {
	c.t.Helper()
	c.say(p)
	if got, err := sftpmsg.Next(c.server, nil); err != io.EOF {
		c.t.Errorf("the server got %q, %v", got, err)
	}
	c.server.Close()
	if err := <-c.ended; !errors.Is(err, because) {
		c.t.Errorf("it ended with %v", err)
	}
}

// create asks for a new file; attributes follow.
func create(id int, name string, attributes ...any) sftpmsg.Message {
	return message(sftpmsg.Open, append([]any{id, name, sftpmsg.OpenWrite | sftpmsg.OpenCreat | sftpmsg.OpenExcl}, attributes...)...)
}

func link(id int, from, to string) sftpmsg.Message {
	return message(sftpmsg.Extended, id, "hardlink@openssh.com", from, to)
}

// A file gets its name when it is closed, whatever becomes of others meanwhile.
func TestOneOfSeveral(t *testing.T) {
	c := begun(t)
	c.passes(create(1, "/r/.pgpipes-A.tmp", 0))
	c.refused(link(2, "/r/.pgpipes-A.tmp", "/r/k"), "it is still being written")
	c.answers(message(sftpmsg.Handle, 1, "a"))
	c.refused(link(2, "/r/.pgpipes-A.tmp", "/r/k"), "it is still being written")
	c.passes(create(3, "/r/.pgpipes-B.tmp", 0))
	c.passes(message(sftpmsg.Close, 4, "a"))
	c.passes(link(5, "/r/.pgpipes-A.tmp", "/r/k"))
	c.answers(message(sftpmsg.Handle, 3, "b"))
	c.refused(link(6, "/r/.pgpipes-B.tmp", "/r/k"), "it is still being written")
}

// Nothing of the client's can be taken for the answer to something else.
func TestAnswersAreTold(t *testing.T) {
	open := create(7, "/r/.pgpipes-A.tmp", 0)
	for name, second := range map[string]sftpmsg.Message{"another request": message(sftpmsg.Stat, 7, "/r"), "the same": open, "a refused one": message(sftpmsg.Remove, 7, "/r/k")} {
		t.Run(name, func(t *testing.T) {
			c := begun(t)
			c.passes(open)
			c.ends(second, errRepeated)
		})
	}
	t.Run("a second beginning", func(t *testing.T) {
		c := begun(t)
		c.passes(open)
		c.ends(initiation(), errBeginning)
	})
	t.Run("no beginning", func(t *testing.T) { talking(t).ends(open, errBeginning) })
	t.Run("the version is no answer", func(t *testing.T) {
		c := talking(t)
		c.passes(initiation())
		c.passes(create(3, "/r/.pgpipes-A.tmp", 0))
		c.answers(message(sftpmsg.Version, 3))
		c.answers(message(sftpmsg.Handle, 3, "a"))
		c.refused(link(4, "/r/.pgpipes-A.tmp", "/r/k"), "it is still being written")
	})
	t.Run("again after the answer", func(t *testing.T) {
		c := begun(t)
		c.passes(message(sftpmsg.Stat, 7, "/r"))
		c.answers(message(sftpmsg.Status, 7, 0, "", ""))
		c.refused(message(sftpmsg.Remove, 7, "/r/k"), "nothing may be removed here")
		c.passes(open)
	})
}

// A server that knows later versions is not asked for one: their requests look
// different.
func TestVersion(t *testing.T) {
	c := talking(t)
	c.say(append(message(sftpmsg.Init, 6), "extensions"...))
	c.expect(c.server, message(sftpmsg.Init, 3))
}

// What is made has rights of an ordinary kind.
func TestAttributes(t *testing.T) {
	c := begun(t)
	const size, permissions = 1, attrPermissions
	c.passes(create(1, "/r/.pgpipes-A.tmp", permissions, 0o640))
	c.refused(create(2, "/r/.pgpipes-B.tmp", permissions, 0o4755), notPlain)
	c.refused(create(3, "/r/.pgpipes-B.tmp", permissions, 0o2755), notPlain)
	c.refused(create(4, "/r/.pgpipes-B.tmp", size|permissions, 0, 0, 0o644), notPlain)
	c.passes(message(sftpmsg.Mkdir, 5, "/r/d", permissions, 0o777))
	c.refused(message(sftpmsg.Mkdir, 6, "/r/d", permissions, 0o1777), notPlain)
	c.ends(create(7, "/r/.pgpipes-B.tmp"), sftpmsg.ErrMessage)
}

// A path has one meaning.
func TestPlainPaths(t *testing.T) {
	c := begun(t)
	for _, name := range []string{"/r/wal/../.pgpipes-A.tmp", "../r/.pgpipes-A.tmp", "/r/k\x00/.pgpipes-A.tmp"} {
		c.refused(create(1, name, 0), "not a plain path")
		c.refused(message(sftpmsg.Remove, 1, name), "not a plain path")
		c.refused(message(sftpmsg.Mkdir, 1, name, 0), "not a plain path")
		c.refused(link(1, "/r/.pgpipes-B.tmp", name), "not a plain path")
		c.refused(link(1, name, "/r/k"), "not a plain path")
	}
	c.passes(create(1, "/r/a..b/.pgpipes-A.tmp", 0))
}

// Without the server it is over, though the client says nothing.
func TestServerEnds(t *testing.T) {
	c := begun(t)
	c.server.Close()
	if err := <-c.ended; !errors.Is(err, errServer) {
		t.Error(err)
	}
}
