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
	through *Conn         // the host before it
	ended   chan struct{} // closed with the connection
}

// Dial connects. When ctx ends meanwhile, so does the attempt. What a banner of
// the far side says is given to said.
func Dial(ctx context.Context, h Host, config string, said func(string)) (*Conn, error) {
	if h.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, h.ConnectTimeout, fmt.Errorf("no connection within %s", h.ConnectTimeout))
		defer cancel()
	}
	through, raw, err := h.reach(ctx, config, said)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	c, err := h.login(ctx, raw, said)
	if err != nil {
		raw.Close()
		through.Close()
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	c.through = through
	go c.keepAlive(h)
	return c, nil
}

// reach makes the stream on which ssh is spoken.
func (h Host) reach(ctx context.Context, config string, said func(string)) (*Conn, net.Conn, error) {
	if h.Jump != "" {
		return h.jump(ctx, config, said)
	}
	if h.ProxyCommand != "" {
		raw, err := runProxy(h, said)
		return nil, raw, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Address())
	return nil, raw, withCause(ctx, err)
}

// jump goes through the last of the hosts in ProxyJump, and to that through
// those before it.
func (h Host) jump(ctx context.Context, config string, said func(string)) (*Conn, net.Conn, error) {
	before, last := "", h.Jump
	if i := strings.LastIndexByte(h.Jump, ','); i >= 0 {
		before, last = h.Jump[:i], h.Jump[i+1:]
	}
	login, name, port := splitTarget(last)
	next, err := Resolve(ctx, name, login, port, config)
	if err != nil {
		return nil, nil, err
	}
	next.Jump = cmp.Or(before, next.Jump)
	next.way = append(slices.Clone(h.way), h.Name+" "+h.Jump)
	if slices.Contains(next.way, next.Name+" "+next.Jump) {
		return nil, nil, fmt.Errorf("%s: ProxyJump leads through itself", h.Jump)
	}
	through, err := Dial(ctx, next, config, said)
	if err != nil {
		return nil, nil, err
	}
	raw, err := through.DialContext(ctx, "tcp", h.Address())
	if err != nil {
		through.Close()
		return nil, nil, err
	}
	return through, raw, nil
}

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
	secured, channels, requests, err := ssh.NewClientConn(raw, h.Address(), &ssh.ClientConfig{
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
	return &Conn{Client: ssh.NewClient(secured, channels, requests), ended: make(chan struct{})}, nil
}

// withCause says why what was broken off failed.
func withCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// keepAlive asks now and then whether the far side is still there, and ends the
// connection when it does not answer. It keeps firewalls from forgetting an
// idle connection, too.
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
	asked := 0
	for {
		select {
		case <-gone:
			c.Close() // the way here
			return
		case <-answers:
			asked = 0
		case <-ticker.C:
			if asked++; asked > h.AliveMax {
				c.Close()
				continue
			}
			if asked == 1 {
				go func() {
					if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						answers <- struct{}{}
					}
				}()
			}
		}
	}
}

// Ended is closed when the connection is.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Close ends the connection and those it goes through.
func (c *Conn) Close() error {
	if c == nil {
		return nil
	}
	err := c.Client.Close()
	if errors.Is(err, net.ErrClosed) { // it has just ended by itself
		err = nil
	}
	return errors.Join(err, c.through.Close())
}
