package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

// TestRoundTrip reads back what was written, for all formats, levels and ways
// to hand over the bytes.
func TestRoundTrip(t *testing.T) {
	big := sample(5<<20 + 17)
	for _, f := range compressed() {
		for _, size := range []int{0, 1, 1000, minFrame, minFrame + 1, len(big)} {
			if f == Xz && size > 1<<20 {
				size = 1 << 20 // slow
			}
			for _, jobs := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%d/%d", f, size, jobs), func(t *testing.T) {
					data := big[:size]
					b := pack(t, data, Options{Format: f, Jobs: jobs, Frame: minFrame})
					got, err := unpack(b, jobs)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%d bytes, %v", len(got), err)
					}
				})
			}
		}
	}
}

func TestLevels(t *testing.T) {
	data := sample(200 << 10)
	for f, l := range levels {
		var sizes []int
		for level := l.low; level <= l.high; level += thorough(1, max(1, l.high-l.low)) {
			b := pack(t, data, Options{Format: f, Level: level})
			r, err := NewReaderFormat(bytes.NewReader(b), f, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s %d: %d bytes, %v", f, level, len(got), err)
			}
			sizes = append(sizes, len(b))
		}
		if first, last := sizes[0], sizes[len(sizes)-1]; last > first {
			t.Errorf("%s: the highest level makes %d bytes, the lowest %d", f, last, first)
		}
	}
}

// TestFrameSizes has frames that are decoded in parallel and larger ones.
func TestFrameSizes(t *testing.T) {
	data := sample(thorough(20, 9) << 20)
	for _, frame := range []int{2 << 20, 8 << 20, 8<<20 + 1, 64 << 20} {
		b := pack(t, data, Options{Format: Zstd, Level: 1, Frame: frame})
		if got, err := unpack(b, 2); err != nil || !bytes.Equal(got, data) {
			t.Errorf("frames of %d: %d bytes, %v", frame, len(got), err)
		}
	}
}

// TestTransfers uses ReadFrom, WriteTo, and readers that return little.
func TestTransfers(t *testing.T) {
	data := sample(300 << 10)
	for _, f := range Formats() {
		var b bytes.Buffer
		w, err := NewWriter(&b, Options{Format: f, Frame: minFrame, Jobs: 2})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(w, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(data)))); err != nil || n != int64(len(data)) {
			t.Fatalf("%s: ReadFrom: %d, %v", f, n, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := NewReaderFormat(iotest.OneByteReader(&b), f, 2)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if n, err := io.Copy(&got, r); err != nil || n != int64(len(data)) || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: WriteTo: %d, %v", f, n, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: Read after the end: %d, %v", f, n, err)
		}
		if err := iotest.TestReader(mustReader(t, pack(t, data[:70000], Options{Format: f}), f), data[:70000]); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func mustReader(t *testing.T, b []byte, f Format) io.Reader {
	t.Helper()
	r, err := NewReaderFormat(bytes.NewReader(b), f, 2)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestConcatenation reads streams joined as by cat.
func TestConcatenation(t *testing.T) {
	data := sample(150 << 10)
	for _, f := range compressed() {
		b := pack(t, data, Options{Format: f, Frame: minFrame})
		b = append(b, pack(t, nil, Options{Format: f})...)
		b = append(b, pack(t, data, Options{Format: f, Frame: minFrame})...)
		got, err := unpack(b, 2)
		if err != nil || !bytes.Equal(got, append(data[:len(data):len(data)], data...)) {
			t.Errorf("%s: %d bytes, %v", f, len(got), err)
		}
	}
}

func TestClosed(t *testing.T) {
	for _, f := range Formats() {
		w, err := NewWriter(io.Discard, Options{Format: f})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Close(); err != nil {
				t.Errorf("%s: Close: %v", f, err)
			}
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, errClosed) {
			t.Errorf("%s: Write after Close: %v", f, err)
		}
		r := mustReader(t, pack(t, []byte("x"), Options{Format: f}), f).(io.ReadCloser)
		for range 2 {
			if err := r.Close(); err != nil {
				t.Errorf("%s: Close of the reader: %v", f, err)
			}
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errClosed) {
			t.Errorf("%s: Read after Close: %v", f, err)
		}
	}
}
