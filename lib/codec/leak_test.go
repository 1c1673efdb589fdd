package codec

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"
)

// settles fails the test if there are more goroutines than before.
func settles(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

var errFull = errors.New("no space left")

// A smallDisk takes so many bytes and then fails.
type smallDisk struct{ room int }

func (d *smallDisk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n := d.room
		d.room = 0
		return n, errFull
	}
	d.room -= len(p)
	return len(p), nil
}

// TestOutputFails has the output fail at the first byte and later.
func TestOutputFails(t *testing.T) {
	data := sample(thorough(4, 1) << 20)
	for _, f := range Formats() {
		content := data
		if f == Xz {
			content = data[:300<<10]
		}
		full := len(pack(t, content, Options{Format: f}))
		for _, room := range []int{0, 1, 10, full / 2, full - 1} {
			before := runtime.NumGoroutine()
			w, err := NewWriter(&smallDisk{room}, Options{Format: f, Jobs: 3, Frame: minFrame})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write(content)
			if err != nil && !errors.Is(err, errFull) {
				t.Errorf("%s: Write with room for %d: %v", f, room, err)
			}
			for range 2 {
				if err := w.Close(); !errors.Is(err, errFull) {
					t.Errorf("%s: Close with room for %d: %v", f, room, err)
				}
			}
			settles(t, before)
		}
	}
}

// TestOutputFailsSoon: a full disk is noticed before all input was read.
func TestOutputFailsSoon(t *testing.T) {
	for _, f := range Formats() {
		w, err := NewWriter(&smallDisk{1000}, Options{Format: f, Jobs: 2, Frame: minFrame})
		if err != nil {
			t.Fatal(err)
		}
		chunk := sample(128 << 10)
		var written int
		for err == nil && written < 1<<30 {
			_, err = w.Write(chunk)
			written += len(chunk)
		}
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v after %d bytes", f, err, written)
		}
		w.Close()
	}
}

// TestInputOfWriterFails: a stream whose source failed is not completed.
func TestInputOfWriterFails(t *testing.T) {
	broken := errors.New("read error")
	for _, f := range []Format{Zstd, Gzip} {
		var out bytes.Buffer
		w, err := NewWriter(&out, Options{Format: f, Frame: minFrame})
		if err != nil {
			t.Fatal(err)
		}
		in := io.MultiReader(bytes.NewReader(sample(3*minFrame)), failing{broken})
		if _, err := io.Copy(w, in); !errors.Is(err, broken) {
			t.Errorf("%s: ReadFrom: %v", f, err)
		}
		if err := w.Close(); !errors.Is(err, broken) {
			t.Errorf("%s: Close: %v", f, err)
		}
		if _, err := unpack(out.Bytes(), 1); err == nil {
			t.Errorf("%s: the output is complete", f)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestForgotten never closes the writer or the reader.
func TestForgotten(t *testing.T) {
	data := sample(8 * minFrame)
	b := pack(t, data, Options{Format: Zstd, Frame: minFrame})
	before := runtime.NumGoroutine()
	w, err := NewWriter(io.Discard, Options{Format: Zstd, Frame: minFrame, Jobs: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(b), 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	settles(t, before)
}

// TestLeaveEarly closes readers in the middle.
func TestLeaveEarly(t *testing.T) {
	data := sample(8 * minFrame)
	for _, f := range Formats() {
		b := pack(t, data, Options{Format: f, Frame: minFrame})
		before := runtime.NumGoroutine()
		r, err := NewReaderFormat(bytes.NewReader(b), f, 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		settles(t, before)
	}
}

// TestCloseWhileBlocked closes a reader that waits for input.
func TestCloseWhileBlocked(t *testing.T) {
	data := sample(8 * minFrame)
	for _, f := range Formats() {
		b := pack(t, data, Options{Format: f, Frame: minFrame})
		for _, jobs := range []int{1, 3} {
			before := runtime.NumGoroutine()
			pr, pw := io.Pipe()
			go pw.Write(b[:len(b)-1])
			r, err := NewReaderFormat(pr, f, jobs)
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan error)
			go func() {
				_, err := io.Copy(io.Discard, r)
				read <- err
			}()
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			pw.Close()
			if err := <-read; err == nil && f != None {
				t.Errorf("%s: a cut input that was closed was read without an error", f)
			}
			pr.Close()
			settles(t, before)
		}
	}
}

// TestStreamsAtOnce has streams decoded beside each other, some to their end and
// others not, or damaged: the buffers that go from one to the next are nobody
// else's.
func TestStreamsAtOnce(t *testing.T) {
	data := sample(8 * minFrame)
	var readers sync.WaitGroup
	for i := range 8 {
		content := bytes.Clone(data)
		for j := range content {
			content[j] ^= byte(i)
		}
		whole := pack(t, content, Options{Format: Zstd, Frame: minFrame})
		readers.Go(func() {
			for round := range thorough(20, 6) {
				b := bytes.Clone(whole)
				switch (i + round) % 3 {
				case 1:
					b = b[:len(b)/2]
				case 2:
					b[len(b)/2] ^= 1
				}
				got, err := unpack(b, 1+2*(round%2))
				if !bytes.HasPrefix(content, got) || err == nil && len(got) < len(content) {
					t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
				}
			}
		})
	}
	readers.Wait()
}
