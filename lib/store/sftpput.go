package store

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// Put implements Store. As in Dir the root is made for an object directly in
// it, its parent is not.
func (s *SFTP) Put(ctx context.Context, key string, write func(io.Writer) error) (Receipt, error) {
	if err := CheckKey(key); err != nil {
		return Receipt{}, err
	}
	u, err := s.create(ctx, key)
	if err != nil {
		return Receipt{}, err
	}
	defer u.stop()
	defer close(u.ended)
	defer u.discard()
	sum := newSummer(u)
	if err := write(sum); err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	receipt := sum.receipt(key)
	err = u.publish(receipt.Size)
	if errors.Is(err, fs.ErrExist) {
		return receipt, s.confirm(ctx, receipt)
	}
	return receipt, err
}

// An upload is a file in the making.
type upload struct {
	store *SFTP
	*session
	ctx   context.Context
	key   string
	temp  string
	file  *sftp.File
	given *bufio.Writer  // into pipe
	pipe  *io.PipeWriter // to the goroutine that sends
	sent  chan error
	ended chan struct{} // closed when nothing is under way any more
	stop  func() bool
	*wait.Operation
	over bool
}

// sendBuffer gathers small writes. Large ones go past it.
const sendBuffer = 128 << 10

// create begins an object under a temporary name beside its own.
func (s *SFTP) create(ctx context.Context, key string) (*upload, error) {
	temp := path.Join(path.Dir(s.path(key)), durable.TemporaryPrefix+rand.Text()+".tmp")
	u := &upload{store: s, ctx: ctx, key: key, temp: temp, sent: make(chan error, 1), ended: make(chan struct{}), Operation: wait.On(ctx, s.doing("storing", key))}
	err := s.do(ctx, s.doing("storing", key), func(now *session) error {
		if !canSync(now) {
			return fmt.Errorf("%s: %w", s.location, ErrNoSync)
		}
		file, err := s.createFile(now, key, temp)
		if err == nil {
			now.widen()
		}
		u.session, u.file = now, file
		return err
	})
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	u.pipe, u.given = in, bufio.NewWriterSize(in, sendBuffer)
	u.stop = context.AfterFunc(ctx, u.giveUp)
	go func() {
		// Sending many pieces at once may leave holes after a failure; the file
		// has a temporary name and goes.
		_, err := u.file.ReadFromWithConcurrency(out, 0)
		out.CloseWithError(err)
		u.sent <- err
	}()
	return u, nil
}

// farewell is how long a server has to remove what is given up. A process that was
// told to end waits a little longer than that, and not for those who give it bytes.
const farewell = 300 * time.Millisecond

// giveUp removes the temporary name when ctx ends, and then breaks off what is still
// under way.
func (u *upload) giveUp() {
	u.pipe.CloseWithError(context.Cause(u.ctx))
	go u.session.Client.Remove(u.temp)
	select {
	case <-u.ended:
	case <-time.After(farewell):
		u.breakOff()
	}
}

func canSync(now *session) bool {
	version, offered := now.HasExtension("fsync@openssh.com")
	return offered && version == "1"
}

// createFile creates the temporary file. Where that fails, for whatever reason the
// server gives, the directories are made that are missing, also if they go with
// another's last object just now.
func (s *SFTP) createFile(now *session, key, temp string) (file *sftp.File, err error) {
	for attempt := range rmdirRaces {
		if file, err = now.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
			return file, nil
		}
		if isLost(err) || attempt > 0 && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		s.directories.Clear()
		if perr := s.makeParents(now, key); perr != nil {
			return nil, perr
		}
	}
	return nil, named(s.path(key), now.whyFull(s.root, err))
}

// above are the directories that are made for a key, from the top down.
func (s *SFTP) above(key string) (dirs []string) {
	for i, c := range key {
		if c == '/' {
			dirs = append(dirs, s.path(key[:i]))
		}
	}
	if dirs == nil {
		return []string{s.root}
	}
	return dirs
}

// whyFull adds to a failure for which the server gives no reason that there is hardly
// any room in a directory, if that is so. The protocol has no code for that.
func (s *session) whyFull(dir string, err error) error {
	if !says(err, sftp.ErrSSHFxFailure) {
		return err
	}
	disk, _ := s.StatVFS(dir) // nil also where a server says nothing but "ok"
	if disk != nil && (disk.Bavail*disk.Frsize < largePiece || disk.Files > 0 && disk.Favail == 0) {
		err = fmt.Errorf("%w: the disk is full there (%w)", err, unix.ENOSPC)
	}
	return err
}

