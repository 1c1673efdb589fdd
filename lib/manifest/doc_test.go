package manifest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const formatDocument = "../../doc/manifest.md"

// document is the text of the format's description.
func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(formatDocument)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// block is what stands between the fences after <!-- name -->.
func block(t *testing.T, text, name string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)<!-- " + name + " -->\\s*```[a-z]*\n(.*?)```").FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no block after <!-- %s -->", formatDocument, name)
	}
	return found[1]
}

// example is an increment of a small cluster.
func example(t *testing.T) []byte {
	const parent = "20261121T101500Z"
	at := time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)
	entry := func(kind byte, part string, size int64, path string) Entry {
		e := Entry{Kind: kind, Mode: 0o700, Owner: "postgres:postgres", MTime: at, Part: part, Path: path}
		if kind == File {
			e.Mode, e.Size, e.SHA256 = 0o600, size, sum(path)
		}
		return e
	}
	old := func(e Entry) Entry {
		e.MTime, e.Part = at.AddDate(0, 0, -1), parent+"/"+e.Part
		return e
	}
	l := entry(Link, "000", 0, "conf.d")
	l.Mode, l.Target = 0o777, "/etc/postgresql/15/main/conf.d"
	return write(t, runSize, Header{
		Label: "20261122T101500Z", Type: "incremental", Parent: parent, SystemID: 7438216021045183492, Major: 15, Catalog: 202209061,
		SegmentSize: 16 << 20, BlockSize: 8192, Checksums: true, StartTimeline: 1, StartLSN: 0x5000028, StartTime: at,
		StopTimeline: 1, StopLSN: 0x6000100, StopTime: at.Add(time.Minute), From: "primary",
		Tablespaces: []Tablespace{{16385, "/srv/fast disk"}},
		BadPages:    []BadPage{{7, PageSum{0x1f3a, 0x07c2}, PageSum{0x1f3a, 0x07c2}, "base/5/16384"}},
		Parts: []Part{
			{parent + "/000", sum("part 2"), 40211, "base/20261121T101500Z/000.tar.zst"},
			{"000", sum("part 0"), 1203, "base/20261122T101500Z/000.tar.zst"},
			{"001", sum("part 1"), 988, "base/20261122T101500Z/001.tar.zst"}},
		Extra: [][2]string{{"x-ticket", "4711"}},
	},
		entry(Directory, "000", 0, "."), old(entry(File, "000", 3, "PG_VERSION")), entry(Directory, "000", 0, "base"),
		entry(Directory, "000", 0, "base/5"), old(entry(File, "000", 114688, "base/5/1259")), entry(File, "000", 65536, "base/5/16384"),
		entry(File, "000", 24576, "base/5/16384_fsm"), old(entry(File, "000", 8192, "base/5/2619")), l,
		entry(File, "000", 12, "caf\u00e9, \"menu\"\t\xe9\\"),
		entry(Directory, "000", 0, "pg_tblspc"), entry(Directory, "000", 0, "pg_tblspc/16385"),
		entry(Directory, "000", 0, "pg_tblspc/16385/PG_15_202209061"), entry(Directory, "000", 0, "pg_tblspc/16385/PG_15_202209061/5"),
		old(entry(File, "000", 40960, "pg_tblspc/16385/PG_15_202209061/5/16386")), entry(Directory, "000", 0, "pg_wal"),
		entry(File, "001", 227, "backup_label"), entry(File, "001", 30, "tablespace_map"), entry(Directory, "000", 0, "global"),
		entry(File, "001", 8192, "global/pg_control"), entry(File, "001", 2210, "backup_manifest"))
}

// The example in the document is a manifest, and nothing but what we write.
func TestExampleInDocument(t *testing.T) {
	whole := example(t)
	golden(t, "example.manifest", whole)
	if shown := block(t, document(t), "example"); shown != string(whole) {
		t.Errorf("the example in %s is not testdata/example.manifest", formatDocument)
	}
	if _, _, err := read(bytes.NewReader(whole)); err != nil {
		t.Error(err)
	}
}

// The document tells of every key, in the order of the lines, and whether it
// may come more than once.
func TestKeysInDocument(t *testing.T) {
	text := document(t)
	at := 0
	for _, f := range fields {
		item := regexp.MustCompile("(?m)^- `" + f.key + "\\t[^`]+`( \\*)?: ").FindStringSubmatchIndex(text[at:])
		if item == nil {
			t.Errorf("%s does not describe %s, or not in its place", formatDocument, f.key)
			continue
		}
		if many := item[2] >= 0; many != f.many {
			t.Errorf("%s: %s with * is %v, without it would be %v", formatDocument, f.key, many, f.many)
		}
		at += item[1]
	}
	for _, limit := range []string{"65,536", "67,108,864", "64 bytes"} {
		if !strings.Contains(text, limit) {
			t.Errorf("%s does not name the limit %s", formatDocument, limit)
		}
	}
	if maxLine != 65536 || maxHeader != 67108864 || maxLabel != 64 {
		t.Errorf("the limits in %s are others", formatDocument)
	}
}

// What the document shows of coreutils is what they print.
func TestCommandsInDocument(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manifest"), example(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shown := range strings.Split("\n"+block(t, document(t), "with-coreutils"), "\n$ ")[1:] {
		command, want, _ := strings.Cut(shown, "\n")
		for strings.HasSuffix(command, `\`) {
			more, rest, _ := strings.Cut(want, "\n")
			command, want = strings.TrimSuffix(command, `\`)+strings.TrimPrefix(more, "> "), rest
		}
		cmd := exec.Command("sh", "-euc", command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
		got, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSuffix(string(got), "\n") != strings.TrimSuffix(want, "\n") {
			t.Errorf("%s: %v\n%swant\n%s", command, err, got, want)
		}
	}
}
