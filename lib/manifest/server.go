package manifest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// The keys of backup_manifest (backup_manifest.c, common/parse_manifest.c).
const (
	serverVersionKey  = "PostgreSQL-Backup-Manifest-Version"
	serverSystemKey   = "System-Identifier"
	serverFilesKey    = "Files"
	serverRangesKey   = "WAL-Ranges"
	serverChecksumKey = "Manifest-Checksum"
)

// serverTime is the form of Last-Modified.
const serverTime = "2006-01-02 15:04:05 GMT"

// ServerFile is a file in backup_manifest. Directories and links are not in
// it, nor is what lies in pg_wal.
type ServerFile struct {
	Path      string // relative to the data directory, raw bytes
	Size      int64
	Algorithm string    // "SHA256", …, "CRC32C", "NONE"
	Checksum  string    // lower-case hex as NewServerHash's sum, empty for NONE
	MTime     time.Time // zero if it is not said in the form in which servers say it
}

// newServerFile understands the values of a file.
func newServerFile(v map[string]string) (f ServerFile, err error) {
	plain, isPlain := v["Path"]
	encoded, isEncoded := v["Encoded-Path"]
	f.Path = plain
	if isEncoded {
		raw, err := hex.DecodeString(encoded)
		if err != nil {
			return f, fmt.Errorf("path %q is not hex", encoded)
		}
		f.Path = string(raw)
	}
	if isPlain == isEncoded || !validPath(f.Path) || f.Path == "." {
		return f, fmt.Errorf("%s: not a clean path inside the data directory", Escape(f.Path))
	}
	if f.Size, err = parseNumber[int64](v["Size"]); err != nil {
		return f, fmt.Errorf("%s: size %w", Escape(f.Path), err)
	}
	f.MTime, _ = time.Parse(serverTime, v["Last-Modified"]) // which the server does not read at all
	f.Algorithm, f.Checksum = strings.ToUpper(v["Checksum-Algorithm"]), strings.ToLower(v["Checksum"])
	if f.Algorithm == "" {
		f.Algorithm = "NONE"
	}
	h, ok := serverHashes[f.Algorithm]
	if sum, err := hex.DecodeString(f.Checksum); !ok || err != nil || len(sum) != h.size {
		return f, fmt.Errorf("%s: %q is not a checksum of algorithm %q", Escape(f.Path), f.Checksum, f.Algorithm)
	}
	return f, nil
}

// WALRange is WAL that a backup needs: Start belongs to it, End does not.
type WALRange struct {
	Timeline   wal.Timeline
	Start, End wal.LSN
}

// ServerManifest is what backup_manifest holds besides its files.
type ServerManifest struct {
	Version   int    // 1, or 2 since PostgreSQL 17
	SystemID  uint64 // only in version 2, otherwise 0
	WALRanges []WALRange
}

// serverHash is a hash that backup_manifest knows and the bytes of its sum.
type serverHash struct {
	size int
	make func() hash.Hash
}

var serverHashes = map[string]serverHash{
	"CRC32C": {4, func() hash.Hash { return crc32c{crc32.New(crc32.MakeTable(crc32.Castagnoli))} }},
	"SHA224": {sha256.Size224, sha256.New224},
	"SHA256": {sha256.Size, sha256.New},
	"SHA384": {sha512.Size384, sha512.New384},
	"SHA512": {sha512.Size, sha512.New},
	"NONE":   {0, func() hash.Hash { return noHash{} }},
}

// NewServerHash returns the hash that backup_manifest calls algorithm:
// CRC32C, SHA224, SHA256, SHA384, SHA512 or NONE, in upper or lower case.
// backup_manifest holds its Sum in hex, as [encoding/hex] writes it. For
// CRC32C these are the four bytes as they lie in the server's memory, so the
// least significant one is first (pg_checksum_final); for NONE there are none.
func NewServerHash(algorithm string) (hash.Hash, error) {
	h, ok := serverHashes[strings.ToUpper(algorithm)]
	if !ok {
		return nil, fmt.Errorf("checksum algorithm %q: unknown", algorithm)
	}
	return h.make(), nil
}

type crc32c struct{ hash.Hash32 }

func (c crc32c) Sum(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, c.Sum32()) }

// noHash has an empty sum.
type noHash struct{}

func (noHash) Write(p []byte) (int, error) { return len(p), nil }
func (noHash) Sum(b []byte) []byte         { return b }
func (noHash) Reset()                      {}
func (noHash) Size() int                   { return 0 }
func (noHash) BlockSize() int              { return 1 }
