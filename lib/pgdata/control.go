// Package pgdata knows the files of a PostgreSQL data directory, 13 to 18: which
// of them belong in a copy of the cluster, what pg_control says, whether a page
// of a table is whole, and the two small files that turn a copy into a backup,
// backup_label and tablespace_map.
//
// It holds rules and formats. Walking the directory and copying is for its
// callers; the one file that it reads by itself is pg_control, because that has
// to be read in a certain way.
//
// Paths are relative to the data directory, with slashes and without "./" at
// their beginning. Tablespaces are seen through it, as
// pg_tblspc/16393/PG_15_202209061/5/16394.
package pgdata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"pgpipes/lib/wal"
)

// ErrControl is wrapped by the error of a pg_control that is damaged or foreign.
var ErrControl = errors.New("pgdata: bad pg_control")

// ControlSize is the size in bytes of the file global/pg_control (pg_control.h:
// PG_CONTROL_FILE_SIZE).
const ControlSize = 8192

// ControlFile is the path of pg_control in a data directory. A copy must hold it
// as its last file: on a standby its MinRecoveryPoint is the end of the backup.
const ControlFile = "global/pg_control"

// Control is what pg_control says about its cluster.
type Control struct {
	SystemID              uint64
	Version, Catalog      uint32 // PG_CONTROL_VERSION, CATALOG_VERSION_NO
	State                 ControlState
	Checkpoint, Redo      wal.LSN      // of the latest checkpoint record, and where replay begins for it
	CheckpointTimeline    wal.Timeline // lags behind a promotion until the next checkpoint
	MinRecoveryPoint      wal.LSN      // 0 on a primary
	MinRecoveryTimeline   wal.Timeline // 0 on a primary
	WALLevel              int          // 0 minimal, 1 replica, 2 logical
	BlockSize             uint32       // of a page of a relation, in bytes
	RelationSegmentBlocks uint32       // pages in a full segment of a relation
	SegmentSize           wal.SegmentSize
	Checksums             bool // whether pages carry checksums
}

// ControlState is what the server was last doing (pg_control.h: DBState).
type ControlState uint32

// The states of a cluster.
const (
	StartingUp ControlState = iota
	ShutDown
	ShutDownInRecovery
	ShuttingDown
	InCrashRecovery
	InArchiveRecovery
	InProduction
)

var stateNames = [...]string{
	"starting up", "shut down", "shut down in recovery", "shutting down",
	"in crash recovery", "in archive recovery", "in production",
}

