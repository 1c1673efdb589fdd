package backup

import (
	"context"
	"os"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// A worker copies files of a tree into one sink after the other.
type worker struct {
	tree   *tree
	sink   *stream.Writer
	buffer []byte
	owners owners
	done   int64 // bytes of the part at hand
	bad    tallyOfPages
}

func newWorker(t *tree) *worker {
	return &worker{tree: t, buffer: make([]byte, readSize), owners: owners{}}
}

// begin has the worker write into another part.
func (w *worker) begin(s *stream.Writer) { w.sink, w.done, w.bad = s, 0, tallyOfPages{} }

// directory copies a directory without what is in it.
func (w *worker) directory(name string) error {
	info, err := os.Stat(w.tree.path(name))
	if err != nil {
		return w.tree.vanished(name, err)
	}
	return w.sink.AddDirectory(w.member(name, info))
}

// member describes a file or directory.
func (w *worker) member(name string, info os.FileInfo) stream.Member {
	o := ownerOf(info)
	e := manifest.Entry{
		Path: name, Mode: stream.Permissions(info.Mode()), Owner: w.owners.name(o), Size: info.Size(), MTime: info.ModTime(),
	}
	return stream.Member{Entry: e, UID: int(o.uid), GID: int(o.gid)}
}

// count notes that bytes have been copied, and holds the worker up if that goes
// too fast.
func (w *worker) count(ctx context.Context, n int) error {
	w.advance(int64(n))
	return w.tree.pace.Wait(ctx, n)
}

// advance notes that so much more is done of the part at hand.
func (w *worker) advance(n int64) {
	w.done += n
	w.tree.pace.Add(n)
}
