package base

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

// intake reads a whole stream: it hashes every file, notes every entry, and
// hands contents to where they go.
type intake struct {
	in     io.Reader // the stream, compressed or not
	bare   bool      // need not have a backup_manifest
	sparse bool      // most of it does not count
	reader *Reader
	opened io.Closer // the stream, decompressed
	first  Member
	ended  bool // there is no first one
	// wants says whether a member counts; others are passed over.
	wants func(Member) bool
	// enough says whether nothing that comes can count any more.
	enough func() bool
	// place gives the place for a member; the writer is closed after it.
	place func(Member) (io.WriteCloser, error)
	// note gets the entry of a member that is in its place.
	note func(manifest.Entry) error
	// each gets the files of backup_manifest.
	each     func(manifest.ServerFile) error
	progress func(done int64)
	part     string // the name of the part that the stream is
	cores    int    // that decompress, at most
	inline   bool   // hash where it is read: the other cores have work of their own

	kept    map[string][]byte
	server  manifest.ServerManifest
	done    int64 // bytes of contents
	buffers [2][]byte
}

// newIntake has a stream read without doing anything with its contents.
func newIntake(in io.Reader) *intake {
	return &intake{
		in:       in,
		cores:    cores(runtime.GOMAXPROCS(0)),
		wants:    func(Member) bool { return true },
		enough:   func() bool { return false },
		place:    func(Member) (io.WriteCloser, error) { return nowhere{}, nil },
		note:     func(manifest.Entry) error { return nil },
		each:     func(manifest.ServerFile) error { return nil },
		progress: func(int64) {},
		kept:     map[string][]byte{},
		buffers:  [2][]byte{make([]byte, streamBuffer), make([]byte, streamBuffer)},
	}
}

// decoders is how many cores decompress at most: one writer cannot take more.
const decoders = 4

// cores says with how many of n cores a stream is decompressed.
func cores(n int) int { return max(1, min(decoders, n)) }

// nowhere is a place for what is only hashed, or kept.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// begin opens the stream and reads as far as the first member. Being
// decompressed here, it does not have to go through one more pipe.
func (t *intake) begin() error {
	in, err := t.open()
	if err != nil {
		return err
	}
	t.opened = in
	t.reader = NewReader(in)
	t.reader.bare = t.bare
	t.first, err = t.reader.Next()
	if err == io.EOF {
		t.ended, err = true, nil
	}
	return err
}

func (t *intake) open() (codec.Skipper, error) {
	if t.sparse {
		return codec.NewReaderAny(t.in, 1)
	}
	return codec.NewReaderAny(t.in, t.cores)
}

// close ends the work on the stream.
func (t *intake) close() {
	if t.opened != nil {
		t.opened.Close()
	}
}

// run reads the stream to its end, or until there is enough. Without an error it
// was complete, or enough.
func (t *intake) run(ctx context.Context) error {
	defer t.close()
	if t.reader == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	for m := t.first; !t.ended; {
		err := ctx.Err()
		if err == nil && t.wants(m) {
			err = t.member(ctx, m)
		}
		if err == nil && t.enough() {
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

func (t *intake) member(ctx context.Context, m Member) error {
	writing := wait.On(ctx, "writing "+manifest.Escape(m.Path))
	writing.Begin()
	w, err := t.place(m)
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
	m.Part = t.part
	return t.note(m.Entry)
}

// contents writes the contents of a file to w and returns their hash.
func (t *intake) contents(ctx context.Context, w io.Writer, m Member) (sum string, err error) {
	h := sha256.New()
	limit, keep := kept(m.Path)
	if keep || m.Path == pgdata.ManifestFile {
		defer t.count(m.Size)
	}
	switch {
	case m.Path == pgdata.ManifestFile:
		t.server, err = manifest.ReadServerManifest(io.TeeReader(t.reader, io.MultiWriter(h, w)), t.each)
	case keep && m.Size > limit:
		err = badStream("%s: %d bytes are too many for it", m.Path, m.Size)
	case keep:
		t.kept[m.Path], err = io.ReadAll(io.TeeReader(t.reader, io.MultiWriter(h, w)))
	default:
		err = t.copy(ctx, w, h)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

func (t *intake) count(n int64) {
	t.done += n
	t.progress(t.done)
}

// copy has a piece hashed and written while the next one is read.
func (t *intake) copy(ctx context.Context, w io.Writer, h hash.Hash) error {
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
		if t.inline || n < hashAlone {
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
