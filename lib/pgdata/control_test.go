package pgdata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	shutDownControl = "shut-down-with-checksums.control.gz"
	standbyControl  = "standby-min-recovery-point.control.gz"
	plainControl    = "no-checksums-1MiB-segments.control.gz"
)

// What is expected here is what pg_controldata says about the fixtures.
func TestParseControl(t *testing.T) {
	for name, want := range map[string]Control{
		shutDownControl: {
			SystemID: 7710927775326629354, Version: 1300, Catalog: 202209061, State: ShutDown,
			Checkpoint: 0x6000028, Redo: 0x6000028, CheckpointTimeline: 1, WALLevel: 1,
			BlockSize: 8192, RelationSegmentBlocks: 131072, SegmentSize: 16 << 20, Checksums: true,
		},
		standbyControl: {
			SystemID: 7710927775326629354, Version: 1300, Catalog: 202209061, State: InArchiveRecovery,
			Checkpoint: 0x6000028, Redo: 0x6000028, CheckpointTimeline: 1,
			MinRecoveryPoint: 0x6000028, MinRecoveryTimeline: 1, WALLevel: 1,
			BlockSize: 8192, RelationSegmentBlocks: 131072, SegmentSize: 16 << 20, Checksums: true,
		},
		plainControl: {
			SystemID: 7710928989073294645, Version: 1300, Catalog: 202209061, State: ShutDown,
			Checkpoint: 0x600768, Redo: 0x600768, CheckpointTimeline: 1, WALLevel: 1,
			BlockSize: 8192, RelationSegmentBlocks: 131072, SegmentSize: 1 << 20, Checksums: false,
		},
	} {
		got, err := ParseControl(fixture(t, name))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
		if got.Major() != 15 || TablespaceVersionDir(got) != "PG_15_202209061" {
			t.Errorf("%s: major %d, tablespaces in %s", name, got.Major(), TablespaceVersionDir(got))
		}
	}
}

