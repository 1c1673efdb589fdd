package archive

import (
	"context"
	"errors"
	"io"

	"pgpipes/lib/store"
)

// Text reads an object of a few lines, and no more than IdentityLimit bytes of it.
func (r *Repo) Text(ctx context.Context, key string) ([]byte, error) {
	body, err := r.Get(ctx, key, 0, IdentityLimit)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// putNote stores a note whose key says what matters: that it is there already
// in other words is success.
func (r *Repo) putNote(ctx context.Context, key, text string) error {
	err := r.putText(ctx, key, text)
	if !errors.Is(err, store.ErrDiffers) {
		return err
	}
	return r.sync(ctx, key)
}

func (r *Repo) putText(ctx context.Context, key, text string) error {
	_, err := r.Put(ctx, key, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	return err
}
