package codec

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// patient is content that packs into a small file of several frames.
func patient() []byte {
	return append(bytes.Repeat([]byte("0123456789abcdef"), 3*minFrame/16), sample(150)...)
}

// TestCut ends the input at every byte.
func TestCut(t *testing.T) {
	data := patient()
	for _, f := range compressed() {
		b := pack(t, data, Options{Format: f, Frame: minFrame, Level: 1})
		for n := range b {
			if got, err := unpack(b[:n], 2); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d of %d bytes: read %d, %v", f, n, len(b), len(got), err)
			} else if !bytes.HasPrefix(data, got) {
				t.Errorf("%s: %d of %d bytes: wrong content", f, n, len(b))
			}
		}
	}
}

// TestCutEmpty ends the stream of an empty input at every byte.
func TestCutEmpty(t *testing.T) {
	for _, f := range compressed() {
		b := pack(t, nil, Options{Format: f})
		for n := range b {
			if _, err := unpack(b[:n], 1); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d of %d bytes: %v", f, n, len(b), err)
			}
		}
	}
}

// thorough is how much a test does of something, or the second of the numbers where
// -short asks for what the race detector needs to see.
func thorough(much, little int) int {
	if testing.Short() {
		return little
	}
	return much
}

// TestFlip changes every byte.
func TestFlip(t *testing.T) {
	data := patient()
	for _, f := range compressed() {
		b := pack(t, data, Options{Format: f, Frame: minFrame, Level: 1})
		for i := 0; i < len(b); i += thorough(1, 7) {
			for _, mask := range []byte{0x01, 0x40, 0xff} {
				b[i] ^= mask
				got, err := unpack(b, 2)
				b[i] ^= mask
				if err == nil && !bytes.Equal(got, data) {
					t.Errorf("%s: byte %d of %d ^ %02x: wrong content and no error", f, i, len(b), mask)
				}
				if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
					t.Errorf("%s: byte %d ^ %02x: %v", f, i, mask, err)
				}
			}
		}
	}
}

// TestTrailing puts something after the end.
func TestTrailing(t *testing.T) {
	data := sample(1000)
	for _, f := range compressed() {
		b := pack(t, data, Options{Format: f})
		tails := []string{"x", "garbage at the end", "\x00", strings.Repeat("\x00", 7), string(b[:3]), "\x50\x2a\x4d"}
		for _, other := range compressed() {
			if other != f {
				tails = append(tails, string(pack(t, data, Options{Format: other})))
			}
		}
		for _, tail := range tails {
			if _, err := unpack(append(b[:len(b):len(b)], tail...), 2); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s followed by %.20q: %v", f, tail, err)
			}
		}
	}
}

// TestLostFrame takes whole frames out of a zstd stream, which leaves it a
// valid one for stock zstd.
func TestLostFrame(t *testing.T) {
	data := sample(3 * minFrame)
	b := pack(t, data, Options{Format: Zstd, Frame: minFrame})
	var frames [][]byte
	for src := bytes.NewReader(b); len(frames) < 4; {
		f, err := newZstdFrame(src)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame)
	}
	table := b[len(bytes.Join(frames, nil)):]
	for _, c := range []struct {
		name  string
		order []int
		table []byte
		text  string
	}{
		{"none", []int{0, 1, 2, 3}, table, ""},
		{"one lost", []int{0, 1, 3}, table, "seek table does not fit"},
		{"all lost", []int{0}, table, "seek table does not fit"},
		{"one twice", []int{0, 1, 2, 2, 3}, table, "seek table does not fit"},
		{"swapped", []int{0, 2, 1, 3}, table, "seek table does not fit"},
		{"no table", []int{0, 1, 2, 3}, nil, "seek table is missing"},
		{"mark alone", []int{0}, nil, "seek table is missing"},
		{"two marks", []int{0, 1, 0, 2, 3}, table, "new stream begins"},
		{"no mark", []int{1, 2, 3}, table, ""},
	} {
		var in []byte
		for _, i := range c.order {
			in = append(in, frames[i]...)
		}
		_, err := unpack(append(in, c.table...), 2)
		if c.text == "" && err != nil || c.text != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestInputFails has the input fail: that is not damage.
func TestInputFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	for _, f := range Formats() {
		b := pack(t, patient(), Options{Format: f, Frame: minFrame})
		for n := 0; n < len(b); n += 1 + len(b)/50 {
			in := io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken))
			r, err := NewReaderFormat(in, f, 2)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: after %d bytes: %v", f, n, err)
			}
		}
	}
}
