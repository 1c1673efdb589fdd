package verify

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/codec"
	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// astray is a segment that is whole, but whose first record follows another one
// than that at the end of the segment before.
func astray(s fixture.Segment) []byte {
	b := s.Bytes()
	le, table := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli)
	record := b[wal.HeaderSize:8192]
	le.PutUint64(record[8:], le.Uint64(record[8:])-8)
	le.PutUint32(record[20:], crc32.Update(crc32.Checksum(record[24:], table), table, record[:20]))
	return b
}

// The log is followed from segment to segment, over timelines too, and begins
// anew behind a hole.
func TestVerifyFollowsTheLog(t *testing.T) {
	for _, c := range []struct {
		what          string
		tli           wal.Timeline
		number        uint64
		without, want string
	}{
		{"in the midst", 1, 3, "", "damaged\twal/0000000100000000/000000010000000000000003\trecord at 0/300028: it follows the record at "},
		{"the first of a timeline", 2, 5, "", "damaged\twal/0000000200000000/000000020000000000000005\trecord at 0/500028: it follows the record at "},
		{"the second of a timeline", 2, 6, "", "damaged\twal/0000000200000000/000000020000000000000006\trecord at 0/600028: it follows the record at "},
		{"the very first", 1, 1, "", ""},
		{"after a hole", 1, 4, mib.Name(1, 3), ""},
		{"the first of a timeline, the parent's last is gone", 2, 5, mib.Name(1, 4), ""},
	} {
		r := repository.New(t)
		fixture.Branch(t, r.Location, 2, "1\t0/500000\tno recovery target specified\n")
		for number := uint64(1); number <= 7; number++ {
			tli := wal.Timeline(1)
			if number >= 5 {
				tli = 2
			}
			s := fixture.Segment{Name: mib.Name(tli, number)}
			b := s.Bytes()
			if tli == c.tli && number == c.number {
				b = astray(s)
			}
			if s.Name != c.without {
				fixture.Place(t, r.Location, layout.WALKey(fixture.Name(t, s.Name)), b)
			}
		}
		found, failed, err := verified(t, r, Verification{Jobs: 3})
		if err != nil || len(failed) > 0 || (c.want == "") != (len(found) == 0) || len(found) > 1 {
			t.Errorf("%s: %q, %v, %v", c.what, found, failed, err)
		} else if c.want != "" && !strings.HasPrefix(found[0], c.want) {
			t.Errorf("%s: %q", c.what, found)
		}
	}
}

// What a journal knows is read again if it lies beside what it does not know.
func TestVerifyFollowsTheLogFromTheJournal(t *testing.T) {
	r := repository.New(t)
	var names []string
	for number := uint64(1); number <= 6; number++ {
		names = append(names, mib.Name(1, number))
	}
	fixture.Archive(t, r.Location, codec.Options{Format: codec.None}, names...)
	file := filepath.Join(t.TempDir(), "journal")
	with := func() (found []string) {
		t.Helper()
		j, err := OpenJournal(r, file)
		if err != nil {
			t.Fatal(err)
		}
		found, failed, err := verified(t, r, Verification{Journal: j})
		if err != nil || len(failed) > 0 {
			t.Fatalf("%v, %v", failed, err)
		}
		if err := j.Finish(false); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := with(); len(found) > 0 {
		t.Fatalf("%q", found)
	}
	key := layout.WALKey(fixture.Name(t, names[3]))
	if err := os.Remove(filepath.Join(r.Location, key)); err != nil {
		t.Fatal(err)
	}
	fixture.Place(t, r.Location, key, astray(fixture.Segment{Name: names[3]}))
	for range 2 { // the one that is not whole is not noted
		if found := with(); len(found) != 1 || !strings.HasPrefix(found[0], "damaged\t"+key+"\t") {
			t.Errorf("%q", found)
		}
	}
}
