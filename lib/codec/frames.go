package codec

import "io"

// frames is a format whose streams are made of pieces that can be compressed
// independently of each other.
type frames interface {
	head() []byte        // what comes before the first piece
	worker() func(*task) // compresses in to out
	add(*task)           // told of every piece, in order
	tail() []byte        // what comes after the last piece
}

// A frameWriter cuts its input into pieces, has a crew compress them, and
// writes them in order. Only the caller's goroutine touches the output.
type frameWriter struct {
	w      io.Writer
	format frames
	size   int // of a piece
	crew   *crew
	piece  *task // being filled; nil if there is none
	begun  bool
	closed bool
	err    error
}

func newFrameWriter(w io.Writer, f frames, size, jobs int) *frameWriter {
	return &frameWriter{w: w, format: f, size: size, crew: newCrew(jobs, f.worker)}
}

func (w *frameWriter) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := w.usable(); err != nil {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
		n := copy(w.room(), p[written:])
		written += n
		w.filled(n)
	}
}

// ReadFrom compresses all of r, reading it straight into the frames. If r
// fails the stream cannot be completed any more.
func (w *frameWriter) ReadFrom(r io.Reader) (int64, error) {
	var read int64
	for empty := 0; ; {
		if err := w.usable(); err != nil {
			return read, err
		}
		n, err := r.Read(w.room())
		read += int64(n)
		w.filled(n)
		if empty++; n > 0 {
			empty = 0
		}
		if err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err == io.EOF {
			return read, w.err
		}
		if err != nil {
			w.fail(err)
		}
	}
}

// Close ends the stream.
func (w *frameWriter) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.err != nil {
		return w.err
	}
	if w.piece != nil && len(w.piece.in) > 0 {
		w.crew.give(w.piece)
	}
	for w.err == nil && !w.crew.idle() {
		w.deliver()
	}
	if w.err == nil {
		w.begin()
		w.put(w.format.tail())
	}
	w.crew.stop()
	return w.err
}

func (w *frameWriter) usable() error {
	if w.closed {
		return errClosed
	}
	return w.err
}

// room is the free space of the piece at hand, never empty.
func (w *frameWriter) room() []byte {
	if w.piece == nil {
		w.piece = w.crew.blank()
		if cap(w.piece.in) == 0 {
			w.piece.in = make([]byte, 0, w.size)
		}
	}
	return w.piece.in[len(w.piece.in):w.size]
}

// filled tells that n bytes of the room are used.
func (w *frameWriter) filled(n int) {
	w.piece.in = w.piece.in[:len(w.piece.in)+n]
	if len(w.piece.in) < w.size {
		return
	}
	w.crew.give(w.piece)
	w.piece = nil
	for w.err == nil && (w.crew.full() || w.crew.ready()) {
		w.deliver()
	}
}

// deliver writes the oldest piece.
func (w *frameWriter) deliver() {
	t := w.crew.take()
	if t.err != nil {
		w.fail(t.err)
		return
	}
	w.begin()
	w.format.add(t)
	w.put(t.out)
	w.crew.recycle(t)
}

// begin writes the head of the stream, once.
func (w *frameWriter) begin() {
	if !w.begun {
		w.begun = true
		w.put(w.format.head())
	}
}

// put writes b unless there was an error.
func (w *frameWriter) put(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(err)
	}
}

func (w *frameWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.crew.stop()
}
