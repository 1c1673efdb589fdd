package stream

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/test/fixture"
)

// What a Writer writes an Intake reads: the same entries, with the hashes of what
// went in, and the end of a backup.
func TestWriterAndIntake(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	var out bytes.Buffer
	var wrote, read []manifest.Entry
	w := NewWriter(&out, "000", func(e ...manifest.Entry) error {
		wrote = append(wrote, e...)
		return nil
	})
	at := func(path string, size int) Member {
		return Member{Entry: manifest.Entry{Path: path, Mode: 0o600, Owner: "postgres:postgres", Size: int64(size), MTime: now}}
	}
	for _, dir := range []string{"base", "base/1", "global"} {
		if err := w.AddDirectory(at(dir, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range fixture.WithEnd(fixture.SmallCluster(), "") {
		if strings.HasSuffix(m.Name, "/") {
			continue
		}
		if err := w.AddFile(at(m.Name, len(m.Data)), strings.NewReader(m.Data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(); err != nil || w.Members() != len(wrote) || w.Part() != "000" {
		t.Fatal(err, w.Members(), w.Part())
	}

	in := NewIntake(&out)
	in.Part = "000"
	in.Note = func(e manifest.Entry) error {
		read = append(read, e)
		return nil
	}
	if err := in.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if control, err := in.CheckEnd(); err != nil || control.SystemID != fixture.SystemID {
		t.Errorf("the end: %v, %v", control.SystemID, err)
	}
	if !slices.EqualFunc(wrote, read, func(a, b manifest.Entry) bool {
		return a.Path == b.Path && a.Kind == b.Kind && a.Mode == b.Mode && a.Size == b.Size && a.SHA256 == b.SHA256 && a.Part == b.Part && a.MTime.Equal(b.MTime)
	}) {
		t.Errorf("wrote %v\nread  %v", wrote, read)
	}
}

// A stream without the files that end one is no backup.
func TestCheckEnd(t *testing.T) {
	for _, without := range []string{pgdata.ControlFile, pgdata.LabelFile} {
		in := NewIntake(bytes.NewReader(fixture.SmallBackup(t)))
		if err := in.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		delete(in.Kept, without)
		if _, err := in.CheckEnd(); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), without) {
			t.Errorf("without %s: %v", without, err)
		}
	}
}

// A list in a stream with SHA-256 is compared with the entries, one with CRC32C with
// what was placed, one with another kind by sizes.
func TestInnerManifest(t *testing.T) {
	const contents = "contents"
	sums := map[string]string{
		"SHA256": "d1b2a59fbea7e20077af9f91b27e95e865061b270be03ff539ab3b73587882e8",
		"CRC32C": "",
		"SHA224": strings.Repeat("0", 56),
	}
	for algorithm, sum := range sums {
		for _, size := range []int64{int64(len(contents)), 3} {
			n := NewInnerManifest()
			defer n.Close()
			m := Member{Entry: manifest.Entry{Path: "base/1/1", Kind: manifest.File, Size: int64(len(contents)), SHA256: sums["SHA256"]}}
			place, err := n.Place(m)
			if err != nil {
				t.Fatal(err)
			}
			place.Write([]byte(contents))
			if algorithm == "CRC32C" {
				sum = crc(t, contents)
			}
			if err := errors.Join(place.Close(), n.Want(manifest.ServerFile{Path: m.Path, Size: size, Algorithm: algorithm, Checksum: sum})); err != nil {
				t.Fatal(err)
			}
			entries := manifest.NewWriter("")
			defer entries.Close()
			if err := entries.Add(m.Entry); err != nil {
				t.Fatal(err)
			}
			err = n.Check(entries.Entries())
			if n.Algorithm() != algorithm || size == m.Size && err != nil || size != m.Size && !errors.Is(err, ErrDiffers) {
				t.Errorf("%s, %d bytes: %v", algorithm, size, err)
			}
		}
	}
	n := NewInnerManifest()
	defer n.Close()
	if err := n.Check(manifest.NewWriter("").Entries()); err != nil {
		t.Errorf("none has come: %v", err)
	}
}

func crc(t *testing.T, contents string) string {
	t.Helper()
	sum, err := manifest.NewServerHash("CRC32C")
	if err != nil {
		t.Fatal(err)
	}
	sum.Write([]byte(contents))
	return hex.EncodeToString(sum.Sum(nil))
}
