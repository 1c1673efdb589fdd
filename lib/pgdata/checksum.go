package pgdata

import (
	"encoding/binary"
	"unsafe"
)

// The checksum of a page is 32 sums running side by side over the page's 32-bit
// words, mixed by the FNV-1a prime and a shift (storage/checksum_impl.h).
const (
	lanes    = 32
	fnvPrime = 16777619
	rowSize  = lanes * 4 // bytes that one round takes in
)

// bases are the values that the sums start from (checksum_impl.h:
// checksumBaseOffsets).
var bases = [lanes]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// The stored checksum is the lower half of the third word of a page. It counts
// as zero.
const (
	checksumOffset = 8
	checksumLane   = checksumOffset / 4
	checksumMask   = 0xFFFF0000
)

// PageChecksum is the checksum that a page should carry, as pg_checksums
// computes it (checksum_impl.h:pg_checksum_page). block is the page's number in
// the whole relation: its number in the file, and RelationSegmentBlocks for
// every segment before. The length of the page must be a block size that a
// server can have; what the page carries does not matter, and it is not changed.
func PageChecksum(page []byte, block uint32) uint16 {
	var sum uint32
	if matrix := pageMatrix(page); matrix != nil {
		sum = sumMatrix(matrix)
	} else {
		sum = sumBytes(page)
	}
	return uint16((sum^block)%65535 + 1)
}

// matrix is the words of an 8 KiB page, a row for each round.
type matrix [8192 / rowSize][lanes]uint32

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// pageMatrix views a page as words, which is twice as fast as taking them out of
// its bytes. It is nil where that would not be right: with other block sizes, in
// a machine of the other byte order, at an odd address.
func pageMatrix(page []byte) *matrix {
	if !littleEndian || len(page) != int(unsafe.Sizeof(matrix{})) {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(page))
	if uintptr(p)%unsafe.Alignof(uint32(0)) != 0 {
		return nil
	}
	return (*matrix)(p)
}

func sumMatrix(m *matrix) uint32 {
	sums := bases
	first := m[0]
	first[checksumLane] &= checksumMask
	mix(&sums, &first)
	for i := 1; i < len(m); i++ {
		mix(&sums, &m[i])
	}
	return finish(&sums)
}

func sumBytes(page []byte) uint32 {
	sums := bases
	for at := 0; at+rowSize <= len(page); at += rowSize {
		var row [lanes]uint32
		for i := range row {
			row[i] = binary.LittleEndian.Uint32(page[at+4*i:])
		}
		if at == 0 {
			row[checksumLane] &= checksumMask
		}
		mix(&sums, &row)
	}
	return finish(&sums)
}

// mix takes one row into the sums.
func mix(sums, row *[lanes]uint32) {
	for i := range sums {
		t := sums[i] ^ row[i]
		sums[i] = t*fnvPrime ^ t>>17
	}
}

// finish runs two rounds of zeros, so that the last words of the page reach all
// bits, and folds the sums into one.
func finish(sums *[lanes]uint32) uint32 {
	var zeros [lanes]uint32
	mix(sums, &zeros)
	mix(sums, &zeros)
	var all uint32
	for _, s := range sums {
		all ^= s
	}
	return all
}
