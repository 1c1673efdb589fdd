package sshconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Conn is a connection to a host, perhaps through others.
type Conn struct {
	*ssh.Client
	stream *gathered
	ended  chan struct{} // closed with the connection
}

// Dial connects. When ctx ends meanwhile, so does the attempt. What a banner of
// the far side says is given to said.
func Dial(ctx context.Context, h Host, config string, said func(string)) (*Conn, error) {
	if h.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, h.ConnectTimeout, fmt.Errorf("no connection within %s", h.ConnectTimeout))
		defer cancel()
	}
	raw, err := h.reach(ctx, config, said)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	c, err := h.login(ctx, raw, said)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	go c.keepAlive(h)
	return c, nil
}

// reach makes the stream on which ssh is spoken.
func (h Host) reach(ctx context.Context, config string, said func(string)) (net.Conn, error) {
	if h.Jump != "" {
		return h.jump(ctx, config, said)
	}
	if h.ProxyCommand != "" {
		return runProxy(h, said)
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Address())
	return raw, withCause(ctx, err)
}

// jump goes through the last of the hosts in ProxyJump, and to that through
// those before it.
func (h Host) jump(ctx context.Context, config string, said func(string)) (net.Conn, error) {
	before, last := "", h.Jump
	if i := strings.LastIndexByte(h.Jump, ','); i >= 0 {
		before, last = h.Jump[:i], h.Jump[i+1:]
	}
	login, name, port := splitTarget(last)
	next, err := Resolve(ctx, name, login, port, config)
	if err != nil {
		return nil, err
	}
	next.Jump = cmp.Or(before, next.Jump)
	next.way = append(slices.Clone(h.way), h.Name+" "+h.Jump)
	if slices.Contains(next.way, next.Name+" "+next.Jump) {
		return nil, fmt.Errorf("%s: ProxyJump leads through itself", h.Jump)
	}
	through, err := Dial(ctx, next, config, said)
	if err != nil {
		return nil, err
	}
	raw, err := through.DialContext(ctx, "tcp", h.Address())
	if err != nil {
		through.Close()
		return nil, withCause(ctx, err)
	}
	return hopped{raw, through}, nil
}

// hopped is a stream through another host, and ends with the connection to that:
// by itself it would end when the host says so, which may never be.
type hopped struct {
	net.Conn
	through *Conn
}

// Close implements io.Closer.
func (s hopped) Close() error { return s.through.Close() }

// splitTarget takes [user@]host[:port] apart.
func splitTarget(text string) (login, host, port string) {
	text = strings.TrimPrefix(text, "ssh://")
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		login, text = text[:i], text[i+1:]
	}
	if h, p, err := net.SplitHostPort(text); err == nil {
		return login, h, p
	}
	return login, strings.Trim(text, "[]"), ""
}

// login speaks ssh on a stream and proves both sides.
func (h Host) login(ctx context.Context, raw net.Conn, said func(string)) (*Conn, error) {
	check, algorithms, err := h.trust()
	if err != nil {
		return nil, err
	}
	keys := openRing(ctx, h)
	defer keys.close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	stream := gather(raw)
	secured, channels, requests, err := ssh.NewClientConn(stream, h.Address(), &ssh.ClientConfig{
		User: h.User, Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback: check, HostKeyAlgorithms: algorithms,
		BannerCallback: func(text string) error {
			said(text)
			return nil
		},
	})
	if err != nil {
		return nil, errors.Join(append([]error{withCause(ctx, err)}, keys.noted...)...)
	}
	return &Conn{ssh.NewClient(secured, channels, requests), stream, make(chan struct{})}, nil
}

// withCause says why what was broken off failed.
func withCause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		<-ctx.Done() // who dials goes by the deadline, and may see it first
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// keepAlive asks now and then whether the far side is still there, and ends the
// connection when nothing comes from there any more. As ssh does, it takes whatever
// comes for an answer: on a narrow way that to the question is behind much else. It
// keeps firewalls from forgetting an idle connection, too.
func (c *Conn) keepAlive(h Host) {
	gone := make(chan struct{})
	go func() {
		c.Wait()
		close(gone)
	}()
	answers := make(chan struct{}, 1)
	ticker := time.NewTicker(h.Alive)
	defer ticker.Stop()
	defer close(c.ended)
	silent, asked, heard := 0, false, c.stream.heard.Load()
	for {
		select {
		case <-gone:
			c.Close() // the way here
			return
		case <-answers:
			silent, asked, heard = 0, false, c.stream.heard.Load()
		case <-ticker.C:
			silent++
			if now := c.stream.heard.Load(); now != heard {
				silent, heard = 0, now
			}
			if silent > h.AliveMax {
				c.Close()
			} else if !asked {
				asked = true
				go c.ask(answers)
			}
		}
	}
}

func (c *Conn) ask(answers chan<- struct{}) {
	if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
		answers <- struct{}{}
	}
}

// Ended is closed when the connection is.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Close ends the connection and those it goes through.
func (c *Conn) Close() error {
	err := c.Client.Close()
	if errors.Is(err, net.ErrClosed) { // it has just ended by itself
		return nil
	}
	return err
}
