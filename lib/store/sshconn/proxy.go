package sshconn

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"time"
)

// A proxied stream is the standard streams of a ProxyCommand.
type proxied struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
}

// runProxy starts the command of the configuration, in which ssh has not yet
// filled in where to.
func runProxy(h Host) (net.Conn, error) {
	text := strings.NewReplacer("%%", "%", "%h", h.HostName, "%p", h.Port, "%r", h.User, "%n", h.Name).Replace(h.ProxyCommand)
	c := exec.Command("/bin/sh", "-c", "exec "+text)
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
	return &proxied{out, in, c}, nil
}

// Close ends the command.
func (p *proxied) Close() error {
	err := p.WriteCloser.Close()
	p.command.Process.Kill()
	p.command.Wait()
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
