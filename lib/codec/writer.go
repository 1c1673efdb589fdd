package codec

import (
	"fmt"
	"io"
	"runtime"
)

// Options say how to compress.
type Options struct {
	Format Format

	// Level is the effort, 0 the format's default:
	//
	//	zstd  1 to 22, default 3; there are four efforts: 1, 2-3, 4-9, 10-22
	//	gzip  1 to 9, default 6
	//	xz    1 to 9, default 6; sets the dictionary (1 to 64 MiB)
	//	lz4   1 to 9, default 1; 1-2 are the fast method
	//	none  only 0
	Level int

	// Jobs is how many cores may be used, 0 for all. xz uses one.
	Jobs int

	// Frame is how many bytes of input make a zstd frame, from 64 KiB to
	// 64 MiB, 0 for 4 MiB. Smaller ones give work to more cores sooner; frames
	// over 8 MiB are not read in parallel.
	Frame int
}

const (
	minFrame     = 64 << 10
	maxFrame     = 64 << 20
	defaultFrame = 4 << 20
)

// levels are the lowest, the highest and the default level of each format.
var levels = map[Format]struct{ low, high, usual int }{
	Zstd: {1, 22, 3},
	Gzip: {1, 9, 6},
	Xz:   {1, 9, 6},
	Lz4:  {1, 9, 1},
	None: {0, 0, 0},
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	_, err := o.complete()
	return err
}

// complete checks the options and replaces zeros by the values they stand for.
func (o Options) complete() (Options, error) {
	l, known := levels[o.Format]
	if !known {
		return o, fmt.Errorf("%w: %q", ErrFormat, o.Format.Name)
	}
	if o.Level == 0 {
		o.Level = l.usual
	}
	if o.Level < l.low || o.Level > l.high {
		return o, fmt.Errorf("codec: level %d of %s is not between %d and %d", o.Level, o.Format, l.low, l.high)
	}
	if o.Frame == 0 {
		o.Frame = defaultFrame
	}
	if o.Frame < minFrame || o.Frame > maxFrame {
		return o, fmt.Errorf("codec: frame size %d is not between %d and %d", o.Frame, minFrame, maxFrame)
	}
	var err error
	o.Jobs, err = cores(o.Jobs)
	return o, err
}

// cores is how many workers a number of jobs means.
func cores(jobs int) (int, error) {
	if jobs < 0 {
		return 0, fmt.Errorf("codec: number of jobs %d is negative", jobs)
	}
	if jobs == 0 {
		return runtime.GOMAXPROCS(0), nil
	}
	return jobs, nil
}

// NewWriter returns a writer that compresses to w. Close ends the stream; it
// does not close w. Without a Close that returned nil the output is not
// complete, and a reader will say so. An error of w is returned by the Write
// that meets it or a later one, and by Close. The writer of zstd and gzip has
// a ReadFrom, which io.Copy uses; if reading its source fails, Close returns
// that error and does not make a cut input look complete.
func NewWriter(w io.Writer, o Options) (io.WriteCloser, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	switch o.Format {
	case Zstd:
		return newFrameWriter(w, &zstdFrames{frame: o.Frame, level: o.Level}, o.Frame, o.Jobs), nil
	case Gzip:
		return newFrameWriter(w, &gzipPieces{level: o.Level}, gzipPiece, o.Jobs), nil
	case Xz:
		return newXzWriter(w, o.Level)
	case Lz4:
		return newLz4Writer(w, o.Level, o.Jobs)
	}
	return &singleWriter{Writer: w, end: func() error { return nil }}, nil
}

// A singleWriter guards an encoder that does all by itself: after an error or
// a Close nothing more is written.
type singleWriter struct {
	io.Writer
	end    func() error
	err    error
	closed bool
}

func (w *singleWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, errClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.Writer.Write(p)
	w.err = err
	return n, err
}

func (w *singleWriter) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if err := w.end(); w.err == nil {
		w.err = err
	}
	return w.err
}