// String is the state in the words of pg_controldata.
func (s ControlState) String() string {
	if int64(s) < int64(len(stateNames)) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// crcOffsets says where the checksum of pg_control stands, by PG_CONTROL_VERSION.
// Releases 13 to 16 share one version.
var crcOffsets = map[uint32]int{1300: 288, 1700: 288, 1800: 292}

// majors tells the releases apart by CATALOG_VERSION_NO.
var majors = map[uint32]struct {
	version uint32
	major   int
}{
	202007201: {1300, 13},
	202107181: {1300, 14},
	202209061: {1300, 15},
	202307071: {1300, 16},
	202406281: {1700, 17},
	202506291: {1800, 18},
}

// Major is the major release that made the cluster, 13 to 18, or 0 if it is
// another (a beta, for example).
func (c Control) Major() int {
	if m := majors[c.Catalog]; m.version == c.Version {
		return m.major
	}
	return 0
}

// TablespaceVersionDir is the directory inside each tablespace that belongs to
// clusters of this release, such as PG_15_202209061 (relpath.h:
// TABLESPACE_VERSION_DIRECTORY). Others beside it are of other clusters and are
// never to be copied. It makes sense only if Major is known.
func TablespaceVersionDir(c Control) string {
	return fmt.Sprintf("PG_%d_%d", c.Major(), c.Catalog)
}

// ParseControl reads the ControlSize bytes of a pg_control. Errors wrap
// ErrControl. A file of a 64-bit little-endian server is understood; any other
// fails, by its byte order or because its checksum does not stand where it
// should.
func ParseControl(raw []byte) (Control, error) {
	if len(raw) != ControlSize {
		return Control{}, fmt.Errorf("%w: %d bytes, not %d", ErrControl, len(raw), ControlSize)
	}
	le := binary.LittleEndian
	version := le.Uint32(raw[8:])
	if version%65536 == 0 && version != 0 {
		return Control{}, fmt.Errorf("%w: written by a machine of the other byte order", ErrControl)
	}
	at, known := crcOffsets[version]
	if !known {
		return Control{}, fmt.Errorf("%w: version %d is of no release from 13 to 18", ErrControl, version)
	}
	if le.Uint32(raw[at:]) != crc32.Checksum(raw[:at], castagnoli) {
		return Control{}, fmt.Errorf("%w: its checksum is wrong", ErrControl)
	}
	c := decodeControl(raw)
	return c, c.validate()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decodeControl follows ControlFileData, whose first 256 bytes are alike in all
// releases from 13 to 18.
func decodeControl(raw []byte) Control {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(raw[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(raw[at:]) }
	return Control{
		SystemID:              u64(0),
		Version:               u32(8),
		Catalog:               u32(12),
		State:                 ControlState(u32(16)),
		Checkpoint:            wal.LSN(u64(32)),
		Redo:                  wal.LSN(u64(40)),
		CheckpointTimeline:    wal.Timeline(u32(48)),
		MinRecoveryPoint:      wal.LSN(u64(136)),
		MinRecoveryTimeline:   wal.Timeline(u32(144)),
		WALLevel:              int(int32(u32(172))),
		BlockSize:             u32(216),
		RelationSegmentBlocks: u32(220),
		SegmentSize:           wal.SegmentSize(u32(228)),
		Checksums:             u32(252) == 1,
	}
}

// validate makes sure that callers can divide by the sizes.
func (c Control) validate() error {
	switch {
	case !c.SegmentSize.Valid():
		return fmt.Errorf("%w: WAL segments of %d bytes", ErrControl, c.SegmentSize)
	case !validBlockSize(c.BlockSize):
		return fmt.Errorf("%w: blocks of %d bytes", ErrControl, c.BlockSize)
	case c.RelationSegmentBlocks == 0:
		return fmt.Errorf("%w: relation segments of 0 blocks", ErrControl)
	}
	return nil
}

// validBlockSize holds for the values of BLCKSZ that a server can be compiled
// with.
func validBlockSize(n uint32) bool {
	return n >= 1<<10 && n <= 32<<10 && n&(n-1) == 0
}

// A server writes pg_control in place, so a reader may see half of a change.
// These bounds are those of PostgreSQL's own programs (controldata_utils.c:
// get_controlfile).
const (
	controlTries = 10
	controlPause = 10 * time.Millisecond
)

// ReadControl reads global/pg_control of a data directory, whose server may be
// running, and returns its bytes as well, for a copy. It reads the file in one
// piece and again, up to ten times within a tenth of a second, while the bytes
// are wrong and still change. Errors wrap ErrControl, or are those of the file
// system.
func ReadControl(pgdata string) (Control, []byte, error) {
	f, err := os.Open(filepath.Join(pgdata, ControlFile))
	if err != nil {
		return Control{}, nil, err
	}
	defer f.Close()
	c, raw, err := readControl(f)
	if err != nil {
		return Control{}, nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return c, raw, nil
}

func readControl(r io.ReaderAt) (c Control, raw []byte, err error) {
	var before []byte
	for range controlTries {
		raw = make([]byte, ControlSize)
		n, readErr := r.ReadAt(raw, 0)
		if readErr != nil && readErr != io.EOF {
			return Control{}, nil, readErr
		}
		c, err = ParseControl(raw[:n])
		if err == nil || bytes.Equal(raw, before) {
			break
		}
		before = raw
		time.Sleep(controlPause)
	}
	return c, raw, err
}
