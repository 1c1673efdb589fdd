package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// Read writes bytes of an object, as store.Store.Get counts them, to w. They come
// from the first repository that has it. Where one breaks off, or says nothing for
// slowRepository at the beginning or silence later, another one goes on, if it has
// the same bytes up to there; the silent one is heard if it is first after all.
//
// The error wraps store.ErrNotExist only if every repository was reached and has
// no such object. What was wrong with one while another served is given to warn.
func Read(ctx context.Context, locations []string, key string, offset, length int64, w io.Writer, warn func(error)) error {
	o := object{key, offset, length}
	if len(locations) == 1 {
		return o.copyFrom(ctx, locations[0], w)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := relay{begun: begun{w: w, sum: sha256.New()}, what: key, open: o.openNamed, unasked: slices.Clone(locations), pieces: make(chan piece)}
	return r.run(ctx, warn)
}

// silence is how long a repository may say nothing in the middle of an object
// before another one is asked for the rest.
const silence = 30 * time.Second

// An object is what is wanted of one.
type object struct {
	key            string
	offset, length int64
}

// copyFrom writes it as the repository at a location has it.
func (o object) copyFrom(ctx context.Context, location string, w io.Writer) error {
	r, err := Open(ctx, location)
	if err != nil {
		return err
	}
	defer r.Close()
	body, err := r.Get(ctx, o.key, o.offset, o.length)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.CopyBuffer(w, body, make([]byte, copyBuffer))
	return err
}

// openNamed opens it as the repository at a location has it. Errors name that.
func (o object) openNamed(ctx context.Context, location string) (io.ReadCloser, error) {
	r, err := Open(ctx, location)
	if err != nil {
		return nil, err
	}
	body, err := r.Get(ctx, o.key, o.offset, o.length)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	return inRepo{body, r}, nil
}

// inRepo is a body whose end is that of the connection, too.
type inRepo struct {
	io.ReadCloser
	repo *Repo
}

func (b inRepo) Close() error { return errors.Join(b.ReadCloser.Close(), b.repo.Close()) }

// begun is an output that may have got the beginning of an object already.
type begun struct {
	w    io.Writer
	sum  hash.Hash // of what it has got
	size int64
	err  error // why it takes no more
}

func (b *begun) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	b.size, b.err = b.size+int64(n), err
	b.sum.Write(p[:n])
	return n, err
}

// A relay reads an object from several repositories, of which one at a time leads:
// what it says is written. Others that were asked pass over what there is.
type relay struct {
	begun
	what           string
	open           func(ctx context.Context, location string) (io.ReadCloser, error)
	unasked        []string // in the order in which they are asked
	asked          []*reader
	lead           *reader
	pieces         chan piece
	failed, absent []error
}

// A reader is a repository that was asked.
type reader struct {
	location string
	cancel   context.CancelFunc
	sum      hash.Hash // of what was passed over
	passed   int64
	heard    time.Time // when it last said something
}

// A piece is what a reader has read, or how it ended.
type piece struct {
	from  *reader
	bytes []byte
	ended bool
	err   error // nil if all was read
}

func (r *relay) run(ctx context.Context, warn func(error)) error {
	r.ask(ctx)
	for len(r.asked) > 0 {
		p, came := r.next(ctx)
		if ctx.Err() != nil {
			return cmp.Or(errors.Join(r.failed...), context.Cause(ctx))
		}
		if !came {
			r.ask(ctx)
			continue
		}
		if !slices.Contains(r.asked, p.from) {
			continue // it was let go
		}
		p.from.heard = time.Now()
		err := r.take(p)
		switch {
		case r.err != nil:
			return r.err
		case err != nil:
			r.drop(p.from, err)
			r.ask(ctx)
		case p.ended:
			for _, err := range r.failed {
				warn(err)
			}
			return nil
		}
	}
	if len(r.failed) > 0 {
		return errors.Join(r.failed...)
	}
	return errors.Join(r.absent...)
}

