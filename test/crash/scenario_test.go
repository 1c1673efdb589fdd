package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/codec"
	"pgpipes/lib/durable"
	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
	"pgpipes/test/script"
)

// A scenario is one use of a program, and what must hold.
type scenario struct {
	argv      []string
	stdin     string                        // a file in the directory
	prepare   map[string][]byte             // files to be there before
	age       func(dir string) error        // of those that have to be old
	final     map[string]func([]byte) error // the names that may appear, and whether a file is whole
	writes    bool                          // it makes files that must be durable
	direct    bool                          // it makes no files that appear whole
	statuses  []int                         // of a run in which something failed
	invariant func(dir string) error        // must hold at every instant, beyond final
	complete  func(dir string) error        // must hold after status 0, beyond final
	settled   func(dir string) bool         // nothing is left to do, and doing it again is refused
}

const segmentName = "000000010000000000000001"

var (
	segment  = fixture.Segment{Name: segmentName, Sparse: true}.Bytes()
	object   = []byte(strings.Repeat("an object of a repository\n", 9000))
	identity = []byte(archive.Identity{ID: "TEST", Cluster: archive.Cluster{SystemID: fixture.SystemID, Major: 15, SegmentSize: wal.MinSegmentSize}}.String())
)

// compressed is the segment as it is stored.
var compressed = func() []byte {
	var b bytes.Buffer
	z, err := codec.NewWriter(&b, codec.Options{Format: codec.Zstd})
	if err == nil {
		_, err = z.Write(segment)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}()

func same(want []byte) func([]byte) error {
	return func(got []byte) error {
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes, not the right ones of %d", len(got), len(want))
		}
		return nil
	}
}

// decodes holds for a compressed form of the bytes.
func decodes(want []byte) func([]byte) error {
	return func(got []byte) error {
		z, err := codec.NewReader(bytes.NewReader(got), 1)
		if err != nil {
			return err
		}
		defer z.Close()
		plain, err := io.ReadAll(z)
		return errors.Join(err, same(want)(plain))
	}
}

// identifies holds for a whole identity of a repository.
func identifies(got []byte) error {
	if !bytes.HasPrefix(got, []byte("pgpipes-repository\t1\nid\t")) || !bytes.HasSuffix(got, []byte("\nwal-segment-size\t1048576\n")) {
		return fmt.Errorf("not an identity: %q", got)
	}
	return nil
}

var stored = "r/wal/0000000100000000/" + segmentName + ".zst"

var scenarios = map[string]scenario{
	"wal-push": {
		argv:     []string{"wal-push", "--state", "none", "-r", "r", segmentName},
		prepare:  map[string][]byte{segmentName: segment},
		final:    map[string]func([]byte) error{segmentName: same(segment), "r/pgpipes": identifies, stored: decodes(segment)},
		writes:   true,
		statuses: []int{111},
	},
	"put": {
		argv:     []string{"repo", "put", "-r", "r", "base/b/part"},
		stdin:    "in",
		prepare:  map[string][]byte{"in": object, "r/pgpipes": identity},
		final:    map[string]func([]byte) error{"in": same(object), "r/pgpipes": same(identity), "r/base/b/part": same(object)},
		writes:   true,
		statuses: []int{111},
	},
	"wal-get": {
		argv:     []string{"wal-get", "--retry", "0", "-r", "r", segmentName, "out/RECOVERYXLOG"},
		prepare:  map[string][]byte{"r/pgpipes": identity, stored: compressed, "out/.keep": nil},
		final:    map[string]func([]byte) error{"r/pgpipes": same(identity), stored: same(compressed), "out/RECOVERYXLOG": same(segment)},
		statuses: []int{254},
	},
	"base-restore": {
		argv:      []string{"base-restore", "-D", "new"},
		stdin:     "in",
		prepare:   map[string][]byte{"in": baseStream},
		final:     map[string]func([]byte) error{"in": same(baseStream)},
		invariant: startable,
		complete:  restored,
		settled:   func(dir string) bool { return restored(dir) == nil },
		statuses:  []int{111, 100, 1}, // some failures it takes for others
		direct:    true,
	},
	"expire": {
		argv:      []string{"expire", "-r", "r", "--keep-last", "1", "--wal-keep", "backup"},
		prepare:   aging,
		age:       old,
		invariant: restorable,
		complete:  expired,
		statuses:  []int{111},
		direct:    true,
	},
}

// variants are systems, by what they are without.
var variants = map[string][]string{
	"full":            nil,
	"named files":     {unnamedFiles},
	"no links either": {unnamedFiles, hardLinks},
}

// set makes a new directory for the scenario.
func (s scenario) set(t *testing.T, without []string) run {
	t.Helper()
	dir, err := os.MkdirTemp(place(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	for name, contents := range s.prepare {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, contents, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if s.age != nil {
		if err := s.age(dir); err != nil {
			t.Fatal(err)
		}
	}
	r := run{dir: dir, argv: s.argv, without: without}
	if s.stdin != "" {
		r.stdin = filepath.Join(dir, s.stdin)
	}
	return r
}

// place is where the directories are made: in memory, if there is such a file
// system, as nobody cuts the power here. The order of syncs has a test of its own.
func place() string {
	const memory = "/dev/shm"
	if unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return os.TempDir()
}

// whole demands that all files with a final name are whole and that there are
// no others but, if they are allowed, temporary ones. After success all must be
// there.
func (s scenario) whole(dir string, temporaries, success bool) error {
	names, err := script.Tree(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		hidden := strings.HasPrefix(filepath.Base(name), ".")
		if check := s.final[name]; check != nil {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err = errors.Join(err, check(b)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		} else if s.invariant == nil && (!hidden || !temporaries && strings.HasPrefix(filepath.Base(name), durable.TemporaryPrefix)) {
			return fmt.Errorf("left behind: %s", name)
		}
	}
	if s.invariant != nil {
		if err := s.invariant(dir); err != nil {
			return err
		}
	}
	for name := range s.final {
		if success && !slices.Contains(names, name) {
			return fmt.Errorf("status 0, and no %s", name)
		}
	}
	if success && s.complete != nil {
		return s.complete(dir)
	}
	return nil
}

// again runs the program undisturbed: it must succeed.
func (s scenario) again(r run, temporaries bool) error {
	if s.settled != nil && s.settled(r.dir) {
		return nil
	}
	status, said, err := r.do(r.command())
	if err == nil && status != 0 {
		err = fmt.Errorf("the next attempt: status %d: %s", status, said)
	}
	if err != nil {
		return err
	}
	return s.whole(r.dir, temporaries, true)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
