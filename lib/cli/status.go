package cli

import (
	"errors"
	"fmt"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/lock"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// The exit statuses of all programs. Those of commands that are made for a
// monitoring system are in monitor.go.
const (
	statusDone    = 0
	statusNo      = 1   // the answer is no: absent, differs, busy, does not verify
	statusUsage   = 100 // wrong usage or configuration: trying again cannot help
	statusFailure = 111 // the system, the network or the data failed
)

// answers are the errors of libraries that are a "no".
var answers = []error{store.ErrNotExist, store.ErrDiffers, lock.ErrBusy}

// mistakes are the errors of libraries that no repetition can cure.
var mistakes = []error{store.ErrKey, store.ErrLocation, store.ErrOverwrites, wal.ErrName, codec.ErrFormat, archive.ErrForeign, archive.ErrFormat}

// statusError is an error that knows its status.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// Usagef is an error of the user's: wrong usage or configuration.
func Usagef(format string, args ...any) error {
	return statusError{fmt.Errorf(format, args...), statusUsage}
}

// Mistake marks an error as one of usage or configuration.
func Mistake(err error) error { return marked(err, statusUsage) }

// No marks an error as the answer no.
func No(err error) error { return marked(err, statusNo) }

// Failure marks an error as a failure, whatever it wraps.
func Failure(err error) error { return marked(err, statusFailure) }

func marked(err error, status int) error {
	if err == nil {
		return nil
	}
	return statusError{err, status}
}

// status finds the exit status for an error. A mark counts for more than the
// library's error below it.
func status(err error) int {
	var marked statusError
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, &marked):
		return marked.status
	case isAny(err, mistakes):
		return statusUsage
	case isAny(err, answers):
		return statusNo
	}
	return statusFailure
}

// Worse reports whether the exit status for an error says more of what went wrong
// than that for another: a failure more than a mistake, and both than a no.
func Worse(err, than error) bool { return status(err) > status(than) }

func isAny(err error, list []error) bool {
	for _, target := range list {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// hinted is an error with a way out.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// Hint returns the way out.
func (e hinted) Hint() string { return e.hint }

// Hint adds to an error a line that says what the user can do.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hinted{err, fmt.Sprintf(format, args...)}
}
