package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/wal"
)

// An object is one of a kind in a repository, for the table of damages.
type object struct {
	kind string
	key  string
	// another is one of the same kind, a key or a file, whose contents may get into
	// its place, and foreign is one of another cluster; "" if there is none.
	another, foreign string
	// silent are damages that nothing in the repository can tell, and why.
	silent map[string]string
	// quick are damages that names and sizes tell.
	quick []string
}

// Damages, by what is done to the bytes of an object.
const (
	missing  = "missing"
	cutOff   = "cut"
	flip     = "flipped"
	swapped  = "swapped"
	emptied  = "empty"
	alien    = "of another cluster"
	appended = "appended"
)

// A damaging is one way to spoil an object.
type damaging struct {
	what, how string
	bytes     []byte // nil for an object that is gone
}

// Every kind of damage to every kind of object is found, and nothing else is.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	s, objects := treasury(t)
	verify := func(options ...string) result {
		return s.run("manifest", append([]string{"verify", "--no-record", "-r", s.repo}, options...)...)
	}
	for _, options := range [][]string{nil, {"--quick"}} {
		if r := verify(options...); r.status != 0 || r.out != "" {
			t.Fatalf("undamaged: %s", r)
		}
	}
	for _, o := range objects {
		t.Run(o.kind, func(t *testing.T) {
			s := s.in(t)
			for _, d := range s.damages(o) {
				s.spoil(o, d, func() {
					full, quick := verify(), verify("--quick")
					if why := o.silent[d.what]; why != "" {
						if full.status == 1 && !strings.Contains(full.out, s.called(o)) {
							t.Errorf("%s (%s), %s: %s", d.what, d.how, why, full)
						}
						return
					}
					if full.status != 1 || !strings.Contains(full.out, s.called(o)) {
						t.Errorf("%s (%s): %s", d.what, d.how, full)
					}
					if slices.Contains(o.quick, d.what) && (quick.status != 1 || !strings.Contains(quick.out, s.called(o))) {
						t.Errorf("%s (%s): quick: %s", d.what, d.how, quick)
					}
				})
			}
		})
	}
	if r := verify(); r.status != 0 || r.out != "" {
		t.Errorf("not mended: %s", r)
	}
	t.Run("places in histories", func(t *testing.T) { s.in(t).misplace(func() result { return verify() }) })
	t.Run("read once", func(t *testing.T) { s.in(t).readOnce(verify("-v")) })
	t.Run("parts of a backup that is gone", func(t *testing.T) { s.in(t).readForChild(func() result { return verify() }) })
}

// readOnce makes sure that a verification has read everything, and nothing twice,
// although one backup uses parts of another; but for a segment before each
// timeline, from which the log goes on.
func (s *site) readOnce(r result) {
	s.t.Helper()
	var all int64
	for _, key := range slices.Concat(s.all("wal/0*/*"), s.all("base/*/[0-9]*.tar*")) {
		all += int64(len(s.object(key)))
	}
	var read, known int64
	for line := range strings.Lines(r.err) {
		fmt.Sscanf(line, "manifest: %d bytes of WAL and parts were read, %d were known", &read, &known)
	}
	if more := read - all; known != 0 || more < 0 || more > 2<<20 {
		s.t.Errorf("%d bytes were read, of %d: %s", read, all, r)
	}
}

// misplace has histories tell of other places than those at which servers have begun
// the timelines.
func (s *site) misplace(verify func() result) {
	s.t.Helper()
	for _, key := range s.all("wal/history/*") {
		whole := s.object(key)
		lines := strings.Split(strings.TrimSpace(string(whole)), "\n")
		place := strings.Split(lines[len(lines)-1], "\t")[1]
		at, err := wal.ParseLSN(place)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, wrong := range []wal.LSN{at + 8, at + 8192, at + 1<<20} {
			i := bytes.LastIndex(whole, []byte(place+"\t"))
			text := slices.Concat(whole[:i], []byte(wrong.String()), whole[i+len(place):])
			s.spoil(object{key: key}, damaging{"misplaced", "", text}, func() {
				if r := verify(); r.status != 1 || !strings.Contains(r.out, "damaged\t"+key+"\t") {
					s.t.Errorf("%s at %s: %s", place, wrong, r)
				}
			})
		}
	}
}

