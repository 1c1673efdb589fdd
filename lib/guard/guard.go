// Package guard stands between a user of sftp and an sftp server, and lets
// through only what adds to a repository. So a database host can store its
// backups on another one, and whoever takes over that host cannot change or
// remove what is there.
//
// # What it lets through
//
// Looking and reading; directories; new files under temporary names, which may
// be removed again; and hard links from those, when nobody has them open for
// writing, to names that are not taken. Leases may be removed. Everything else is
// answered with "permission denied": writing to or truncating what exists,
// renaming, removing, changing of attributes, symbolic links, paths with "..",
// rights beyond those of reading, writing and executing, and what is not known
// here.
//
// Which files are open in a conversation is known only by what the server answers.
// So a client that could mix up the answers, by using the number of a request again
// before it is answered or by beginning the conversation again, is cut off. Those
// open in other conversations the kernel knows, where the file system is local.
//
// What it does not do: the space is not limited, and the account must have no
// other way in (command= and restrict in authorized_keys).
package guard

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"

	"pgpipes/lib/sftpmsg"
)

var (
	// errServer says that the server has ended before the client.
	errServer    = errors.New("the sftp server ended")
	errBeginning = errors.New("sftp: a conversation begins with its version, once")
	errRepeated  = errors.New("sftp: the number of a request that is not answered yet")
)

// Run passes on messages between a client and a server until the client ends
// the conversation, or one of them fails. root is the directory of the
// repository. The server's input is closed at the end. After the client's end the
// server's output is read to its own; after the server's, a read from the client
// may be under way until it returns, and what it brings goes nowhere.
func Run(root string, fromClient io.Reader, toClient io.Writer, toServer io.WriteCloser, fromServer io.Reader) error {
	g := &guard{rules: newRules(root), client: toClient}
	answers, requests := make(chan error, 1), make(chan error, 1)
	go func() { answers <- g.passAnswers(bufio.NewReaderSize(fromServer, sftpmsg.Longest)) }()
	go func() { requests <- g.passRequests(bufio.NewReaderSize(fromClient, sftpmsg.Longest), toServer) }()
	select {
	case err := <-requests:
		return errors.Join(err, toServer.Close(), <-answers)
	case err := <-answers:
		return errors.Join(cmp.Or(err, errServer), toServer.Close())
	}
}

type guard struct {
	rules  *rules
	mu     sync.Mutex // one message at a time
	client io.Writer
}

// answer sends one message to the client.
func (g *guard) answer(p sftpmsg.Message) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.client.Write(p.Bytes())
	return err
}

func (g *guard) passAnswers(from io.Reader) error {
	for {
		p, err := sftpmsg.Next(from, nil)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("from the server: %w", err)
		}
		g.rules.answered(p)
		if err := g.answer(p); err != nil {
			return err
		}
	}
}

func (g *guard) passRequests(from io.Reader, to io.Writer) error {
	for first := true; ; first = false {
		p, err := sftpmsg.Next(from, nil)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			p, err = g.judge(p, first)
		}
		if err != nil {
			return fmt.Errorf("from the client: %w", err)
		}
		if p == nil {
			continue
		}
		if _, err := to.Write(p.Bytes()); err != nil {
			return err
		}
	}
}

// judge returns what to pass on to the server: nil if the request is refused, and
// answered. An error ends the conversation.
func (g *guard) judge(p sftpmsg.Message, first bool) (sftpmsg.Message, error) {
	if first != (p[0] == sftpmsg.Init) {
		return nil, errBeginning
	}
	if first {
		return initiation(), nil
	}
	id, f, ok := p.Parts()
	if !ok {
		return nil, sftpmsg.ErrMessage
	}
	if !g.rules.begin(id) {
		return nil, errRepeated
	}
	why := g.rules.judge(p[0], id, f)
	if f.Bad {
		return nil, sftpmsg.ErrMessage
	}
	if why == "" {
		return p, nil
	}
	refusal := sftpmsg.Denial(id, why)
	g.rules.answered(refusal)
	return nil, g.answer(refusal)
}
