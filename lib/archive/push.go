package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// copyBuffer is the size of reads and writes in bytes.
const copyBuffer = 256 << 10

// StoreHistories stores the histories of a timeline and its ancestors that are
// not there yet, from pg_wal of a data directory. A cluster that had them before
// it had this repository does not offer them again, and recovery cannot do
// without them.
func (r *Repo) StoreHistories(ctx context.Context, data string, tli wal.Timeline) error {
	for tli > 1 {
		h, err := r.History(ctx, tli)
		if errors.Is(err, store.ErrNotExist) {
			h, err = r.storeHistory(ctx, data, tli)
		}
		if err != nil {
			return fmt.Errorf("%s.history, without which recovery cannot reach timeline %d: %w", tli, uint32(tli), err)
		}
		tli = h[len(h)-1].Parent
	}
	return nil
}

func (r *Repo) storeHistory(ctx context.Context, data string, tli wal.Timeline) (wal.History, error) {
	n := wal.Name{Kind: wal.TimelineHistory, Timeline: tli}
	s, err := OpenSource(filepath.Join(data, "pg_wal", n.String()))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := Inspect(n, s.Content); err != nil {
		return nil, err
	}
	if _, err := r.Push(ctx, n, s.Content, codec.Options{Format: codec.None}, nil); err != nil {
		return nil, err
	}
	return r.History(ctx, tli)
}

// Push stores a WAL file, which the caller has inspected, and returns the object
// that holds it. The same contents there already, in whatever codec, are success,
// other contents are store.ErrDiffers. Before a new object becomes visible turn is
// called, if it is not nil, with the writer of a Put; its error keeps the object
// from that.
func (r *Repo) Push(ctx context.Context, n wal.Name, c Content, o codec.Options, turn func(io.Writer) error) (store.Info, error) {
	there, err := r.Forms(ctx, n)
	if err != nil {
		return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
	}
	return r.PushBeside(ctx, there, n, c, o, turn)
}

// PushBeside is Push where the forms of the file that are there are known.
func (r *Repo) PushBeside(ctx context.Context, there []store.Info, n wal.Name, c Content, o codec.Options, turn func(io.Writer) error) (store.Info, error) {
	if n.Kind == wal.TimelineHistory || n.Kind == wal.BackupHistory {
		o = codec.Options{Format: codec.None} // small, and read by people
	}
	own := store.Info{Key: layout.WALKey(n) + o.Format.Suffix}
	var err error
	if len(there) == 0 {
		var receipt store.Receipt
		receipt, err = r.Put(ctx, own.Key, func(w io.Writer) error {
			err := encode(w, c, o)
			if err == nil && turn != nil {
				err = turn(w)
			}
			return err
		})
		own.Size = receipt.Size
		if differs := errors.Is(err, store.ErrDiffers); err == nil || differs {
			// Somebody else may have stored the name meanwhile: in other words,
			// or under another codec's key.
			there, err = r.Forms(ctx, n)
			there = slices.DeleteFunc(there, func(i store.Info) bool { return i.Key == own.Key && !differs })
		}
	}
	if err != nil {
		return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
	}
	for _, form := range there {
		if err := r.confirm(ctx, form.Key, n, c); err != nil {
			return store.Info{}, fmt.Errorf("%s: %w", r.Location, err)
		}
		own = form
	}
	return own, nil
}

// encode compresses a file as a whole; one that ends early is an error.
func encode(w io.Writer, c Content, o codec.Options) error {
	z, err := codec.NewWriter(w, o)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(z, struct{ io.Reader }{c.Reader()}, make([]byte, copyBuffer))
	if err == nil && n != c.Size {
		err = fmt.Errorf("shrank from %d to %d bytes while it was read", c.Size, n)
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return err
}

// confirm succeeds when a stored object holds these contents and is durable.
func (r *Repo) confirm(ctx context.Context, key string, n wal.Name, c Content) error {
	offered, stored := sha256.New(), sha256.New()
	if _, err := io.Copy(offered, c.Reader()); err != nil {
		return err
	}
	if err := r.decode(ctx, key, stored, int64(wal.MaxSegmentSize)); err != nil {
		return fmt.Errorf("%w (it was to be compared with the same file, offered again)", err)
	}
	if a, b := hex.EncodeToString(stored.Sum(nil)), hex.EncodeToString(offered.Sum(nil)); a != b {
		return fmt.Errorf("%s: %w: stored sha256 %s, offered %s", n, store.ErrDiffers, a, b)
	}
	return r.sync(ctx, key)
}

// sync makes an object that is there already durable, where the store does not
// do so by itself.
func (r *Repo) sync(ctx context.Context, key string) error {
	if s, able := r.Store.(interface {
		Sync(ctx context.Context, key string) error
	}); able {
		return s.Sync(ctx, key)
	}
	return nil
}

// decode writes the contents of an object, uncompressed, to w. What cannot be
// decoded, or is longer than limit bytes, is ErrDamaged.
func (r *Repo) decode(ctx context.Context, key string, w io.Writer, limit int64) error {
	body, err := r.Get(ctx, key, 0, -1)
	if errors.Is(err, store.ErrNotExist) { // it was there a moment ago: no proof of absence
		return fmt.Errorf("%s: vanished while it was read", key)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	_, format := codec.SplitName(key)
	z, err := codec.NewReaderFormat(body, format, 0)
	if err == nil {
		defer z.Close()
		_, err = io.Copy(&bounded{w, limit}, z)
	}
	if errors.Is(err, codec.ErrCorrupt) || errors.Is(err, codec.ErrFormat) || errors.Is(err, errTooLong) {
		return fmt.Errorf("%s: %w: %v", key, ErrDamaged, err)
	}
	return err
}

var errTooLong = errors.New("longer than any such file")

// bounded lets so many bytes through to w.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, errTooLong
	}
	b.left -= int64(len(p))
	return b.w.Write(p)
}
