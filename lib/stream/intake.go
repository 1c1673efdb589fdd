package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"runtime"
	"sync"

	"pgpipes/lib/codec"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/wait"
)

// hashAlone is the size from which on hashing in a goroutine of its own pays.
const hashAlone = 128 << 10

// An Intake reads a whole stream, compressed or not: it hashes every file, notes
// every entry, and hands contents to where they go. What is to be different from
// what [NewIntake] says has to be set before it begins.
type Intake struct {
	// Bare says that the stream need not have a backup_manifest.
	Bare bool
	// Sparse says that most of the stream does not count, and may be skipped.
	Sparse bool
	// Part is the name of the part that the stream is, for its entries.
	Part string
	// Cores is how many decompress, at most.
	Cores int
	// Inline has files hashed where they are read: the other cores have work of
	// their own.
	Inline bool
	// Wants says whether a member counts; others are passed over.
	Wants func(Member) bool
	// Enough says whether nothing that comes can count any more.
	Enough func() bool
	// Place gives the place for a member; the writer is closed after it.
	Place func(Member) (io.WriteCloser, error)
	// Note gets the entry of a member that is in its place.
	Note func(manifest.Entry) error
	// Each gets the files of backup_manifest.
	Each func(manifest.ServerFile) error
	// Progress is told how many bytes of contents have been read.
	Progress func(done int64)

	// Kept are the contents of the files that [Keeps] knows, by path, as far as
	// they have come.
	Kept map[string][]byte
	// Server is what backup_manifest says besides the files, when it has come.
	Server manifest.ServerManifest

	in      io.Reader
	opened  io.Closer // the stream, decompressed
	reader  *Reader
	first   Member
	ended   bool  // there is no first one
	done    int64 // bytes of contents
	buffers [2][]byte
}

// NewIntake is for a stream of which everything counts and is only hashed, with as
// many cores as there are.
func NewIntake(in io.Reader) *Intake {
	return &Intake{
		in:       in,
		Cores:    Decoders(runtime.GOMAXPROCS(0)),
		Wants:    func(Member) bool { return true },
		Enough:   func() bool { return false },
		Place:    func(Member) (io.WriteCloser, error) { return Nowhere{}, nil },
		Note:     func(manifest.Entry) error { return nil },
		Each:     func(manifest.ServerFile) error { return nil },
		Progress: func(int64) {},
		Kept:     map[string][]byte{},
		buffers:  [2][]byte{make([]byte, BufferSize), make([]byte, BufferSize)},
	}
}

// decoders is how many cores decompress at most: one writer cannot take more.
const decoders = 4

// Decoders says how many of n cores are to decompress a stream: one at least, and no
// more than whoever writes the contents can keep up with.
func Decoders(n int) int { return max(1, min(decoders, n)) }

// Nowhere is a place for what is only hashed, or kept.
type Nowhere struct{}

func (Nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (Nowhere) Close() error                { return nil }

// Begin opens the stream and reads as far as the first member, as Run would. Being
// decompressed here, it does not have to go through one more pipe.
func (t *Intake) Begin() error {
	in, err := t.open()
	if err != nil {
		return err
	}
	t.opened = in
	t.reader = NewReader(in)
	t.reader.Bare = t.Bare
	t.first, err = t.reader.Next()
	if err == io.EOF {
		t.ended, err = true, nil
	}
	return err
}

func (t *Intake) open() (codec.Skipper, error) {
	if t.Sparse {
		return codec.NewReaderAny(t.in, 1)
	}
	return codec.NewReaderAny(t.in, t.Cores)
}

// Close ends the work on a stream that was begun; Run does so too.
func (t *Intake) Close() {
	if t.opened != nil {
		t.opened.Close()
	}
}

// Run reads the stream to its end, or until there is enough. Without an error it
// was complete, or enough. Errors are those of [Reader], of decompression, and of
// whatever was called.
func (t *Intake) Run(ctx context.Context) error {
	defer t.Close()
	if t.reader == nil {
		if err := t.Begin(); err != nil {
			return err
		}
	}
	for m := t.first; !t.ended; {
		err := ctx.Err()
		if err == nil && t.Wants(m) {
			err = t.member(ctx, m)
		}
		if err == nil && t.Enough() {
			return nil
		}
		if err == nil {
			m, err = t.reader.Next()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Intake) member(ctx context.Context, m Member) error {
	writing := wait.On(ctx, "writing "+manifest.Escape(m.Path))
	writing.Begin()
	w, err := t.Place(m)
	writing.End()
	if err != nil {
		return err
	}
	if m.Kind == manifest.File {
		m.SHA256, err = t.contents(ctx, writing.Writer(w), m)
	}
	writing.Begin()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	writing.End()
	if err != nil {
		return err
	}
	m.Part = t.Part
	return t.Note(m.Entry)
}

// contents writes the contents of a file to w and returns their hash.
func (t *Intake) contents(ctx context.Context, w io.Writer, m Member) (sum string, err error) {
	h := sha256.New()
	limit, keep := Keeps(m.Path)
	if keep || m.Path == pgdata.ManifestFile {
		defer t.count(m.Size)
	}
	switch {
	case m.Path == pgdata.ManifestFile:
		t.Server, err = manifest.ReadServerManifest(io.TeeReader(t.reader, io.MultiWriter(h, w)), t.Each)
	case keep && m.Size > limit:
		err = Bad("%s: %d bytes are too many for it", m.Path, m.Size)
	case keep:
		t.Kept[m.Path], err = io.ReadAll(io.TeeReader(t.reader, io.MultiWriter(h, w)))
	default:
		err = t.copy(ctx, w, h)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

func (t *Intake) count(n int64) {
	t.done += n
	t.Progress(t.done)
}

// copy has a piece hashed and written while the next one is read.
func (t *Intake) copy(ctx context.Context, w io.Writer, h hash.Hash) error {
	var working sync.WaitGroup
	defer working.Wait()
	var failed error // of writing
	for i := 0; ctx.Err() == nil; i++ {
		piece := t.buffers[i%len(t.buffers)]
		n, err := io.ReadFull(t.reader, piece)
		piece = piece[:n]
		if working.Wait(); failed != nil {
			return failed
		}
		if t.Inline || n < hashAlone {
			h.Write(piece)
			_, failed = w.Write(piece)
		} else {
			working.Go(func() { h.Write(piece) })
			working.Go(func() { _, failed = w.Write(piece) })
		}
		t.count(int64(n))
		if err != nil {
			working.Wait()
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF: // of the member: the reader has other words for a cut
			return failed
		case err != nil:
			return err
		}
	}
	return ctx.Err()
}