// makeParents makes the directories above a key that are not known to be there.
// They are synced with the object.
func (s *SFTP) makeParents(now *session, key string) error {
	for _, dir := range s.above(key) {
		if err := s.makeDirectory(now, dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *SFTP) makeDirectory(now *session, dir string) error {
	if _, known := s.directories.Load(dir); known {
		return nil
	}
	info, err := now.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return named(dir, errors.New("not a directory"))
	case err == nil:
		s.directories.LoadOrStore(dir, new(atomic.Bool))
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return named(dir, err)
	}
	if err := now.Mkdir(dir); err != nil {
		if _, serr := now.Stat(dir); serr != nil { // unless somebody else was faster
			none := named(dir, errors.Join(now.whyFull(s.root, err), serr))
			if dir == s.root && errors.Is(err, fs.ErrNotExist) {
				none = ofRoot(none)
			}
			return none
		}
	} else {
		_ = now.Chmod(dir, dirMode) // where that is not allowed the account's umask decides
	}
	s.directories.Store(dir, new(atomic.Bool))
	return nil
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	u.Begin()
	defer u.End()
	n, err := u.given.Write(p)
	if err != nil {
		err = named(u.temp, err)
	}
	return n, u.failed(err)
}

// failed says what an error is about, and why it ends what was under way.
func (u *upload) failed(err error) error {
	if err != nil && u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	return u.explain(u.store.doing("storing", u.key), u.whyFull(path.Dir(u.temp), err))
}

// publish has the bytes synced and named.
func (u *upload) publish(size int64) error {
	u.Begin()
	defer u.End()
	return u.failed(u.finish(size))
}

// finish takes no more round trips than have to follow each other: those of the
// bytes, their sync, the end of the file, its name and the sync of that.
func (u *upload) finish(size int64) error {
	if err := u.flush(); err != nil {
		return named(u.temp, err)
	}
	var in names
	var opened error
	var first, last errgroup.Group // of round trips
	first.Go(u.file.Sync)
	first.Go(func() error { return u.taken(size) })
	first.Go(func() error {
		in, opened = u.openNames(path.Dir(u.temp))
		return nil
	})
	if err := first.Wait(); err != nil {
		in.close()
		return named(u.temp, err)
	}
	// Who lets others only add gives no name to what is still open.
	if err := u.file.Close(); err != nil {
		in.close()
		return named(u.temp, err)
	}
	if in.file == nil && opened == nil { // it may only have had too many files open
		in, opened = u.openNames(path.Dir(u.temp))
	}
	in, err := u.link(in, opened)
	if err != nil {
		return err
	}
	u.over = true
	last.Go(func() error {
		u.session.Client.Remove(u.temp)
		return nil
	})
	last.Go(func() error { return u.arrived(size) })
	last.Go(func() error { return u.store.syncNames(u.session, u.key, in) })
	return last.Wait()
}

// taken is an error unless the file has all bytes. A server that loses writes and
// says nothing is found here. It is asked by name: what is open answers one question
// after the other.
func (u *upload) taken(size int64) error {
	info, err := u.Lstat(u.temp)
	if err == nil && info.Size() != size {
		err = fmt.Errorf("the server has taken %d of %d bytes", info.Size(), size)
	}
	return err
}

// arrived is an error unless the object is there. A server that only says so is
// found here.
func (u *upload) arrived(size int64) error {
	final := u.store.path(u.key)
	info, err := u.Stat(final)
	if isLost(err) {
		return err
	}
	if err != nil { // and never one that says "absent"
		return named(final, fmt.Errorf("the server has not given it its name: %v", err))
	}
	if info.Size() != size {
		return named(final, fmt.Errorf("the server has stored %d of %d bytes", info.Size(), size))
	}
	return nil
}

// flush waits until all that was written has been taken.
func (u *upload) flush() error {
	err := u.given.Flush()
	u.pipe.Close()
	if serr := <-u.sent; serr != nil {
		err = serr
	}
	u.sent <- err
	return err
}

// link gives the file its name, and returns those among which it is: in, which
// were opened before, or failed to be. The protocol has no code for a name that is
// taken, so it is looked at after a failure.
func (u *upload) link(in names, err error) (names, error) {
	final := u.store.path(u.key)
	give := u.rename
	if _, can := u.HasExtension("hardlink@openssh.com"); can {
		give = u.Link
	}
	for range rmdirRaces {
		if err == nil {
			if err = give(u.temp, final); err == nil {
				return in, nil
			}
			in.close()
		}
		if _, lerr := u.Lstat(final); lerr == nil {
			return names{}, fs.ErrExist
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		u.store.directories.Clear()
		if perr := u.store.makeParents(u.session, u.key); perr != nil {
			return names{}, perr
		}
		in, err = u.openNames(path.Dir(final))
	}
	return names{}, named(final, err)
}

// rename does not leave it to the server alone that nothing is replaced: some do.
func (u *upload) rename(from, to string) error {
	if _, err := u.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(err, fs.ErrExist)
	}
	return u.Rename(from, to)
}

// discard removes the temporary name, whatever became of the object.
func (u *upload) discard() {
	if u.over {
		return
	}
	u.over = true
	u.Begin()
	defer u.End()
	u.pipe.CloseWithError(errors.New("given up"))
	u.sent <- <-u.sent
	u.file.Close()
	u.session.Client.Remove(u.temp)
}

// confirm succeeds when the object that is there already has the bytes that
// were offered, and is durable.
func (s *SFTP) confirm(ctx context.Context, offered Receipt) error {
	if err := compare(ctx, s, offered); err != nil {
		return err
	}
	return s.Sync(ctx, offered.Key)
}