// readForChild makes sure that a part is verified that only the child of a backup
// still needs.
func (s *site) readForChild(verify func() result) {
	s.t.Helper()
	used := ""
	for line := range strings.Lines(s.must("manifest", "show", "--parts", "-r", s.repo, "more")) {
		if c := strings.Split(strings.TrimSpace(line), "\t"); strings.HasPrefix(c[0], "full/") {
			used = c[3]
		}
	}
	if used == "" {
		s.t.Fatal("no part of the parent is used")
	}
	s.spoil(object{key: "base/full/manifest"}, damaging{missing, "", nil}, func() {
		if r := verify(); r.status != 0 {
			s.t.Errorf("undamaged: %s", r)
		}
	})
	whole := s.object(used)
	shell(s.t, "mv", s.inRepo("base/full/manifest"), s.path("manifest"))
	s.spoil(object{key: used}, damaging{flip, "", flipped(whole, len(whole)/2)}, func() {
		if r := verify(); r.status != 1 || !strings.Contains(r.out, "damaged\t"+used+"\t") {
			s.t.Errorf("damaged: %s", r)
		}
	})
	shell(s.t, "mv", s.path("manifest"), s.inRepo("base/full/manifest"))
}

// spoil does something while an object is damaged.
func (s *site) spoil(o object, d damaging, do func()) {
	s.t.Helper()
	path := s.inRepo(o.key)
	hidden := s.path("hidden")
	shell(s.t, "cp", "-p", path, hidden)
	if d.bytes == nil {
		shell(s.t, "rm", path)
	} else if err := os.WriteFile(path, d.bytes, 0o640); err != nil {
		s.t.Fatal(err)
	}
	do()
	shell(s.t, "cp", "-p", hidden, path)
}

// damages are all that can be done to an object.
func (s *site) damages(o object) []damaging {
	s.t.Helper()
	whole := s.object(o.key)
	size := len(whole)
	list := []damaging{
		{missing, "", nil},
		{emptied, "", []byte{}},
		{appended, "a byte", append(slices.Clone(whole), 'x')},
		{appended, "much", append(slices.Clone(whole), bytes.Repeat([]byte("0123456789abcdef"), 300)...)},
	}
	for _, n := range []int{1, size / 3, size / 2, size - 1} {
		list = append(list, damaging{cutOff, fmt.Sprintf("at %d of %d", n, size), whole[:n]})
	}
	for i := range 10 {
		at := (size - 1) * i / 9
		if b := flipped(whole, at); !s.sameContents(o.key, b) {
			list = append(list, damaging{flip, fmt.Sprintf("at %d of %d", at, size), b})
		}
	}
	if o.another != "" {
		list = append(list, damaging{swapped, o.another, s.object(o.another)})
	}
	if o.foreign != "" {
		list = append(list, damaging{alien, "", s.object(o.foreign)})
	}
	return list
}

// object is the contents of a key, or of a file elsewhere.
func (s *site) object(key string) []byte {
	s.t.Helper()
	if !filepath.IsAbs(key) {
		key = s.inRepo(key)
	}
	b, err := os.ReadFile(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// sameContents reports whether a compressed WAL file is the same to a stock
// program after all: formats have bits that do not matter.
func (s *site) sameContents(key string, b []byte) bool {
	tool := map[string]string{".zst": "zstd", ".gz": "gzip", ".xz": "xz", ".lz4": "lz4"}[filepath.Ext(key)]
	if tool == "" || !strings.HasPrefix(key, "wal/") {
		return false
	}
	unpack := func(b []byte) ([]byte, error) {
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(b)
		return cmd.Output()
	}
	want, err := unpack(s.object(key))
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := unpack(b)
	return err == nil && bytes.Equal(got, want)
}

// called is how a finding about an object names it.
func (s *site) called(o object) string {
	top, _, _ := strings.Cut(o.key, "/")
	switch name := filepath.Base(o.key); top {
	case "wal": // what is missing has no key
		name, _, _ = strings.Cut(name, ".")
		return name
	case "hole":
		return name
	}
	return o.key
}

// treasury makes a repository with an object of every kind, by the real programs
// on a real cluster.
func treasury(t *testing.T) (*site, []object) {
	t.Helper()
	s := newSite(t, small)
	s.lean()
	s.SQL("CREATE TABLE rows (n int, pad text)")
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "full", "-c", "zstd"}, tiny...)...)
	s.filled(1, 4)
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "more", "--since", "full", "-c", "none"}, tiny...)...)
	segments := s.filled(5, 16)
	full := s.full()
	standby := s.standby()
	s.SQL("INSERT INTO rows VALUES (17)")
	standby.Until("SELECT max(n) FROM rows", "17")
	s.Kill()
	standby.SQL("SELECT pg_promote()")
	standby.filled(18, 19)
	standby.again()
	standby.filled(20, 21)
	standby.Stop("fast")

	other := newSite(t, shape{checksums: true, segmentMB: 1, serial: 1})
	other.lean()
	other.SQL("CREATE TABLE rows (n int, pad text)")
	other.backup("full", tiny...)
	strange := other.filled(1, 1)[0]
	other.Stop("fast")
	return s, s.objects(other, strange, full, segments)
}

