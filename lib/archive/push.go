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
	"sync"

	"pgpipes/lib/codec"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// copyBuffer is the size of reads and writes in bytes.
const copyBuffer = 256 << 10

// Push stores a WAL file, which the caller has inspected, in every repository
// of locations, all at once. One that fails does not keep the file from the
// others, but the error is not nil. Repositories that are not there yet are
// made for cluster; a nil cluster (a timeline history from a pipe) needs one
// that is there.
//
// The same contents there already, in whatever codec, are success. Other
// contents are store.ErrDiffers.
func Push(ctx context.Context, locations []string, cluster *Cluster, n wal.Name, c Content, o codec.Options) error {
	failed := make([]error, len(locations))
	var all sync.WaitGroup
	for i, location := range locations {
		all.Go(func() {
			r, err := openMaybeFor(ctx, location, cluster)
			if err == nil {
				err = r.push(ctx, n, c, o)
			}
			failed[i] = err
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func openMaybeFor(ctx context.Context, location string, cluster *Cluster) (*Repo, error) {
	if cluster == nil {
		return Open(ctx, location)
	}
	return OpenFor(ctx, location, *cluster)
}

// StoreHistories stores the histories of a timeline and its ancestors that are
// not there yet, from pg_wal of a data directory. A cluster that had them before
// it had this repository does not offer them again, and recovery cannot do
// without them.
func (r *Repo) StoreHistories(ctx context.Context, data string, tli wal.Timeline) error {
	for tli > 1 {
		h, err := r.history(ctx, tli)
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
	if err := r.push(ctx, n, s.Content, codec.Options{Format: codec.None}); err != nil {
		return nil, err
	}
	return r.history(ctx, tli)
}

func (r *Repo) push(ctx context.Context, n wal.Name, c Content, o codec.Options) error {
	if n.Kind == wal.TimelineHistory || n.Kind == wal.BackupHistory {
		o = codec.Options{Format: codec.None} // small, and read by people
	}
	key := walKey(n)
	there, err := r.forms(ctx, n)
	if err == nil && len(there) == 0 {
		own := key + o.Format.Suffix
		_, err = r.Put(ctx, own, func(w io.Writer) error { return encode(w, c, o) })
		if differs := errors.Is(err, store.ErrDiffers); err == nil || differs {
			// Somebody else may have stored the name meanwhile: in other words,
			// or under another codec's key.
			there, err = r.forms(ctx, n)
			there = slices.DeleteFunc(there, func(i store.Info) bool { return i.Key == own && !differs })
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Location, err)
	}
	for _, form := range there {
		if err := r.confirm(ctx, form.Key, n, c); err != nil {
			return fmt.Errorf("%s: %w", r.Location, err)
		}
	}
	return nil
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
	if s, able := r.Store.(interface{ Sync(key string) error }); able {
		return s.Sync(key)
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
