package restore

import (
	"context"
	"io/fs"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

// stock is the taking of stock of a data directory: which files are right. It
// changes nothing.
type stock struct {
	*restorer
	sweep *sweep
	files chan inHand
	large chan inHand      // from largeFile on
	freed map[uint32]int64 // bytes that will be, by tablespace
}

// largeFile is the size from which on a file is read before all smaller ones.
const largeFile = 8 << 20

// largeAhead is how many large files may wait while others are found.
const largeAhead = 1000

// inHand is a file that may be right.
type inHand struct {
	target *target
	name   string
	listed *listed
	entry  manifest.Entry
	info   fs.FileInfo
}

// takeStock finds out what can stay.
func (r *restorer) takeStock(ctx context.Context) error {
	r.o.Notice("%s: comparing what is there", r.targets.data.path)
	s := &stock{restorer: r, files: make(chan inHand), large: make(chan inHand, largeAhead), freed: map[uint32]int64{}}
	var err error
	if s.sweep, err = r.newSweep(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	s.sweep.file = func(t *target, name string, f *listed, info fs.FileInfo) error {
		return s.file(ctx, inHand{t, name, f, stream.NewEntry(t.member(name), manifest.File, info), info}, info)
	}
	s.sweep.stray = s.stray
	group.Go(func() error {
		defer close(s.files)
		defer close(s.large)
		return s.sweep.run(ctx)
	})
	for reader := range 2 * r.o.Jobs { // one of two waits for the disk
		group.Go(func() error { return s.compareAll(ctx, reader) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := r.checkDropped(s); err != nil {
		return err
	}
	r.count(s)
	return nil
}

func (r *restorer) newSweep() (*sweep, error) {
	version, err := r.targets.data.versionDir()
	return &sweep{targets: r.targets, index: r.plan.index, version: version}, err
}

// file has a file read if it may be right. The end members are taken in any
// case: what was restored before may have been changed after it.
func (s *stock) file(ctx context.Context, h inHand, info fs.FileInfo) error {
	if stream.IsEnd(h.entry.Path) || h.listed.state != awaited || h.listed.size != info.Size() {
		return s.stray(h.target, h.name, info)
	}
	to := s.files
	if info.Size() >= largeFile {
		to = s.large
	}
	select {
	case to <- h:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stray looks at what will have to go: what is mounted cannot.
func (s *stock) stray(t *target, name string, info fs.FileInfo) error {
	if mounted, err := t.isMountPoint(name, info); err != nil || mounted {
		return mountError(t, name, err)
	}
	if !info.IsDir() {
		s.mu.Lock()
		s.freed[t.oid] += freedBy(info)
		s.mu.Unlock()
		return nil
	}
	return t.list(name, func(below string) error {
		info, err := t.root.Lstat(below)
		if err != nil {
			return err
		}
		return s.stray(t, below, info)
	})
}

// freedBy is how many bytes the removal of a file gives back.
func freedBy(info fs.FileInfo) int64 {
	if had, ok := info.Sys().(*syscall.Stat_t); ok && had.Nlink == 1 && info.Mode().IsRegular() {
		return had.Blocks * 512
	}
	return 0
}

// compareAll is what a reader does. The first ones, as many as there are cores
// and jobs, take the large files before the others, so that a large one has a
// core for itself, and is not still read when all others are done.
func (s *stock) compareAll(ctx context.Context, reader int) error {
	buffer := make([]byte, stream.BufferSize)
	if reader < min(s.o.Jobs, runtime.GOMAXPROCS(0)) {
		if err := s.compareEach(ctx, s.large, buffer); err != nil {
			return err
		}
	}
	return s.compareEach(ctx, s.files, buffer)
}

func (s *stock) compareEach(ctx context.Context, files <-chan inHand, buffer []byte) error {
	for h := range files {
		if err := s.compare(ctx, h, buffer); err != nil {
			return err
		}
	}
	return nil
}

// compare reads a file. One that cannot be read is to be replaced.
func (s *stock) compare(ctx context.Context, h inHand, buffer []byte) error {
	sum, size, err := h.target.hash(ctx, h.name, buffer)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.o.Warn("%v: it will be replaced", err)
		return s.stray(h.target, h.name, h.info)
	case size != h.listed.size || beginning(sum) != h.listed.sum:
		return s.stray(h.target, h.name, h.info)
	}
	h.listed.state = inPlace
	h.entry.SHA256 = sum
	s.advance(size)
	s.needLess(h.entry.Path, size)
	return s.add(h.entry)
}

// needLess takes a file from what there has to be room for.
func (r *restorer) needLess(path string, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan.room[r.plan.spaceOf(path)] -= allocated(size)
}

// hash reads a file of a target.
func (t *target) hash(ctx context.Context, name string, buffer []byte) (sum string, size int64, err error) {
	reading := wait.On(ctx, "reading "+filepath.Join(t.path, name))
	reading.Begin()
	f, err := t.root.Open(name)
	reading.End()
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return stream.HashAll(ctx, reading.Reader(f), buffer)
}

// count corrects what the plan says for what is there already.
func (r *restorer) count(s *stock) {
	var right, all int
	for i := range r.plan.index.all {
		f := &r.plan.index.all[i]
		if f.kind == manifest.File && f.state != excluded {
			all++
		}
		if f.state == inPlace {
			right++
		}
	}
	r.o.Notice("%s: %d of %d files are right", r.targets.data.path, right, all)
	for oid, bytes := range s.freed {
		r.plan.room[oid] -= bytes
	}
}
