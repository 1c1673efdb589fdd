package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// sum is the SHA-256 of s in hex.
func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func file(path string) Entry {
	return Entry{Kind: File, Mode: 0o600, Owner: "postgres:postgres", Size: int64(len(path)),
		MTime: noon, SHA256: sum(path), Part: "000", Path: path}
}

func directory(path string) Entry {
	return Entry{Kind: Directory, Mode: 0o700, Owner: "postgres:postgres", MTime: noon, Part: "000", Path: path}
}

func link(path, target string) Entry {
	return Entry{Kind: Link, Mode: 0o777, Owner: "postgres:postgres", MTime: noon, Part: "001", Path: path, Target: target}
}

// fullHeader has a value in every field.
func fullHeader() Header {
	return Header{
		Label: "nightly\tbackup", Type: "incremental", Parent: "20261121T120000Z", SystemID: 7575757575757575757, Major: 15, Catalog: 202209061,
		SegmentSize: 16 << 20, BlockSize: 8192, Checksums: true,
		StartTimeline: 1, StartLSN: 0x2000028, StartTime: noon,
		StopTimeline: 2, StopLSN: 0xA_02000100, StopTime: noon.Add(time.Minute), From: "standby", WAL: true,
		Tablespaces: []Tablespace{{16384, "/mnt/fast disk"}, {16385, "/mnt/\xff"}},
		BadPages: []BadPage{
			{7, PageSum{0xabcd, 0x12}, PageSum{0xabcd, 0x13}, "base/5/1259"}, {Block: 131072, Path: "base/5/1259.1"}},
		Parts: []Part{{"000", sum("0"), 512, "base/x/000.tar.zst"}, {Name: "001"}, {Name: "1000"},
			{"20261121T120000Z/000", sum("1"), 1, "base/20261121T120000Z/000.tar.zst"}},
		Extra: [][2]string{{"x-made-by", "a test\twith columns"}, {"x-empty", ""}},
	}
}

// allEntries are entries of every kind and with odd names, in no order.
func allEntries() []Entry {
	bare := file("pg_wal.note")
	bare.Owner, bare.Part, bare.MTime = "", "", time.Time{}
	old := file("base/5/2619")
	old.Part = "20261121T120000Z/000"
	late := directory("base/5")
	late.Part = "1000"
	sticky := directory("base")
	sticky.Mode = 0o1777
	return []Entry{
		file("global/pg_control"), directory("pg_wal"), sticky, bare, file("base-1"), file("base/5/1259"),
		directory("."), late, file("base/new\nline"), file("base/tab\tand blank "),
		file(`base/back\slash`), file("base/caf\u00e9"), file("base/\xff\xfe"), file("base/\u0085"),
		link("pg_stat", "../a b\tc"), directory("global"), file("PG_VERSION"), old,
	}
}

// write makes a manifest with runs of at most limit bytes.
func write(t testing.TB, limit int, h Header, entries ...Entry) []byte {
	t.Helper()
	w := NewWriter("")
	w.sorter.limit = limit
	defer w.Close()
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := w.Finish(&b, h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads a manifest to its end.
func read(r io.Reader) (Header, []Entry, error) {
	m, err := NewReader(r)
	if err != nil {
		return Header{}, nil, err
	}
	entries, err := collect(m)
	return m.Header(), entries, err
}

func collect(s EntrySource) (list []Entry, err error) {
	for {
		e, err := s.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("not as in %s:\n%s", name, got)
	}
}

func TestGolden(t *testing.T) {
	got := write(t, runSize, fullHeader(), allEntries()...)
	golden(t, "full.manifest", got)
	golden(t, "empty.manifest", write(t, runSize, Header{}))

	h, entries, err := read(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	want := fullHeader()
	for _, e := range allEntries() {
		if e.Kind == File {
			want.Files++
			want.Bytes += e.Size
		}
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("header\n%+v, want\n%+v", h, want)
	}
	if again := write(t, runSize, h, entries...); !bytes.Equal(again, got) {
		t.Errorf("written again:\n%s", again)
	}
}

func TestSeal(t *testing.T) {
	parts := fullHeader().Parts
	unsealed := fullHeader()
	unsealed.Parts = nil
	plain := write(t, runSize, unsealed, allEntries()...)
	want := write(t, runSize, fullHeader(), allEntries()...)

	var got bytes.Buffer
	if err := Seal(bytes.NewReader(plain), parts, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("sealed:\n%s", got.Bytes())
	}
	got.Reset()
	if err := Seal(bytes.NewReader(want), nil, &got); err != nil || !bytes.Equal(got.Bytes(), plain) {
		t.Errorf("parts taken away: %v\n%s", err, got.Bytes())
	}
}

func TestSealRefuses(t *testing.T) {
	whole := write(t, runSize, Header{}, file("a"), link("b", "c"))
	cases := []struct {
		name  string
		in    []byte
		parts []Part
		want  string
	}{
		{"a part is missing", whole, []Part{{Name: "000"}}, "part 001"},
		{"part twice", whole, []Part{{Name: "000"}, {Name: "001"}, {Name: "000"}}, "part 000: twice"},
		{"bad part", whole, []Part{{Name: "../x"}}, "part ../x"},
		{"cut", whole[:len(whole)-1], nil, "damaged"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Seal(bytes.NewReader(c.in), c.parts, &out)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if _, _, err := read(&out); err == nil {
				t.Error("what it has written passes for a manifest")
			}
		})
	}
}

var errDisk = errors.New("disk failed")

// failing fails after n bytes.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriteErrorsArePassedOn(t *testing.T) {
	whole := write(t, runSize, Header{}, file("a"), file("b"))
	for n := range whole {
		if err := Seal(bytes.NewReader(whole), nil, &failing{n}); !errors.Is(err, errDisk) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}
