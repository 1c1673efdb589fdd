package stream

import (
	"errors"
	"fmt"
)

var (
	// ErrBad is in the chain of errors due to a stream that is cut, damaged
	// or hostile, or no base stream at all.
	ErrBad = errors.New("stream: damaged, or not a base stream")
	// ErrDiffers is in the chain of the error for a stream, whole as such,
	// that is not what its manifest says.
	ErrDiffers = errors.New("stream: not what the manifest says")
)

// A Fault is an error of a kind such as [ErrBad], which is in its chain, and
// which its text does not repeat.
type Fault struct {
	kind error
	text string
	hint string // what can be done about it, if that is known
}

// NewFault is a fault of a kind.
func NewFault(kind error, format string, args ...any) *Fault {
	return &Fault{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Bad is a fault of the kind [ErrBad].
func Bad(format string, args ...any) *Fault { return NewFault(ErrBad, format, args...) }

// Differs is a fault of the kind [ErrDiffers].
func Differs(format string, args ...any) *Fault { return NewFault(ErrDiffers, format, args...) }

func (f *Fault) Error() string { return f.text }
func (f *Fault) Unwrap() error { return f.kind }

// Hint is what can be done about it, "" if that is not known.
func (f *Fault) Hint() string { return f.hint }

// Advise gives it a hint.
func (f *Fault) Advise(hint string) error {
	f.hint = hint
	return f
}
