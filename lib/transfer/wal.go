package transfer

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
)

// histories copies them before the WAL of their timelines.
func (t Transfer) histories(ctx context.Context) error {
	return t.each(ctx, layout.History, isWAL, t.wal)
}

// segments copies all other WAL files, timeline after timeline.
func (t Transfer) segments(ctx context.Context) error {
	return t.each(ctx, layout.WAL, func(o store.Info) bool { return isWAL(o) && !strings.HasPrefix(o.Key, layout.History) }, t.wal)
}

// needed copies the segments without which the one backup is none, nor one that
// comes with it.
func (t Transfer) needed(ctx context.Context, c cargo) error {
	histories, err := t.From.Histories(ctx)
	if err != nil {
		return err
	}
	size := t.From.SegmentSize
	wanted := map[string]bool{}
	for _, label := range append(c.labels, t.Backup) {
		h := c.here[label].Header
		if h.WAL || h.StopLSN == 0 {
			continue
		}
		for _, way := range (archive.Coverage{Size: size, Histories: histories}).Needed(h) {
			for number := way.First; number <= way.Last; number++ {
				wanted[size.Name(way.Timeline, number)] = true
			}
		}
	}
	var failed []error
	for _, directory := range directories(wanted) {
		failed = append(failed, t.each(ctx, directory, func(o store.Info) bool {
			n, _, ok := layout.ParseWALKey(o.Key)
			return ok && wanted[n.Base()]
		}, t.wal))
	}
	return errors.Join(failed...)
}

// directories are the beginnings of the keys of segments, in order.
func directories(segments map[string]bool) []string {
	set := map[string]bool{}
	for base := range segments {
		set[layout.WAL+base[:16]+"/"] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func isWAL(o store.Info) bool {
	_, _, ok := layout.ParseWALKey(o.Key)
	return ok
}

// wal copies a WAL file that is what its name says. It is kept in a file without
// a name meanwhile, so that it is fetched once.
func (t Transfer) wal(ctx context.Context, o store.Info, turn func() error) error {
	spool, err := durable.Create(filepath.Join(os.TempDir(), path.Base(o.Key)), 0o600)
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := copyObject(ctx, t.From, o.Key, spool); err != nil {
		return err
	}
	if err := checkSpooled(ctx, t.From, o.Key, spool); err != nil {
		if errors.Is(err, archive.ErrDamaged) {
			n, _, _ := layout.ParseWALKey(o.Key)
			t.damaged.Store(n.String(), true)
			err = lost{err}
		}
		return err
	}
	return t.put(ctx, o, func(w io.Writer) error {
		body := io.NewSectionReader(spool, 0, spool.Size())
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{body}, make([]byte, copiedAtOnce)); err != nil {
			return err
		}
		return turn()
	})
}

// checkSpooled finds a WAL file as it is stored that is not what its key says.
func checkSpooled(ctx context.Context, r *archive.Repo, key string, spool *durable.File) error {
	n, _, _ := layout.ParseWALKey(key)
	local := &archive.Repo{Store: fetched{r.Store, key, spool}, Location: r.Location, Identity: r.Identity}
	f, err := local.Fetch(ctx, key, n, filepath.Join(os.TempDir(), n.String()))
	if err != nil {
		return err
	}
	return f.Close()
}

// fetched is a store of which one object is here already.
type fetched struct {
	store.Store
	key  string
	file *durable.File
}

func (s fetched) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if key != s.key {
		return s.Store.Get(ctx, key, offset, length)
	}
	return io.NopCloser(io.NewSectionReader(s.file, offset, s.file.Size()-offset)), nil
}