// full writes more than two segments of log and names one that is full of it, as
// what follows a switch in others is not read by anybody.
func (s *site) full() string {
	s.t.Helper()
	name := s.SQL("SELECT pg_walfile_name(pg_current_wal_lsn() + 1048576)")
	s.SQL("INSERT INTO rows SELECT 0, repeat('y', 1000) FROM generate_series(1, 3000) n")
	s.endSegment()
	s.awaitSegment(name)
	return name
}

// filled adds rows and ends the segments that they are in. It returns the names.
func (s *site) filled(first, last int) (segments []string) {
	s.t.Helper()
	for n := first; n <= last; n++ {
		s.SQL(fmt.Sprintf("INSERT INTO rows SELECT %d, repeat('x', n) FROM generate_series(1, 700) n", n))
		segments = append(segments, s.endSegment())
	}
	return segments
}

// again has a cluster recover from its archive, onto another timeline.
func (s *site) again() {
	s.t.Helper()
	s.Stop("fast")
	s.must("touch", filepath.Join(s.Data, "recovery.signal"))
	s.Configure(restoreFrom(s.t, s.repo))
	if !recovers(s.t, s.Cluster) {
		s.t.Fatalf("no further timeline:\n%s", s.Log())
	}
}

const (
	forPeople = "what it says is for people"
	optional  = "it need not be there"
	noBackup  = "without it there is no backup, only what is left of one"
)

// objects stores what is not there yet, and makes the table.
func (s *site) objects(other *site, strange, full string, segments []string) []object {
	s.t.Helper()
	packed := []string{cutOff, emptied, appended, missing}
	whole := append(slices.Clone(packed), swapped, alien)
	list := []object{
		{kind: "identity", key: "pgpipes", foreign: other.inRepo("pgpipes"), quick: whole,
			silent: map[string]string{flip: "its id is random, and its format may be one of tomorrow"}},
		s.segment("segment, zstd", segments[1], segments[0], "zstd", other, strange),
		{kind: "timeline history", key: "wal/history/00000002.history", another: "wal/history/00000003.history", quick: whole,
			silent: map[string]string{flip: forPeople}},
		{kind: "manifest", key: "base/full/manifest", another: "base/more/manifest", foreign: other.inRepo("base/full/manifest"),
			quick: append(whole, flip), silent: map[string]string{missing: noBackup}},
		{kind: "part, zstd", key: "base/full/000.tar.zst", another: "base/full/001.tar.zst",
			foreign: other.inRepo("base/full/000.tar.zst"), quick: packed},
		{kind: "part, none", key: "base/more/000.tar", another: "base/full/000.tar.zst", quick: packed},
	}
	for i, format := range []string{"gzip", "xz", "lz4"} {
		list = append(list, s.segment("segment, "+format, segments[2*i+3], segments[0], format, other, strange))
	}
	plain := s.segment("segment, none", full, segments[0], "none", other, strange)
	plain.quick = packed // it is of one size
	list = append(list, plain)
	partial := s.one("wal/0000000100000000/*.partial.zst")
	list = append(list, object{kind: "partial segment", key: partial, another: s.packed(s, segments[0], "zstd"), foreign: s.packed(other, strange, "zstd"),
		quick: []string{emptied}, silent: map[string]string{missing: optional}})
	backups := s.all("wal/0000000100000000/*.backup")
	list = append(list, object{kind: "backup history", key: backups[0], another: backups[1],
		quick: []string{emptied}, silent: map[string]string{missing: optional, flip: forPeople}})
	return append(list, s.notes(segments[10])...)
}

