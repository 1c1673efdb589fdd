package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/lock"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

func wrapped(err error) error { return fmt.Errorf("repository: %w", err) }

func TestStatus(t *testing.T) {
	plain := errors.New("disk on fire")
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"plain", plain, 111},
		{"of the file system", fs.ErrNotExist, 111},
		{"absent", wrapped(store.ErrNotExist), 1},
		{"differs", wrapped(store.ErrDiffers), 1},
		{"busy", wrapped(lock.ErrBusy), 1},
		{"key", wrapped(store.ErrKey), 100},
		{"location", wrapped(store.ErrLocation), 100},
		{"name", wrapped(wal.ErrName), 100},
		{"codec", wrapped(codec.ErrFormat), 100},
		{"foreign", wrapped(archive.ErrForeign), 100},
		{"format", wrapped(archive.ErrFormat), 100},
		{"no repository", wrapped(archive.ErrNoRepository), 111},
		{"hole", wrapped(archive.ErrHole), 111},
		{"damaged", wrapped(archive.ErrDamaged), 111},
		{"usage", Usagef("what?"), 100},
		{"usage wrapped", wrapped(Usagef("what?")), 100},
		{"mistake", Mistake(plain), 100},
		{"no", No(plain), 1},
		{"failure", Failure(plain), 111},
		{"a mark counts more than what it marks", Failure(wrapped(store.ErrNotExist)), 111},
		{"the outer mark counts", No(Mistake(plain)), 1},
		{"a hint changes nothing", Hint(No(plain), "try"), 1},
		{"a mistake among answers", errors.Join(wrapped(store.ErrDiffers), wrapped(archive.ErrForeign)), 100},
		{"none marked", No(nil), 0},
		{"none hinted", Hint(nil, "try"), 0},
	}
	for _, test := range tests {
		if got := status(test.err); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestMarksKeepTheError(t *testing.T) {
	for _, err := range []error{Mistake(store.ErrKey), No(store.ErrKey), Failure(store.ErrKey), Hint(store.ErrKey, "x")} {
		if !errors.Is(err, store.ErrKey) || err.Error() != store.ErrKey.Error() {
			t.Errorf("%v", err)
		}
	}
}

func TestWorse(t *testing.T) {
	plain := errors.New("disk on fire")
	rising := []error{nil, store.ErrNotExist, store.ErrKey, plain}
	for i, err := range rising {
		for j, than := range rising {
			if Worse(err, than) != (i > j) {
				t.Errorf("%v, %v", err, than)
			}
		}
	}
}

// A program whose failures have a number of their own still says 1 for no.
func TestReportMapsFailures(t *testing.T) {
	quiet(t)
	p := &Process{dog: newWatchdog(), name: "x"}
	for _, test := range []struct {
		err           error
		failure, want int
	}{
		{nil, 254, 0}, {No(errors.New("no")), 254, 1}, {store.ErrNotExist, 254, 1},
		{Usagef("x"), 254, 254}, {errors.New("x"), 254, 254}, {Failure(store.ErrNotExist), 254, 254},
		{Usagef("x"), 0, 100}, {errors.New("x"), 0, 111},
	} {
		if got := p.report(test.err, test.failure); got != test.want {
			t.Errorf("%v with %d: %d, want %d", test.err, test.failure, got, test.want)
		}
	}
}
