package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"pgpipes/lib/store/sshconn"
	"pgpipes/lib/wait"
)

// ErrNoSync says that a server cannot promise that what it took is on stable
// storage.
var ErrNoSync = errors.New("the server cannot sync files (no fsync@openssh.com)")

// SFTP is a store in a directory of another host, over the sftp subsystem of
// its sshd: nothing has to be installed there, and an account that may do
// nothing else is enough. A key is the path of a plain file, as in Dir.
//
// A process has one connection, made when it is first needed and again when it
// was lost. What is put is written under a hidden temporary name, synced
// (fsync@openssh.com) and linked to its own (hardlink@openssh.com), which
// cannot replace anything; a server without that extension renames, which by
// the protocol must fail if the name is taken. Then the directory is synced,
// and so are those above it.
type SFTP struct {
	location    string
	user        string
	host, port  string
	root        string        // path there; relative to the home directory if it does not begin with a slash
	config      string        // of ssh, in place of the usual one
	connecting  chan struct{} // taken by who makes the connection, which may take long
	mu          sync.Mutex
	current     *session
	directories sync.Map // known to be there, by path: *atomic.Bool, whether their names are durable
}

// newSFTP reads sftp://[user@]host[:port]/path[?config=FILE]; a path that begins
// with /~/ is relative to the home directory.
func newSFTP(location string) (*SFTP, error) {
	u, err := url.Parse(location)
	if err != nil { // which has the location in it, and perhaps a password in that
		return nil, fmt.Errorf("%w: %s: not sftp://[user@]host[:port]/path", ErrLocation, printable(location))
	}
	_, secret := u.User.Password()
	switch {
	case secret:
		return nil, fmt.Errorf("%w: %s: a password does not belong in a location; keys and the agent are used", ErrLocation, printable(location))
	case u.Hostname() == "" || u.Path == "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: %s: not sftp://[user@]host[:port]/path", ErrLocation, printable(location))
	}
	settings := u.Query()
	config := settings.Get("config")
	if settings.Del("config"); len(settings) > 0 {
		return nil, fmt.Errorf("%w: %s: config=FILE is the only setting", ErrLocation, printable(location))
	}
	root, inHome := strings.CutPrefix(path.Clean(u.Path), "/~/")
	if !inHome && root != "/~" {
		root = path.Clean(u.Path)
	}
	return &SFTP{
		location: location, user: u.User.Username(), host: u.Hostname(), port: u.Port(), root: root, config: config,
		connecting: make(chan struct{}, 1),
	}, nil
}

// Made reports whether there is anything at the place of the directory.
func (s *SFTP) Made(ctx context.Context) (made bool, err error) {
	err = s.do(ctx, s.doing("looking at", ""), func(now *session) error {
		_, err := now.Lstat(s.root)
		if made = err == nil; made || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return named(s.location, err)
	})
	return made, err
}

func (s *SFTP) path(key string) string { return path.Join(s.root, key) }

func (s *SFTP) doing(verb, key string) string {
	where, _, _ := strings.Cut(s.location, "?")
	if key == "" {
		return verb + " " + where
	}
	return verb + " " + key + " in " + where
}

// A session is a connection with the sftp subsystem at its other end.
type session struct {
	*sftp.Client
	conn    *sshconn.Conn
	wire    *wire
	heard   *hearsay
	over    atomic.Bool // broken off
	widened sync.Once
}

// leave closes a file of which nothing depends any more, and does not wait for
// the round trip that takes. It ends with the connection at the latest.
func (s *session) leave(file *sftp.File) {
	go file.Close()
}

// lost reports whether the connection has ended, or will at once.
func (s *session) lost() bool {
	select {
	case <-s.conn.Ended():
		return true
	default:
		return s.over.Load()
	}
}

// breakOff ends the connection, and with it all requests under way.
func (s *session) breakOff() {
	s.over.Store(true)
	s.conn.Close()
}

// open returns the session, a new one if there is none or it was lost. Whoever
// waits for another's attempt waits no longer than its own ctx.
func (s *SFTP) open(ctx context.Context) (now *session, fresh bool, err error) {
	defer wait.For(ctx, "connecting to "+s.location)()
	select {
	case s.connecting <- struct{}{}:
		defer func() { <-s.connecting }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if now = s.living(); now != nil {
		return now, false, nil
	}
	if now, err = s.connect(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = now
	return now, true, nil
}

// living is the session there is, nil if it was lost.
func (s *SFTP) living() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.lost() {
		s.current = nil
	}
	return s.current
}

func (s *SFTP) connect(ctx context.Context) (*session, error) {
	h, err := sshconn.Resolve(ctx, s.host, s.user, s.port, s.config)
	if err != nil {
		return nil, err
	}
	heard := &hearsay{}
	conn, err := sshconn.Dial(ctx, h, s.config, func(text string) { io.WriteString(heard, text) })
	if err != nil {
		return nil, heard.explain(err)
	}
	client, w, err := subsystem(ctx, conn, heard)
	if err != nil {
		conn.Close()
		return nil, heard.explain(fmt.Errorf("%s: sftp: %w", h.Name, err))
	}
	return &session{Client: client, conn: conn, wire: w, heard: heard}, nil
}

// window is how much of one file is under way at once, in bytes: enough for 300
// Mbit/s at 100 ms.
const window = 4 << 20

// What a request may read or write, in bytes. Every server takes 32 KiB. With four
// times as much, less what four packets of ssh have no room for, storing two files
// at once takes a sixth less of the processor, both sides together.
const (
	piece      = 32 << 10
	largePiece = 124 << 10
)

// widen has all reading and writing be in large pieces if the server has said that
// it takes them. It has to be called before any; the answer is there by then, as
// it comes before that to the opening of a file.
func (s *session) widen() {
	s.widened.Do(func() {
		if s.wire.takes.Load() >= largePiece {
			_ = sftp.MaxPacketUnchecked(largePiece)(s.Client)
			_ = sftp.MaxConcurrentRequestsPerFile(window / largePiece)(s.Client)
		}
	})
}

// subsystem starts sftp on a connection.
func subsystem(ctx context.Context, conn *sshconn.Conn, heard *hearsay) (*sftp.Client, *wire, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	channel, err := conn.NewSession()
	if err != nil {
		return nil, nil, err
	}
	stderr, err := channel.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	in, err := channel.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := channel.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := channel.RequestSubsystem("sftp"); err != nil {
		return nil, nil, fmt.Errorf("the host does not offer it: %w", err)
	}
	// The library copies this for commands only, and who is not read from stops.
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		io.Copy(heard, stderr)
	}()
	w := newWire(out, in)
	client, err := sftp.NewClientPipe(w, w, sftp.UseConcurrentWrites(true), sftp.MaxPacketUnchecked(piece), sftp.MaxConcurrentRequestsPerFile(window/piece), sftp.UseFstat(true))
	if err != nil {
		conn.Close()
		<-listened // to the last word, which says why
	}
	return client, w, err
}

