package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"pgpipes/lib/store"
)

// Read writes bytes of an object, as store.Store.Get counts them, to w. They come
// from the first repository that has it. Where one breaks off the next one goes
// on, if it has the same bytes up to there.
//
// The error wraps store.ErrNotExist only if every repository was reached and has
// no such object. What was wrong with one while another served is given to warn.
func Read(ctx context.Context, locations []string, key string, offset, length int64, w io.Writer, warn func(error)) error {
	out := &begun{w: w}
	if len(locations) > 1 {
		out.sum = sha256.New()
	}
	var failed, absent []error
	for _, location := range locations {
		err := out.from(ctx, location, key, offset, length)
		switch {
		case err == nil:
			for _, err := range failed {
				warn(err)
			}
			return nil
		case out.err != nil || ctx.Err() != nil:
			return err
		case errors.Is(err, store.ErrNotExist):
			absent = append(absent, err)
		default:
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	return errors.Join(absent...)
}

// begun is an output that may have got the beginning of an object already.
type begun struct {
	w    io.Writer
	sum  hash.Hash // of what it has got; nil if nobody could go on anyway
	size int64
	err  error // why it takes no more
}

func (b *begun) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	b.size, b.err = b.size+int64(n), err
	b.sum.Write(p[:n])
	return n, err
}

// from copies the object as one repository has it, less what is there.
func (b *begun) from(ctx context.Context, location, key string, offset, length int64) error {
	r, err := Open(ctx, location)
	if err != nil {
		return err
	}
	body, err := r.Get(ctx, key, offset, length)
	if err == nil {
		defer body.Close()
		if b.sum == nil {
			_, err = io.CopyBuffer(b.w, body, make([]byte, copyBuffer))
		} else if err = b.passOver(body); err == nil {
			_, err = io.CopyBuffer(b, struct{ io.Reader }{body}, make([]byte, copyBuffer))
		}
	}
	if err != nil && b.sum != nil {
		return fmt.Errorf("%s: %w", location, err)
	}
	return err
}

// passOver reads what has been written already.
func (b *begun) passOver(body io.Reader) error {
	sum := sha256.New()
	n, err := io.CopyN(sum, body, b.size)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n != b.size || !bytes.Equal(sum.Sum(nil), b.sum.Sum(nil)) {
		return errors.New("it does not go on where another repository broke off: they have different objects")
	}
	return nil
}