// sealed is a valid pg_control with a 32-bit word changed and its checksum, at
// the offset that its version has, made right again.
func sealed(t *testing.T, at int, value uint32) []byte {
	raw := fixture(t, shutDownControl)
	binary.LittleEndian.PutUint32(raw[at:], value)
	end := 288
	if binary.LittleEndian.Uint32(raw[8:]) == 1800 {
		end = 292
	}
	crc := crc32.Checksum(raw[:end], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(raw[end:], crc)
	return raw
}

func TestParseControlOfRelease18(t *testing.T) {
	c, err := ParseControl(sealed(t, 8, 1800))
	if err != nil || c.Version != 1800 || c.SystemID != 7710927775326629354 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestParseControlRefuses(t *testing.T) {
	good := fixture(t, shutDownControl)
	flip := func(at int) []byte {
		raw := bytes.Clone(good)
		raw[at] ^= 1
		return raw
	}
	otherOrder := bytes.Clone(good)
	binary.BigEndian.PutUint32(otherOrder[8:], 1300)
	for _, test := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty", nil, "0 bytes"},
		{"cut", good[:8191], "8191 bytes"},
		{"too long", append(bytes.Clone(good), 0), "8193 bytes"},
		{"zeros", make([]byte, ControlSize), "version 0 "},
		{"first byte", flip(0), "checksum"},
		{"last byte before the checksum", flip(287), "checksum"},
		{"checksum", flip(288), "checksum"},
		{"other byte order", otherOrder, "byte order"},
		{"release 12", sealed(t, 8, 1201), "version 1201"},
		{"release 19", sealed(t, 8, 1900), "version 1900"},
		{"block size 0", sealed(t, 216, 0), "blocks of 0"},
		{"block size 64 KiB", sealed(t, 216, 65536), "blocks of 65536"},
		{"relation segments", sealed(t, 220, 0), "of 0 blocks"},
		{"WAL segments", sealed(t, 228, 3<<20), "of 3145728"},
	} {
		if _, err := ParseControl(test.raw); !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := ParseControl(flip(300)); err != nil {
		t.Errorf("the padding counts: %v", err)
	}
}

func TestMajor(t *testing.T) {
	for _, test := range []struct {
		version, catalog uint32
		want             int
	}{
		{1300, 202007201, 13}, {1300, 202107181, 14}, {1300, 202209061, 15}, {1300, 202307071, 16},
		{1700, 202406281, 17}, {1800, 202506291, 18},
		{1800, 202406281, 0}, {1300, 0, 0}, {0, 0, 0}, {1900, 202607011, 0},
	} {
		if got := (Control{Version: test.version, Catalog: test.catalog}).Major(); got != test.want {
			t.Errorf("version %d, catalog %d: %d, want %d", test.version, test.catalog, got, test.want)
		}
	}
}

func TestControlState(t *testing.T) {
	for s, want := range map[ControlState]string{
		StartingUp: "starting up", InProduction: "in production", 7: "state 7", 1<<32 - 1: "state 4294967295",
	} {
		if got := s.String(); got != want {
			t.Errorf("%d is %q, want %q", uint32(s), got, want)
		}
	}
}

func TestReadControl(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := ReadControl(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	file := filepath.Join(dir, ControlFile)
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	good := fixture(t, standbyControl)
	for _, test := range []struct {
		content []byte
		want    string
	}{
		{good, ""},
		{good[:100], "100 bytes"},
		{nil, "0 bytes"},
	} {
		if err := os.WriteFile(file, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, raw, err := ReadControl(dir)
		if test.want == "" {
			if err != nil || !bytes.Equal(raw, good) || c.State != InArchiveRecovery {
				t.Errorf("%+v, %d bytes, %v", c, len(raw), err)
			}
			continue
		}
		if !errors.Is(err, ErrControl) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%v, want %q and the path", err, test.want)
		}
	}
}

// reads is a file that holds something else each time it is read; its last
// content stays.
type reads struct {
	contents [][]byte
	count    int
}

func (r *reads) ReadAt(b []byte, _ int64) (int, error) {
	i := min(r.count, len(r.contents)-1)
	r.count++
	return copy(b, r.contents[i]), nil
}

func TestReadControlTorn(t *testing.T) {
	good := fixture(t, shutDownControl)
	torn := func(i int) []byte {
		raw := bytes.Clone(good)
		raw[40] = byte(100 + i)
		return raw
	}
	many := make([][]byte, 20)
	for i := range many {
		many[i] = torn(i)
	}
	for _, test := range []struct {
		name     string
		contents [][]byte
		count    int
		ok       bool
	}{
		{"right at once", [][]byte{good}, 1, true},
		{"right the third time", [][]byte{torn(1), torn(2), good}, 3, true},
		{"damaged for good", [][]byte{torn(1)}, 2, false},
		{"never the same", many, controlTries, false},
	} {
		r := &reads{contents: test.contents}
		_, raw, err := readControl(r)
		if (err == nil) != test.ok || r.count != test.count {
			t.Errorf("%s: %v after %d reads, want %d", test.name, err, r.count, test.count)
		}
		if test.ok && !bytes.Equal(raw, good) {
			t.Errorf("%s: other bytes", test.name)
		}
	}
}

type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }

func TestReadControlUnreadable(t *testing.T) {
	if _, _, err := readControl(unreadable{}); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrControl) {
		t.Errorf("%v, want the error of the file system", err)
	}
}

func FuzzParseControl(f *testing.F) {
	for _, name := range []string{shutDownControl, standbyControl, plainControl} {
		f.Add(fixture(f, name)[:320], true)
		f.Add(fixture(f, name)[:320], false)
	}
	f.Fuzz(func(t *testing.T, head []byte, seal bool) {
		raw := make([]byte, ControlSize)
		copy(raw, head)
		if at := crcOffsets[binary.LittleEndian.Uint32(raw[8:])]; seal && at > 0 {
			binary.LittleEndian.PutUint32(raw[at:], crc32.Checksum(raw[:at], castagnoli))
		}
		c, err := ParseControl(raw)
		if err != nil {
			if !errors.Is(err, ErrControl) {
				t.Errorf("%v is not ErrControl", err)
			}
			return
		}
		if !c.SegmentSize.Valid() || c.BlockSize == 0 || c.RelationSegmentBlocks == 0 || c.State.String() == "" {
			t.Errorf("accepted %+v", c)
		}
	})
}