// do has work done with a session. When ctx ends the connection does, which is
// all that ends a request under way. One that fails because an idle connection
// was lost meanwhile is made again: work must be repeatable.
func (s *SFTP) do(ctx context.Context, what string, work func(*session) error) error {
	for {
		now, fresh, err := s.open(ctx)
		if err != nil {
			return err
		}
		if err = now.work(ctx, what, work); err == nil || fresh || ctx.Err() != nil || !isLost(err) {
			return err
		}
		s.drop(now)
	}
}

// drop has the next request make a new connection.
func (s *SFTP) drop(old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == old {
		s.current = nil
	}
	old.breakOff()
}

func (s *session) work(ctx context.Context, what string, work func(*session) error) error {
	defer wait.For(ctx, what)()
	stop := context.AfterFunc(ctx, s.breakOff)
	defer stop()
	err := work(s)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.explain(what, err)
}

// explain says why a connection has ended, if that is what an error says.
func (s *session) explain(what string, err error) error {
	if !isLost(err) {
		return err
	}
	s.breakOff()
	if offence := s.wire.offence(); offence != nil {
		return s.heard.explain(fmt.Errorf("%s: %w", what, offence))
	}
	return s.heard.explain(fmt.Errorf("%s: the connection was lost: %w", what, err))
}

// isLost reports whether an error says that there is no connection any more. An
// end of file is one only where no file is read.
func isLost(err error) bool {
	return errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, sftp.ErrSSHFxNoConnection) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Close ends the connection.
func (s *SFTP) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	old := s.current
	s.current = nil
	old.breakOff()
	old.Wait() // which a server that is silent would not let end before
	return nil
}

// absent turns "no such file" into ErrNotExist, but only while the root is a
// directory that can be read.
func (s *SFTP) absent(now *session, key string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return named(s.path(key), err)
	}
	root, rerr := now.Stat(s.root)
	if rerr == nil && !root.IsDir() {
		rerr = errors.New("not a directory")
	}
	if rerr != nil {
		return ofRoot(named(s.location, rerr))
	}
	if derr := s.dangling(now, key); derr != nil {
		return derr
	}
	return fmt.Errorf("%s: %w", key, ErrNotExist)
}

// dangling is an error if a link on the way to a key leads nowhere.
func (s *SFTP) dangling(now *session, key string) error {
	for i, c := range key + "/" {
		if c != '/' {
			continue
		}
		if _, err := now.Lstat(s.path(key[:i])); err != nil {
			return nil
		}
		if _, err := now.Stat(s.path(key[:i])); err != nil {
			return named(s.path(key[:i]), err)
		}
	}
	return nil
}

// named adds the path to an error of the protocol, which does not tell it.
func named(path string, err error) error { return fmt.Errorf("%s: %w", path, err) }

// Stat implements Store.
func (s *SFTP) Stat(ctx context.Context, key string) (info Info, err error) {
	if err := CheckKey(key); err != nil {
		return Info{}, err
	}
	err = s.do(ctx, s.doing("looking for", key), func(now *session) error {
		found, err := now.Stat(s.path(key))
		if err != nil {
			return s.absent(now, key, err)
		}
		if !found.Mode().IsRegular() {
			return fmt.Errorf("%s: %w", key, ErrNotExist)
		}
		info = Info{key, found.Size(), found.ModTime()}
		return nil
	})
	return info, err
}

// Remove implements Store. A directory goes with its last object.
func (s *SFTP) Remove(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	met := false
	return s.do(ctx, s.doing("removing", key), func(now *session) error {
		again := met // it may have been removed, and the connection lost before the answer
		if err := now.removeFile(s.path(key), &met); err != nil {
			if err = s.absent(now, key, err); !again || !errors.Is(err, ErrNotExist) {
				return err
			}
		}
		dir := path.Dir(s.path(key))
		for dir != s.root && len(dir) > len(s.root) && now.RemoveDirectory(dir) == nil {
			s.directories.Delete(dir)
			dir = path.Dir(dir)
		}
		err := now.syncDir(dir)
		for errors.Is(err, fs.ErrNotExist) && dir != s.root {
			dir = path.Dir(dir)
			err = now.syncDir(dir)
		}
		return err
	})
}

// removeFile removes a file, and never a directory, which the client's own
// Remove would try. It sets met once it has met the file.
func (s *session) removeFile(path string, met *bool) error {
	info, err := s.Lstat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return named(path, errors.New("a directory"))
	}
	*met = true
	return s.Client.Remove(path)
}
