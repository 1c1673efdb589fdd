package push

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

const (
	mib           = wal.MinSegmentSize
	three         = "000000010000000000000003"
	fork2         = "1\t0/300100\tno recovery target specified\n" // the history of timeline 2
	backupHistory = "START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\nLABEL: x\n"
)

var plain = codec.Options{Format: codec.None}

// get fetches a file into memory, and what was warned of.
func get(t testing.TB, cluster *archive.Cluster, s string, locations ...string) (contents []byte, warned []error, err error) {
	t.Helper()
	f, err := archive.Get(context.Background(), locations, cluster, fixture.Name(t, s), filepath.Join(t.TempDir(), "out"),
		func(err error) { warned = append(warned, err) })
	if err != nil {
		return nil, warned, err
	}
	defer f.Close()
	contents, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	return contents, warned, err
}

// pushed stores contents as a call of wal-push would that takes them from a pipe.
func pushed(t testing.TB, cluster *archive.Cluster, s string, contents []byte, o codec.Options, locations ...string) error {
	t.Helper()
	p := Pusher{Locations: locations, Codec: o}
	c := archive.Content{ReaderAt: bytes.NewReader(contents), Size: int64(len(contents))}
	return p.Push(context.Background(), cluster, fixture.Name(t, s), &archive.Source{Content: c}).Err()
}
