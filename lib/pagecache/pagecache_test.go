package pagecache

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"unsafe"

	"golang.org/x/sys/unix"
)

const size = 8<<20 + 123

// file makes a file of random bytes that is on the disk and not in the cache.
func file(t *testing.T) (*os.File, []byte) {
	t.Helper()
	contents := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(contents)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
	return f, contents
}

// cached is the share of a file that is in the page cache.
func cached(t *testing.T, f *os.File) float64 {
	t.Helper()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	page := os.Getpagesize()
	in := make([]byte, (size+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), size, uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	sum := 0
	for _, b := range in {
		sum += int(b & 1)
	}
	return float64(sum) / float64(len(in))
}

// readAll reads a file through in pieces.
func readAll(t *testing.T, r io.ReaderAt, piece int) []byte {
	t.Helper()
	got, err := io.ReadAll(struct{ io.Reader }{io.NewSectionReader(sized{r, piece}, 0, 1<<40)})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// sized reads at most so much at once.
type sized struct {
	io.ReaderAt
	piece int
}

func (s sized) ReadAt(p []byte, off int64) (int, error) {
	return s.ReaderAt.ReadAt(p[:min(len(p), s.piece)], off)
}

// A file that was not in the cache is not there afterwards, where the system
// can do that.
func TestColdStaysCold(t *testing.T) {
	f, want := file(t)
	if before := cached(t, f); before > 0.1 {
		t.Logf("the file system keeps %.2f of the file in the cache in any case", before)
		return
	}
	p := Of(f)
	if !bytes.Equal(readAll(t, p, 1<<20), want) {
		t.Error("other bytes")
	}
	if got := cached(t, f); !p.ordinary.Load() && got > 0.1 {
		t.Errorf("%.2f of the file are in the cache", got)
	}
}

// What somebody else has in the cache stays there.
func TestWarmStaysWarm(t *testing.T) {
	f, want := file(t)
	if !bytes.Equal(readAll(t, f, 1<<20), want) {
		t.Fatal("other bytes")
	}
	if !bytes.Equal(readAll(t, Of(f), 1<<20), want) {
		t.Error("other bytes")
	}
	if got := cached(t, f); got < 0.9 {
		t.Errorf("only %.2f of the file are left in the cache", got)
	}
}

func TestReadAt(t *testing.T) {
	f, want := file(t)
	ordinary := Of(f)
	ordinary.ordinary.Store(true)
	for name, r := range map[string]*File{"as the system can": Of(f), "ordinarily": ordinary} {
		for _, c := range []struct {
			off, length, n int
			err            error
		}{
			{0, 0, 0, nil},
			{0, 1, 1, nil},
			{1, 4096, 4096, nil},
			{size - 10, 10, 10, nil},
			{size - 10, 11, 10, io.EOF},
			{size - 1<<20, 2 << 20, 1 << 20, io.EOF},
			{size, 1, 0, io.EOF},
			{size + 5000, 1, 0, io.EOF},
		} {
			p := make([]byte, c.length)
			n, err := r.ReadAt(p, int64(c.off))
			if n != c.n || err != c.err || !bytes.Equal(p[:n], want[min(c.off, size):min(c.off, size)+n]) {
				t.Errorf("%s: %d bytes at %d: %d, %v; want %d, %v", name, c.length, c.off, n, err, c.n, c.err)
			}
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Errorf("%s: read before the beginning", name)
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 0, 1000), want[:1000]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file of a running server shrinks and grows while it is read.
func TestChangingFile(t *testing.T) {
	f, want := file(t)
	p, buffer := Of(f), make([]byte, 1<<20)
	if err := f.Truncate(5000); err != nil {
		t.Fatal(err)
	}
	if n, err := p.ReadAt(buffer, 0); n != 5000 || err != io.EOF || !bytes.Equal(buffer[:n], want[:n]) {
		t.Errorf("%d, %v", n, err)
	}
	if err := f.Truncate(6000); err != nil {
		t.Fatal(err)
	}
	if n, err := p.ReadAt(buffer, 4000); n != 2000 || err != io.EOF || !bytes.Equal(buffer[:n], append(want[4000:5000:5000], make([]byte, 1000)...)) {
		t.Errorf("%d, %v", n, err)
	}
}

// What cannot be read without a trace is read all the same, and what cannot be
// read at all is an error that names the file.
func TestOtherFiles(t *testing.T) {
	proc, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if n, err := Of(proc).ReadAt(make([]byte, 100), 0); n != 100 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var failed *os.PathError
	if _, err := Of(dir).ReadAt(make([]byte, 100), 0); !errors.As(err, &failed) || failed.Path != dir.Name() {
		t.Errorf("a directory: %v", err)
	}
}
