package backup

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
	"pgpipes/lib/wait"
)

// cutting is a cutter whose parts a shell command takes, in a directory of its own.
func cutting(t *testing.T, size int64, jobs int, command string) (*cutter, string) {
	t.Helper()
	dir := t.TempDir()
	all, err := newListing()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { all.close() })
	c := &copier{listing: all, tree: &tree{pace: wait.NewPace(0, nil)}}
	c.o.Parts = Parts{Command: "cd " + dir + "; " + command, Size: size, Jobs: jobs}
	c.outlet = &outlet{command: c.o.Parts.Command, label: "l"}
	k := newCutter(t.Context(), c, io.Discard)
	t.Cleanup(k.abandon)
	return k, dir
}

// put writes a file of so many bytes.
func put(k *cutter, name string, size int64) error {
	s, err := k.next(size)
	if err != nil {
		return err
	}
	m := stream.Member{Entry: manifest.Entry{Path: name, Size: size, Mode: 0o600}}
	return s.AddFile(m, io.LimitReader(strings.NewReader(strings.Repeat("x", int(size))), size))
}

func TestCutter(t *testing.T) {
	k, dir := cutting(t, 1000, 2, `cat >"$PART"`)
	for i, size := range []int64{400, 400, 400, 5000, 0, 1000, 1} {
		if err := put(k, fmt.Sprint(i), size); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.finish(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range len(k.copier.parts) {
		f, err := os.Open(filepath.Join(dir, manifest.PartName(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for in := tar.NewReader(f); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d:%s", i, h.Name))
		}
	}
	if want := "[0:0 0:1 1:2 2:3 3:4 3:5 4:6]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// A command that fails ends all: what it had cannot be had again.
func TestCutterFails(t *testing.T) {
	for name, command := range map[string]string{
		"at its end":                   `cat >/dev/null; [ "$PART" != 001 ] || exit 3`,
		"at once":                      `[ "$PART" != 001 ] || exit 3; cat >/dev/null`,
		"with a receipt that is none":  `cat >/dev/null; [ "$PART" != 001 ] || echo stored`,
		"while another one takes long": `cat >/dev/null; [ "$PART" != 001 ] || exit 3; sleep 100`,
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := cutting(t, 1<<20, 2, command)
			var err error
			for i := 0; err == nil && i < 20; i++ {
				err = put(k, fmt.Sprint(i), 1<<20)
			}
			if ferr := k.finish(); err == nil {
				err = ferr
			}
			if err == nil || !strings.Contains(err.Error(), "part 001: ") || !strings.Contains(err.Error(), "take the backup again") {
				t.Error(err)
			}
		})
	}
}

func TestCutterIsCancelled(t *testing.T) {
	k, _ := cutting(t, 10, 1, "sleep 100; cat >/dev/null")
	if err := put(k, "a", 10); err != nil {
		t.Fatal(err)
	}
	k.cancel()
	if err := put(k, "b", 10); err != context.Canceled {
		t.Error(err)
	}
}
