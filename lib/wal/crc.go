package wal

import "hash/crc32"

// castagnoli is the table of the CRC that PostgreSQL has in its records
// (pg_crc32c.h). It is the CRC of iSCSI; processors have an instruction for it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// joinCRC is the CRC of two runs of bytes, one after the other, from the CRC of
// each and the length of the second: what the first contributes is multiplied
// by x to the power of the bits that follow it.
func joinCRC(first, second, length uint32) uint32 {
	power := uint32(1) << 23 // x^8, which is one byte
	for ; length > 0; length >>= 1 {
		if length&1 != 0 {
			first = multiply(first, power)
		}
		power = multiply(power, power)
	}
	return first ^ second
}

// multiply multiplies polynomials over GF(2) modulo that of the CRC. The highest
// bit is the coefficient of x^0.
func multiply(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ crc32.Castagnoli*(b&1)
	}
	return product
}
