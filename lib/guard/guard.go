// Package guard stands between a user of sftp and an sftp server, and lets
// through only what adds to a repository. So a database host can store its
// backups on another one, and whoever takes over that host cannot change or
// remove what is there.
//
// # What it lets through
//
// Looking and reading; directories; new files under temporary names, which may
// be removed again; and hard links from those, when they are closed, to names
// that are not taken. Leases may be removed. Everything else is answered with
// "permission denied": writing to or truncating what exists, renaming, removing,
// changing of attributes, symbolic links, and what is not known here.
//
// What it does not do: the space is not limited, and the account must have no
// other way in (command= and restrict in authorized_keys).
package guard

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"pgpipes/lib/sftpmsg"
)

// Run passes on messages between a client and a server until the client ends
// the conversation, or one of them fails. root is the directory of the
// repository. The server's input is closed at the end; its output is read to the
// end.
func Run(root string, fromClient io.Reader, toClient io.Writer, toServer io.WriteCloser, fromServer io.Reader) error {
	g := &guard{rules: newRules(root), client: toClient}
	answers := make(chan error, 1)
	go func() { answers <- g.passAnswers(bufio.NewReaderSize(fromServer, sftpmsg.Longest)) }()
	err := g.passRequests(bufio.NewReaderSize(fromClient, sftpmsg.Longest), toServer)
	return errors.Join(err, toServer.Close(), <-answers)
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
	for {
		p, err := sftpmsg.Next(from, nil)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("from the client: %w", err)
		}
		why := ""
		if p[0] != sftpmsg.Init {
			id, f, ok := p.Parts()
			if !ok {
				return fmt.Errorf("from the client: %w", sftpmsg.ErrMessage)
			}
			if why = g.rules.judge(p[0], id, f); f.Bad {
				return fmt.Errorf("from the client: %w", sftpmsg.ErrMessage)
			}
			if why != "" {
				if err := g.answer(sftpmsg.Denial(id, why)); err != nil {
					return err
				}
				continue
			}
		}
		if _, err := to.Write(p.Bytes()); err != nil {
			return err
		}
	}
}
