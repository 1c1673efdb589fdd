package pgdata

import (
	"encoding/binary"
	"math"
	"testing"

	"pgpipes/lib/wal"
)

const atRest wal.LSN = math.MaxUint64

var pages = []struct {
	name  string
	block uint32
}{
	{"heap-block-0.page.gz", 0},
	{"heap-block-1234.page.gz", 1234},
	{"index-block-77.page.gz", 77},
	{"fsm-block-0.page.gz", 0},
	{"vm-block-0.page.gz", 0},
}

func TestPageChecksum(t *testing.T) {
	for _, p := range pages {
		page := fixture(t, p.name)
		want := binary.LittleEndian.Uint16(page[checksumOffset:])
		if got := PageChecksum(page, p.block); got != want {
			t.Errorf("%s: %04X, want %04X", p.name, got, want)
		}
		if pageMatrix(page) == nil {
			t.Errorf("%s: the slow way", p.name)
		}
		if fast, slow := sumMatrix(pageMatrix(page)), sumBytes(page); fast != slow {
			t.Errorf("%s: %08X the fast way, %08X the slow way", p.name, fast, slow)
		}
		odd := append([]byte{0}, page...)[1:]
		if got := PageChecksum(odd, p.block); got != want {
			t.Errorf("%s at an odd address: %04X, want %04X", p.name, got, want)
		}
	}
}

// The slow way serves all block sizes. Every byte of a page of each must count,
// but for the two of the stored checksum. The sum is looked at before it is cut
// to 16 bits, where one change in 65535 does not show.
func TestSumBytesBlockSizes(t *testing.T) {
	for size := 1024; size <= 32768; size *= 2 {
		page := make([]byte, size)
		for i := range page {
			page[i] = byte(i * 31)
		}
		before := sumBytes(page)
		for i := 0; i < size; i += 1 + i/256 {
			page[i] ^= 0x10
			same := sumBytes(page) == before
			page[i] ^= 0x10
			if stored := i == 8 || i == 9; same != stored {
				t.Errorf("block size %d: byte %d changed, sum the same: %v", size, i, same)
			}
		}
		page[size-1] ^= 0x80
		if sumBytes(page) == before {
			t.Errorf("block size %d: the last byte does not count", size)
		}
		if PageChecksum(page, 5) == PageChecksum(page, 6) {
			t.Errorf("block size %d: the block number does not count", size)
		}
	}
}

func TestCheckPage(t *testing.T) {
	for _, p := range pages {
		page := fixture(t, p.name)
		for _, start := range []wal.LSN{0, 1, atRest} {
			if got := CheckPage(page, p.block, start); got != PageGood {
				t.Errorf("%s, start %s: verdict %d", p.name, start, got)
			}
		}
		if got := CheckPage(page, p.block+1, atRest); got != PageBad {
			t.Errorf("%s as another block: verdict %d", p.name, got)
		}
		for at := range page {
			page[at] ^= 0x40
			if got := CheckPage(page, p.block, atRest); got != PageBad {
				t.Fatalf("%s, byte %d flipped: verdict %d", p.name, at, got)
			}
			page[at] ^= 0x40
		}
	}
}

func TestCheckPageVerdicts(t *testing.T) {
	damaged := fixture(t, "heap-block-1234.page.gz")
	lsn := wal.LSN(binary.LittleEndian.Uint32(damaged))<<32 | wal.LSN(binary.LittleEndian.Uint32(damaged[4:]))
	damaged[5000] ^= 1

	headless := fixture(t, "heap-block-1234.page.gz")
	binary.LittleEndian.PutUint16(headless[pageUpper:], 0)

	zeroChecksum := fixture(t, "heap-block-1234.page.gz")
	binary.LittleEndian.PutUint16(zeroChecksum[checksumOffset:], 0)

	lastByte := make([]byte, 8192)
	lastByte[8191] = 1
	for _, test := range []struct {
		name  string
		page  []byte
		start wal.LSN
		want  PageVerdict
	}{
		{"zeros", make([]byte, 8192), 0, PageNew},
		{"zeros of another block size", make([]byte, 32768), atRest, PageNew},
		{"zeros and a byte", lastByte, 1, PageBad},
		{"damaged, older", damaged, lsn + 1, PageBad},
		{"damaged, as old as the backup", damaged, lsn, PageSkipped},
		{"damaged, newer", damaged, lsn - 1, PageSkipped},
		{"no upper bound", headless, atRest, PageBad},
		{"no upper bound, newer", headless, lsn, PageSkipped},
		{"checksum 0", zeroChecksum, atRest, PageBad},
		{"cut", damaged[:8000], 0, PageBad},
		{"empty", nil, 0, PageBad},
	} {
		if got := CheckPage(test.page, 1234, test.start); got != test.want {
			t.Errorf("%s: verdict %d, want %d", test.name, got, test.want)
		}
	}
}

func BenchmarkPageChecksum(b *testing.B) {
	page := fixture(b, "index-block-77.page.gz")
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		PageChecksum(page, 77)
	}
}
