package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"
)

// zstdHeader is a frame's header with a window or content size of 1<<log.
func zstdHeader(log int, single bool) []byte {
	if single {
		return binary.LittleEndian.AppendUint64([]byte(zstdMagic+"\xe0"), 1<<log)
	}
	return []byte{zstdMagic[0], zstdMagic[1], zstdMagic[2], zstdMagic[3], 0, byte(log-10) << 3}
}

// xzHeader is the beginning of an xz stream with a dictionary size code.
func xzHeader(code byte) []byte {
	sealed := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	b := append([]byte(xzMagic), sealed([]byte{0, 1})...)
	return append(b, sealed([]byte{2, 0, 0x21, 1, code, 0, 0, 0})...)
}

// TestLimits refuses inputs that ask for much memory.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		input []byte
		text  string
	}{
		{"window 128 MiB", append(zstdHeader(27, false), 1, 0, 0), ""},
		{"window 256 MiB", append(zstdHeader(28, false), 1, 0, 0), "needs a window of 256 MiB, the limit is 128 MiB"},
		{"window 2 TiB", append(zstdHeader(41, false), 1, 0, 0), "needs a window"},
		{"single segment 1 GiB", append(zstdHeader(30, true), 1, 0, 0), "needs a window of 1024 MiB"},
		{"single segment 4 EiB", append(zstdHeader(62, true), 1, 0, 0), "needs a window"},
		{"lying about 128 MiB", append(zstdHeader(27, true), 1, 0, 0), "zstd"},
		{"lying about 8 MiB", append(zstdHeader(23, true), 1, 0, 0), "zstd"},
		{"dictionary 64 MiB, cut", xzHeader(28), "cut short"},
		{"dictionary 96 MiB", xzHeader(29), "needs a dictionary of 96 MiB, the limit is 64 MiB"},
		{"dictionary 4 GiB", xzHeader(40), "needs a dictionary"},
		{"dictionary code 41", xzHeader(41), "bad dictionary size"},
	} {
		got, err := unpack(c.input, 1)
		if c.text == "" && (err != nil || len(got) > 0) {
			t.Errorf("%s: %d bytes, %v", c.name, len(got), err)
		}
		if c.text != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestManyBlocks has a frame that says it is small and never ends.
func TestManyBlocks(t *testing.T) {
	in := io.MultiReader(
		bytes.NewReader(append([]byte(zstdMagic), 0xa0, 16, 0, 0, 0)), // 16 bytes of content
		io.LimitReader(zeros{}, 32<<20))                               // empty raw blocks, none of them the last
	total := allocated(func() {
		r, err := NewReader(in, 1)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
	if total > 16<<20 {
		t.Errorf("%d bytes were allocated", total)
	}
}

// TestMemory has a long stream: the buffers are used again.
func TestMemory(t *testing.T) {
	const length, frame, jobs = 256 << 20, 1 << 20, 2
	for _, f := range []Format{Zstd, Gzip} {
		pr, pw := io.Pipe()
		written := make(chan error)
		total := allocated(func() {
			go func() {
				w, err := NewWriter(pw, Options{Format: f, Level: 1, Frame: frame, Jobs: jobs})
				if err == nil {
					_, err = io.CopyN(w, zeros{}, length)
				}
				if err == nil {
					err = w.Close()
				}
				pw.Close()
				written <- err
			}()
			r, err := NewReader(pr, jobs)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != length {
				t.Errorf("%s: %d, %v", f, n, err)
			}
			if err := <-written; err != nil {
				t.Errorf("%s: %v", f, err)
			}
		})
		if total > 48<<20 {
			t.Errorf("%s: %d bytes were allocated in all", f, total)
		}
	}
}

// allocated is how many bytes f allocates altogether.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zeros is an endless input.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
