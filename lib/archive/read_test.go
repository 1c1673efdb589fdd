package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

// A play is what a repository does when it is asked: words apart by blanks are
// said as they are, or
//
//	absent   it has no such object
//	broken   it fails
//	1s       it says nothing for so long
//	hangs    it says nothing any more
type play struct {
	ctx   context.Context
	words []string
}

var errPlayed = errors.New("broken")

func (p *play) next() (said string, err error) {
	for len(p.words) > 0 {
		word := p.words[0]
		p.words = p.words[1:]
		pause, err := time.ParseDuration(word)
		switch {
		case word == "absent":
			return "", store.ErrNotExist
		case word == "broken":
			return "", errPlayed
		case word == "hangs":
			<-p.ctx.Done()
			return "", p.ctx.Err()
		case err == nil:
			wait.Sleep(p.ctx, pause)
		default:
			return word, nil
		}
	}
	return "", io.EOF
}

func (p *play) Read(b []byte) (int, error) {
	said, err := p.next()
	return copy(b, said), err
}

func (p *play) Close() error { return nil }

// perform has what comes before the first thing said happen at once.
func perform(ctx context.Context, words string) (io.ReadCloser, error) {
	p := &play{ctx, strings.Fields(words)}
	said, err := p.next()
	switch {
	case err == io.EOF:
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", words, err)
	}
	p.words = append([]string{said}, p.words...)
	return p, nil
}

// What one repository has begun another one ends, unless it has something else.
func TestReadGoesOn(t *testing.T) {
	tests := []struct {
		repositories string // one a line
		want, err    string // what is written, and the end: "" for well
		warned       int
		took         time.Duration
	}{
		{"abc def\nxyz", "abcdef", "", 0, 0},
		{"absent\nabc def", "abcdef", "", 0, 0},
		{"broken\nabc def", "abcdef", "", 1, 0},
		{"abc broken\nabc def", "abcdef", "", 1, 0},
		{"abc broken\na b c d", "abcd", "", 1, 0},
		{"abc broken\nabc", "abc", "", 1, 0}, // all of it, and no more than was there
		{"abc broken\nab", "abc", "different", 0, 0},
		{"abc broken\naxcdef", "abc", "different", 0, 0},
		{"abc broken\nabx", "abc", "different", 0, 0},
		{"abc broken\nabcdef broken\nabcdefghi", "abcdefghi", "", 2, 0},
		{"\nabc", "", "", 0, 0}, // nothing is something
		// Of who says nothing nobody can tell.
		{"hangs\nabc", "abc", "", 1, 2 * time.Second},
		{"1s abc\nxyz", "abc", "", 0, time.Second},
		{"3s abc\n5s xyz", "abc", "", 0, 3 * time.Second},
		{"3s absent\n5s abc", "abc", "", 0, 7 * time.Second},
		{"hangs\nabsent\nabc", "abc", "", 1, 2 * time.Second},
		{"hangs\nbroken\nhangs\nabc", "abc", "", 3, 4 * time.Second},
		{"absent\nabsent", "", "absent", 0, 0},
		{"absent\nbroken\nabsent", "", "broken", 0, 0},
		{"hangs\nabsent", "", "late", 0, time.Hour},
		{"absent\nhangs", "", "late", 0, time.Hour},
		// In the middle it may take longer.
		{"abc 29s def\nxyz", "abcdef", "", 0, 29 * time.Second},
		{"abc hangs\nabc def", "abcdef", "", 1, 30 * time.Second},
		{"abc 40s def\na 20s bc def", "abcdef", "", 0, 40 * time.Second},
		{"abc 80s xyz\na 20s b 20s cdef", "abcdef", "", 1, 70 * time.Second},
		{"abc hangs\nabsent", "abc", "late", 0, time.Hour},
		{"abc hangs\n20s broken\nabcdef", "abcdef", "", 2, 50 * time.Second},
		// Who was late is asked again.
		{"3s abc def\nabc broken", "abcdef", "", 2, 5 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.repositories, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var out bytes.Buffer
				warned, begin := 0, time.Now()
				r := relay{begun: begun{w: &out, sum: sha256.New()}, what: "x", open: perform, unasked: strings.Split(test.repositories, "\n"), pieces: make(chan piece)}
				err := r.run(ctx, func(err error) { warned++; t.Log(err) })
				took, ended := time.Since(begin), ctx.Err() != nil
				cancel()
				synctest.Wait()
				if end := endOf(err, ended); out.String() != test.want || end != test.err || warned != test.warned || took != test.took {
					t.Errorf("%q, %q (%v), %d warnings, %v; want %q, %q, %d, %v", &out, end, err, warned, took, test.want, test.err, test.warned, test.took)
				}
			})
		})
	}
}

// endOf is what an error says.
func endOf(err error, late bool) string {
	switch {
	case err == nil:
		return ""
	case late:
		return "late"
	case strings.Contains(err.Error(), "different objects"):
		return "different"
	case errors.Is(err, errPlayed):
		return "broken"
	case errors.Is(err, store.ErrNotExist):
		return "absent"
	}
	return err.Error()
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// An output that takes no more is no reason to ask others.
func TestReadToNobody(t *testing.T) {
	r, other := repository(t), repository(t)
	for _, r := range []*Repo{r, other} {
		r.place(t, "d/digits", []byte("0123"))
	}
	err := Read(t.Context(), []string{r.Location, other.Location}, "d/digits", 0, -1, full{}, func(err error) { t.Error(err) })
	if err != errFull {
		t.Error(err)
	}
}
