package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// skippers are the ways to read an input that may have something skipped.
func skippers() map[string]func(io.Reader) (Skipper, error) {
	return map[string]func(io.Reader) (Skipper, error){
		"alone": func(r io.Reader) (Skipper, error) { return NewReaderAny(r, 1) },
		"ahead": func(r io.Reader) (Skipper, error) { return NewReaderAny(r, 2) },
	}
}

// TestSkip reads some pieces and skips others, up to the end.
func TestSkip(t *testing.T) {
	data := sample(thorough(2048, 192) << 10)
	for _, f := range Formats() {
		frames := []int{minFrame}
		if f == Zstd {
			frames = append(frames, 1<<20)
		}
		for _, frame := range frames {
			b := pack(t, data, Options{Format: f, Level: levels[f].low, Frame: frame})
			for name, open := range skippers() {
				t.Run(fmt.Sprintf("%s/%d/%s", f, frame, name), func(t *testing.T) {
					for seed := range uint64(thorough(20, 3)) {
						skipSome(t, open, b, data, rand.New(rand.NewPCG(seed, 0)))
					}
				})
			}
		}
	}
}

func skipSome(t *testing.T, open func(io.Reader) (Skipper, error), b, data []byte, random *rand.Rand) {
	t.Helper()
	z, err := open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for at := 0; at < len(data); {
		n := min(1+random.IntN(1<<(4+random.IntN(17))), len(data)-at)
		if random.IntN(2) == 0 {
			err = z.Skip(int64(n))
		} else {
			got := make([]byte, n)
			if _, err = io.ReadFull(z, got); err == nil && !bytes.Equal(got, data[at:at+n]) {
				t.Fatalf("wrong content in the %d bytes at %d", n, at)
			}
		}
		if err != nil {
			t.Fatalf("%d bytes at %d: %v", n, at, err)
		}
		at += n
	}
	if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
}

// TestSkipCut ends the input at every byte and skips nearly all of it.
func TestSkipCut(t *testing.T) {
	data := patient()
	for _, f := range compressed() {
		b := pack(t, data, Options{Format: f, Frame: minFrame, Level: 1})
		for name, open := range skippers() {
			for n := 0; n < len(b); n += thorough(1, 7) {
				z, err := open(bytes.NewReader(b[:n]))
				if err == nil {
					err = z.Skip(int64(len(data) - 1))
				}
				if err == nil {
					_, err = io.Copy(io.Discard, z)
				}
				if n > 0 && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
					t.Errorf("%s, %s: %d of %d bytes: %v", f, name, n, len(b), err)
				}
			}
		}
	}
}

// TestSkipTooMuch is no error by itself: there is the end.
func TestSkipTooMuch(t *testing.T) {
	data := patient()
	for _, f := range Formats() {
		b := pack(t, data, Options{Format: f, Frame: minFrame, Level: levels[f].low})
		for name, open := range skippers() {
			z, err := open(bytes.NewReader(b))
			if err == nil {
				err = z.Skip(int64(len(data)) + 1)
			}
			if err != nil {
				t.Fatal(err)
			}
			if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s, %s: %d bytes, %v", f, name, n, err)
			}
		}
	}
}

// TestSkippedIsNotDecoded has damage in the second of four frames, whose sizes
// are right: it matters only to who wants what is in it.
func TestSkippedIsNotDecoded(t *testing.T) {
	data := sample(4 * minFrame)
	b := pack(t, data, Options{Format: Zstd, Frame: minFrame})
	first := len(pack(t, data[:minFrame], Options{Format: Zstd, Frame: minFrame})) // and its table
	b = slices.Clone(b)
	b[first+minFrame/8] ^= 0x10
	for _, c := range []struct {
		skip  int
		whole bool
	}{{0, false}, {minFrame, false}, {2 * minFrame, true}, {3*minFrame + 1, true}} {
		z, err := NewReaderAny(bytes.NewReader(b), 1)
		if err == nil {
			err = z.Skip(int64(c.skip))
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if c.whole != (err == nil && bytes.Equal(got, data[c.skip:])) {
			t.Errorf("after %d skipped: %d bytes, %v", c.skip, len(got), err)
		}
	}
}
