package sshconn

import (
	"io"
	"net"
	"os/exec"
	"sync"
	"time"
)

// A proxied stream is the standard streams of a ProxyCommand.
type proxied struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
	end     func() // waits for the command
}

// runProxy starts the command of the configuration. What it complains of is
// given to said.
func runProxy(h Host, said func(string)) (net.Conn, error) {
	c := exec.Command("/bin/sh", "-c", "exec "+h.filledIn(h.ProxyCommand))
	c.Stderr, c.WaitDelay = complaints(said), lastWords
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &proxied{out, in, c, sync.OnceFunc(func() { c.Wait() })}, nil
}

// complaints are an io.Writer of what is said.
type complaints func(string)

func (c complaints) Write(p []byte) (int, error) {
	c(string(p))
	return len(p), nil
}

// lastWords is how long a program that has ended is listened to: others may hold
// its standard error.
const lastWords = 100 * time.Millisecond

// Read implements io.Reader. At the end of the stream the command ends, and has
// said why.
func (p *proxied) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil {
		defer time.AfterFunc(lastWords, func() { p.command.Process.Kill() }).Stop()
		p.end()
	}
	return n, err
}

// Close ends the command.
func (p *proxied) Close() error {
	err := p.WriteCloser.Close()
	p.command.Process.Kill()
	p.end()
	return err
}

type proxyAddr struct{}

func (proxyAddr) Network() string { return "proxy" }
func (proxyAddr) String() string  { return "0.0.0.0:0" }

func (p *proxied) LocalAddr() net.Addr              { return proxyAddr{} }
func (p *proxied) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4zero} }
func (p *proxied) SetDeadline(time.Time) error      { return nil }
func (p *proxied) SetReadDeadline(time.Time) error  { return nil }
func (p *proxied) SetWriteDeadline(time.Time) error { return nil }
