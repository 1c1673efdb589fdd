package base

import (
	"errors"
	"fmt"
)

var (
	// ErrStream is in the chain of errors due to a stream that is cut, damaged
	// or hostile, or no base stream at all.
	ErrStream = errors.New("stream: damaged, or not a base stream")
	// ErrDiffers is in the chain of the error for a stream, whole as such,
	// that is not what its manifest says.
	ErrDiffers = errors.New("stream: not what the manifest says")
)

// A fault is an error of a kind such as [ErrStream], which is in its chain, and
// which its text does not repeat.
type fault struct {
	kind error
	text string
	hint string // what can be done about it, if that is known
}

// faultOf is a fault of a kind.
func faultOf(kind error, format string, args ...any) *fault {
	return &fault{kind: kind, text: fmt.Sprintf(format, args...)}
}

// badStream is a fault of the kind [ErrStream].
func badStream(format string, args ...any) *fault { return faultOf(ErrStream, format, args...) }

// differs is a fault of the kind [ErrDiffers].
func differs(format string, args ...any) *fault { return faultOf(ErrDiffers, format, args...) }

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

// Hint is what can be done about it, "" if that is not known.
func (f *fault) Hint() string { return f.hint }

// advise gives it a hint.
func (f *fault) advise(hint string) error {
	f.hint = hint
	return f
}