// notes stores notes: of a backup under way, a pin, gaps that have come after
// all, a hole that was accepted, a verification.
func (s *site) notes(hole string) []object {
	s.t.Helper()
	s.must("rm", s.inRepo(s.key(hole)))
	put := func(key string, lines ...string) string {
		text := strings.Join(lines, "\n") + "\n"
		file := s.path("note")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
		if r := s.fed(file, "repo", "put", "-r", s.repo, key); r.status != 0 {
			s.t.Fatal(r)
		}
		return key
	}
	names := s.all("wal/0000000100000000/*.zst")
	gap := func(i int) string {
		name := strings.TrimSuffix(filepath.Base(names[i]), ".zst")
		return put("gap/"+name+"-"+name, "pgpipes-gap\t1", "first\t"+name, "last\t"+name, "segments\t1",
			"from\t2026-11-22T10:15:00Z", "to\t2026-11-22T10:16:10Z", "host\tdb1", "reason\tno space left on device")
	}
	accepted := put("hole/"+hole+"-"+hole, "pgpipes-accepted-hole\t1", "time\t2026-11-22T10:15:00Z", "host\tdb1", "by\toperator", "reason\tlost")
	s.must("manifest", "verify", "-r", s.repo, "--quick")
	quick := []string{cutOff, emptied, appended}
	free := map[string]string{missing: optional, flip: forPeople}
	start := put("base/begun/start", "host\tdb1", "pid\t1", "timeline\t1", "start-lsn\t0/600028", "time\t2026-11-22T10:15:00.123Z")
	pin := put("base/full/keep", "for the auditors")
	return []object{
		{kind: "start", key: start, quick: quick, silent: free},
		{kind: "pin", key: pin, silent: map[string]string{missing: optional, cutOff: forPeople, flip: forPeople, emptied: forPeople, appended: forPeople}},
		{kind: "gap", key: gap(0), another: gap(1), quick: append(quick, swapped), silent: free},
		{kind: "hole", key: accepted,
			quick: append(quick, missing), silent: map[string]string{flip: forPeople}},
		{kind: "record", key: s.one("verify/*"), quick: quick, silent: free},
	}
}

// segment is a segment stored in a format, for which it may have to be stored
// again.
func (s *site) segment(kind, name, neighbour, format string, other *site, strange string) object {
	s.t.Helper()
	if format != "zstd" {
		file := s.path(name)
		s.must("wal-get", "-r", s.repo, name, file)
		s.must("rm", s.inRepo(s.key(name)))
		s.must("wal-push", "-r", s.repo, "-c", format, file)
	}
	key := s.one("wal/" + name[:16] + "/" + name + "*")
	return object{kind: kind, key: key, another: s.packed(s, neighbour, format), foreign: s.packed(other, strange, format), quick: []string{emptied, missing}}
}

// packed is a file with a segment of a cluster in a format.
func (s *site) packed(other *site, name, format string) string {
	s.t.Helper()
	file := s.path(name + "-" + filepath.Base(other.dir) + "." + format)
	s.must("sh", "-euc", `wal-get -r "$1" "$2" "$3.plain" && compress -c "$4" <"$3.plain" >"$3"`, "sh", other.repo, name, file, format)
	return file
}

// key is where a segment is stored, compressed as usual.
func (s *site) key(name string) string { return "wal/" + name[:16] + "/" + name + ".zst" }

// all are the keys that a pattern fits.
func (s *site) all(pattern string) []string {
	s.t.Helper()
	files, err := filepath.Glob(s.inRepo(pattern))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no %s: %v", pattern, err)
	}
	for i := range files {
		files[i] = files[i][len(s.local)+1:]
	}
	return files
}

func (s *site) one(pattern string) string { return s.all(pattern)[0] }