// ask begins to read from the next repository, if there is one.
func (r *relay) ask(ctx context.Context) {
	if len(r.unasked) == 0 {
		return
	}
	// Whether it hangs is for next to see.
	ctx, cancel := context.WithCancel(wait.WithWatch(ctx, nil))
	from := &reader{location: r.unasked[0], cancel: cancel, sum: sha256.New(), heard: time.Now()}
	r.unasked = r.unasked[1:]
	r.asked = append(r.asked, from)
	go func() {
		err := from.run(ctx, r.open, r.pieces)
		_ = from.send(ctx, r.pieces, piece{ended: true, err: err})
	}()
}

// run sends all that there is. A piece counts until the next one was received.
func (from *reader) run(ctx context.Context, open func(context.Context, string) (io.ReadCloser, error), pieces chan<- piece) error {
	body, err := open(ctx, from.location)
	if err != nil {
		return err
	}
	defer body.Close()
	buffer, other := make([]byte, copyBuffer), make([]byte, copyBuffer)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if err := from.send(ctx, pieces, piece{bytes: buffer[:n]}); err != nil {
				return err
			}
			buffer, other = other, buffer
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", from.location, err)
		}
	}
}

func (from *reader) send(ctx context.Context, pieces chan<- piece, p piece) error {
	p.from = from
	select {
	case pieces <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next waits for a piece of anybody, without a bound of its own when nobody is left
// to be asked instead.
func (r *relay) next(ctx context.Context) (p piece, came bool) {
	var late <-chan time.Time
	if len(r.unasked) > 0 {
		timer := time.NewTimer(r.patience())
		defer timer.Stop()
		late = timer.C
	} else {
		defer wait.For(ctx, "reading "+r.what+" in "+strings.Join(r.waitedFor(), " and "))()
	}
	select {
	case p = <-r.pieces:
		return p, true
	case <-late:
	case <-ctx.Done():
	}
	return p, false
}

func (r *relay) patience() time.Duration {
	if r.lead == nil && r.size == 0 {
		return slowRepository
	}
	return silence
}

func (r *relay) waitedFor() (locations []string) {
	for _, from := range r.asked {
		locations = append(locations, from.location)
	}
	return locations
}

// take writes what a piece adds to what there is. Its error is that of the reader.
func (r *relay) take(p piece) error {
	rest := p.bytes
	if p.from != r.lead {
		rest = p.from.passOver(rest, r.size)
	}
	if p.err != nil || len(rest) == 0 && !p.ended {
		return p.err
	}
	if err := r.follow(p.from); err != nil || len(rest) == 0 {
		return err
	}
	_, _ = r.Write(rest) // which keeps its error
	return nil
}

// follow makes a reader the one that leads. The others are left, and may be asked
// again, after all others.
func (r *relay) follow(from *reader) error {
	if from != r.lead && (from.passed != r.size || !bytes.Equal(from.sum.Sum(nil), r.sum.Sum(nil))) {
		return fmt.Errorf("%s: it does not go on where another repository broke off: they have different objects", from.location)
	}
	for _, other := range r.asked {
		if other == from {
			continue
		}
		other.cancel()
		r.unasked = append(r.unasked, other.location)
		if silent := time.Since(other.heard); silent >= r.patience() {
			r.failed = append(r.failed, fmt.Errorf("%s: it said nothing for %s", other.location, silent.Round(time.Second)))
		}
	}
	r.lead, r.asked = from, append(r.asked[:0], from)
	return nil
}

// passOver takes what has been written already off a piece.
func (from *reader) passOver(p []byte, size int64) (rest []byte) {
	n := min(int64(len(p)), size-from.passed)
	from.sum.Write(p[:n])
	from.passed += n
	return p[n:]
}

// drop asks no more of a reader.
func (r *relay) drop(from *reader, err error) {
	from.cancel()
	r.asked = slices.DeleteFunc(r.asked, func(a *reader) bool { return a == from })
	if r.lead == from {
		r.lead = nil
	}
	if errors.Is(err, store.ErrNotExist) {
		r.absent = append(r.absent, err)
	} else {
		r.failed = append(r.failed, err)
	}
}
