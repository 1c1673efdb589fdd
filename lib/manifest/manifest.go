// Package manifest writes, reads and compares the table of contents of a base
// backup: which files it holds, their sizes and SHA-256 hashes, in which parts
// they are stored, and which WAL the copy needs before it is consistent.
//
// It also writes and reads backup_manifest, PostgreSQL's own JSON list of the
// files of a backup, which pg_verifybackup checks.
//
// # Format
//
// A manifest is UTF-8 text: one record a line, columns separated by one tab,
// lines ended by one LF. It is meant for grep, awk, sort, diff and join. What
// follows is a summary; doc/manifest.md has it to the byte.
//
//	pgpipes-manifest	1
//	label	20261122T101500Z
//	…
//	files	2
//	bytes	8195
//	part	000	9f32…	5120	base/20261122T101500Z/000.tar.zst
//	d	0700	postgres:postgres	0	2026-11-22T10:15:00Z	-	000	.
//	f	0600	postgres:postgres	3	2026-11-22T10:15:00Z	2389…	000	PG_VERSION
//	f	0600	postgres:postgres	8192	2026-11-22T10:15:01Z	1407…	000	global/pg_control
//	sha256	93b0…
//
// The header is a line a key, in the order of the fields of [Header]; a key
// without a value is left out, and only tag, tablespace, bad-page and part may
// come more than once. Keys that begin with "x-" are for extensions; they come last
// in the header and readers that do not know them pass them on. These have
// columns:
//
//	tablespace OID PATH
//	bad-page BLOCK FIRST LAST PATH
//	part NAME SHA256 SIZE KEY
//
// FIRST and LAST are the checksums of the first and the last reading of a page,
// the stored and the computed one in four hex digits each: 1f3a/07c2. NAME is
// NNN, at least three digits, or LABEL/NNN for a part that another backup has
// stored; SHA256 and SIZE are those of the stored bytes and KEY says where in
// the repository they are.
//
// Then comes a line for each directory (d), file (f) and symbolic link (l):
//
//	KIND MODE OWNER SIZE MTIME SHA256 PARTS PATH [TARGET]
//
// MODE is four octal digits, OWNER is user:group, SIZE counts bytes (0 for
// what is not a file), MTIME is RFC 3339 in UTC and whole seconds, SHA256 is
// the hash of a file's contents, PARTS is the NAME of the part that holds the
// entry, PATH is relative to the data directory, which itself is ".", and TARGET is
// where a link points to. "-" stands for what is unknown or does not apply.
// The entries are sorted by the bytes of PATH as it is written, so that
// LC_ALL=C sort -t "$(printf '\t')" -k 8,8 changes nothing.
//
// Control characters, the backslash, and bytes that are not UTF-8 are written
// as a backslash and three octal digits ([Escape]); blanks stay.
//
// The last line is the SHA-256 of all bytes before it.
//
// # Guarantees
//
// There is exactly one way to write a given manifest, and a reader accepts no
// other. It reports the end ([io.EOF]) only after the order, the counts and
// the hash have been found right, so a manifest that was cut, edited or
// damaged in any byte is never taken for whole. Paths lead nowhere but into
// the data directory: they are relative, without "..", and nothing lies below
// a link or a file. Memory does not grow with the number of entries.
package manifest

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"pgpipes/lib/wal"
)

var (
	// ErrDamaged is in the chain of every error that is due to what the
	// manifest holds: cut, edited, out of order, or against the syntax.
	ErrDamaged = errors.New("damaged manifest")

	// ErrVersion is in the chain of the error for a manifest that only another
	// version of the program can understand.
	ErrVersion = errors.New("manifest of an unknown format")
)

// Header says what was copied, when, and where it is stored. A field that has
// its zero value is unknown and is not written, except Checksums, Files and
// Bytes.
type Header struct {
	Label         string
	Type          string // one of those below
	Parent        string // label of the backup since which it was made
	SystemID      uint64
	Major         int    // major version of the server
	Catalog       uint32 // catalogue version
	SegmentSize   wal.SegmentSize
	BlockSize     int
	Checksums     bool // the cluster has page checksums
	StartTimeline wal.Timeline
	StartLSN      wal.LSN
	StartTime     time.Time
	StopTimeline  wal.Timeline
	StopLSN       wal.LSN
	StopTime      time.Time
	From          string   // "primary" or "standby"
	Tags          []string // for expire, see ValidTag
	WAL           bool     // its parts hold the WAL that it needs
	Files         int64    // entries of kind File
	Bytes         int64    // the sum of their sizes
	Tablespaces   []Tablespace
	BadPages      []BadPage
	Parts         []Part
	Extra         [][2]string // keys that begin with "x-" and their values, as they are written
}

// The types of backups.
const (
	TypeFull        = "full"
	TypeIncremental = "incremental" // files are in parts of others
	TypeLeftover    = "leftover"    // no backup, but what an interrupted one has left
)

// Tablespace is a tablespace outside the data directory and the place where it
// lay when it was copied.
type Tablespace struct {
	OID  uint32 `json:"oid"`
	Path string `json:"path"`
}

// Part is one stored tar of the backup, or of one before it that is used
// again, and the receipt for it. A part without a receipt has nothing but a
// name.
type Part struct {
	Name   string `json:"name"`   // NNN, or LABEL/NNN if backup LABEL has stored it
	SHA256 string `json:"sha256"` // of the stored bytes, 64 lower-case hex digits
	Size   int64  `json:"size"`   // of the stored bytes
	Key    string `json:"key"`    // where it is in the repository
}

// The kinds of entries.
const (
	Directory byte = 'd'
	File      byte = 'f'
	Link      byte = 'l'
)

// Entry is one directory, file or symbolic link of the data directory.
type Entry struct {
	Kind   byte
	Mode   fs.FileMode // the Unix permission bits as a number, 0 to 07777
	Owner  string      // user:group, empty if unknown
	Size   int64       // bytes of a File, otherwise 0
	MTime  time.Time   // whole seconds are kept; zero if unknown
	SHA256 string      // of a File, 64 lower-case hex digits, otherwise empty
	Part   string      // name of the part that holds it, empty if none does
	Path   string      // relative to the data directory, raw bytes; "." is the directory itself
	Target string      // of a Link, raw bytes
}

// EntrySource gives entries in ascending order of their escaped paths, and
// io.EOF after the last. [Reader] is one; [Writer.Entries] makes one of
// entries in any order.
type EntrySource interface {
	Next() (Entry, error)
}

// Each calls do for every entry, until that fails.
func Each(from EntrySource, do func(Entry) error) error {
	for {
		e, err := from.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(e)
		}
		if err != nil {
			return err
		}
	}
}
