package stream

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgpipes/test/fixture"
)

// drain reads a stream to its end and returns the paths in it.
func drain(b *Reader) (paths []string, err error) {
	for {
		m, err := b.Next()
		if err == io.EOF {
			return paths, nil
		}
		if err != nil {
			return paths, err
		}
		paths = append(paths, m.Path)
	}
}

func TestReaderPaths(t *testing.T) {
	got, err := drain(NewReader(bytes.NewReader(fixture.SmallBackup(t))))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".", "pg_tblspc", "PG_VERSION", "base", "base/1", "base/1/1259", "base/1/empty", "global", "global/1262", "pg_wal",
		"pg_wal/archive_status", "backup_label", "global/pg_control", "backup_manifest",
	}
	if !slices.Equal(got, want) {
		t.Errorf("paths\n%q\nwant\n%q", got, want)
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		m    fixture.Member
		want string
	}{
		{"absolute", fixture.Member{Name: "/etc/passwd", Data: "x"}, "leads out"},
		{"parent", fixture.Member{Name: "../x", Data: "x"}, "leads out"},
		{"parent inside", fixture.Member{Name: "base/../../x", Data: "x"}, "leads out"},
		{"parent at the end", fixture.Member{Name: "base/..", Data: "x"}, "leads out"},
		{"link", fixture.Member{Name: "base/1", Link: "/etc"}, "neither"},
		{"link in a tablespace", fixture.Member{Name: "pg_tblspc/16384/x", Link: "/etc"}, "neither"},
		{"link pg_tblspc", fixture.Member{Name: "pg_tblspc", Link: "/etc"}, "neither"},
		{"odd tablespace", fixture.Member{Name: "pg_tblspc/016384", Link: "/etc"}, "neither"},
		{"hard link", fixture.Member{Name: "x", Link: "PG_VERSION", Kind: tar.TypeLink}, "neither"},
		{"device", fixture.Member{Name: "x", Kind: tar.TypeBlock}, "neither"},
		{"character device", fixture.Member{Name: "x", Kind: tar.TypeChar}, "neither"},
		{"pipe", fixture.Member{Name: "x", Kind: tar.TypeFifo}, "neither"},
		{"file as root", fixture.Member{Name: ".", Data: "x"}, "not a directory"},
		{"mark", fixture.Member{Name: DataMark, Data: "x"}, "mark"},
		{"mark of a tablespace", fixture.Member{Name: "pg_tblspc/16384/" + TablespaceMark, Data: "x"}, "mark"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := drain(NewReader(bytes.NewReader(fixture.Tar(t, append(fixture.SmallCluster(), c.m)))))
			if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestReaderEnd(t *testing.T) {
	whole := fixture.SmallBackup(t)
	noTrailer := whole[:len(whole)-trailerSize]
	for _, c := range []struct {
		name   string
		stream []byte
		want   string // "" for a whole stream
	}{
		{"whole", whole, ""},
		{"padded", slices.Concat(whole, make([]byte, 8192)), ""},
		{"signal file of pg_basebackup -R", fixture.Tar(t, append(fixture.WithEnd(fixture.SmallCluster(), ""), fixture.Member{Name: "standby.signal"})), ""},
		{"empty", nil, "empty"},
		{"only a trailer", make([]byte, trailerSize), "no backup_manifest"},
		{"no trailer", noTrailer, "cut off"},
		{"half a trailer", whole[:len(whole)-blockSize], "cut off"},
		{"twice", slices.Concat(whole, whole), "something follows"},
		{"garbage behind padding", slices.Concat(whole, make([]byte, 100000), []byte{1}), "something follows"},
		{"not the last member", fixture.Tar(t, append(fixture.WithEnd(fixture.SmallCluster(), ""), fixture.Member{Name: "x"})), "ends a base stream"},
		{"no backup_manifest", fixture.Tar(t, fixture.SmallCluster()), "no backup_manifest"},
		{"zeros at the end of a file, no trailer", func() []byte {
			all := fixture.Tar(t, []fixture.Member{{Name: "x", Data: strings.Repeat("\x00", 4096)}})
			return all[:len(all)-trailerSize]
		}(), "cut off"},
		{"no tar", bytes.Repeat([]byte("text"), 1000), "not a tar"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := drain(NewReader(bytes.NewReader(c.stream)))
			if c.want == "" && err != nil {
				t.Errorf("error %v", err)
			}
			if c.want != "" && (!errors.Is(err, ErrBad) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// Every prefix of a stream is an error, however the bytes arrive.
func TestReaderCutAnywhere(t *testing.T) {
	whole := fixture.SmallBackup(t)
	for n := range whole {
		if _, err := drain(NewReader(bytes.NewReader(whole[:n]))); !errors.Is(err, ErrBad) {
			t.Fatalf("cut at %d: error %v", n, err)
		}
	}
	if _, err := drain(NewReader(iotest.OneByteReader(bytes.NewReader(whole)))); err != nil {
		t.Error(err)
	}
}

// An error of the source stays what it is.
func TestReaderSourceFails(t *testing.T) {
	broken := errors.New("the disk is broken")
	whole := fixture.SmallBackup(t)
	for n := 0; n <= len(whole); n += 97 {
		in := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))
		if _, err := drain(NewReader(in)); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: error %v", n, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(fixture.SmallBackup(f))
	f.Add(fixture.Tar(f, fixture.WithTablespaces(fixture.SmallCluster(), "16384")))
	f.Add(fixture.Tar(f, []fixture.Member{{Name: "pg_tblspc/1", Link: "/x"}, {Name: strings.Repeat("long/", 60)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			m, err := r.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, ErrBad) {
					t.Fatalf("error %v", err)
				}
				return
			}
			if m.Path == "" || m.Path[0] == '/' || slices.Contains(strings.Split(m.Path, "/"), "..") {
				t.Fatalf("path %q", m.Path)
			}
		}
	})
}
