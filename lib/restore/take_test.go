package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
	"pgpipes/test/fixture"
)

// A partStore is a directory of parts with the manifest of the backup that they
// are.
type partStore struct {
	dir      string
	manifest []byte
}

// source is the command that prints a part.
func (s partStore) source() filter.Command { return s.command(`cat "$KEY"`) }

// command is one that runs where the parts are.
func (s partStore) command(text string) filter.Command {
	return filter.Command{Text: "cd '" + s.dir + "' && " + text}
}

func (s partStore) options(dir string) Options {
	return Options{Dir: dir, Manifest: bytes.NewReader(s.manifest), Source: s.source(), Jobs: 2}
}

// store makes parts of a backup: part 000 has the directories, the files go to
// the parts in turn, and the last one gets the end.
func store(t testing.TB, parts int, list []fixture.Member, spaces ...manifest.Tablespace) partStore {
	t.Helper()
	s := partStore{dir: t.TempDir()}
	w := manifest.NewWriter("")
	defer w.Close()
	divided := make([][]fixture.Member, parts)
	turn := 0
	for i, m := range list {
		number := 0
		switch {
		case i >= len(list)-endMembers(list):
			number = parts - 1
		case !strings.HasSuffix(m.Name, "/"):
			number = turn % parts
			turn++
		}
		divided[number] = append(divided[number], m)
		if err := w.Add(entryOf(m, fmt.Sprintf("%03d", number))); err != nil {
			t.Fatal(err)
		}
	}
	h := manifest.Header{Label: "b", Type: "full", SystemID: fixture.SystemID, Major: 15, Catalog: 202209061, Tablespaces: spaces}
	for number, members := range divided {
		name := fmt.Sprintf("%03d", number)
		if err := os.WriteFile(filepath.Join(s.dir, name+".tar"), fixture.Tar(t, members), 0o600); err != nil {
			t.Fatal(err)
		}
		h.Parts = append(h.Parts, manifest.Part{Name: name, Key: name + ".tar"})
	}
	var text bytes.Buffer
	if err := w.Finish(&text, h); err != nil {
		t.Fatal(err)
	}
	s.manifest = text.Bytes()
	return s
}

func endMembers(list []fixture.Member) int {
	for i, m := range list {
		if m.Name == pgdata.LabelFile {
			return len(list) - i
		}
	}
	return 0
}

func entryOf(m fixture.Member, part string) manifest.Entry {
	e := manifest.Entry{Kind: manifest.File, Path: path.Clean(m.Name), Mode: 0o700, MTime: fixture.BackupTime, Size: int64(len(m.Data)), Part: part}
	if m.Mode != 0 {
		e.Mode = os.FileMode(m.Mode)
	}
	if strings.HasSuffix(m.Name, "/") {
		e.Kind = manifest.Directory
		return e
	}
	sum := sha256.Sum256([]byte(m.Data))
	e.SHA256 = hex.EncodeToString(sum[:])
	return e
}

// restored is what a restore of one stream makes of a backup, to compare with.
func restored(t testing.TB, list []fixture.Member, o Options) []string {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "pg")
	mustRestore(t, fixture.Tar(t, list), o)
	return filesIn(t, o.Dir)
}

func mustMatch(t testing.TB, dir string, want []string) {
	t.Helper()
	if got := filesIn(t, dir); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("restored\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRestoreParts(t *testing.T) {
	list := fixture.WithEnd(fixture.SmallCluster(), "")
	want := restored(t, list, Options{})
	for parts := 1; parts <= 4; parts++ {
		for jobs := 1; jobs <= 3; jobs++ {
			dir := filepath.Join(t.TempDir(), "pg")
			o := store(t, parts, list).options(dir)
			var done, total int64
			o.Jobs, o.Progress = jobs, func(d, of int64) { done, total = d, of }
			mustRestore(t, nil, o)
			mustMatch(t, dir, want)
			if done != total || total == 0 {
				t.Errorf("%d parts, %d jobs: progress ended with %d of %d", parts, jobs, done, total)
			}
			text, err := os.ReadFile(filepath.Join(dir, "base/1/1259"))
			if err != nil || string(text) != strings.Repeat("x", 3000) {
				t.Errorf("base/1/1259: %v", err)
			}
		}
	}
}

// The command knows which part of which backup it is asked for, and where that
// is.
func TestRestoreNamesParts(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	o := s.options(t.TempDir())
	o.Source = s.command(`echo "$LABEL $PART $KEY" >>asked; cat "$PART.tar"`)
	mustRestore(t, nil, o)
	asked, err := os.ReadFile(filepath.Join(s.dir, "asked"))
	if err != nil || len(asked) == 0 {
		t.Fatal(err)
	}
	for _, line := range []string{"b 000 000.tar\n", "b 001 001.tar\n"} {
		if strings.Count(string(asked), line) != 1 {
			t.Errorf("asked for\n%s", asked)
		}
	}
}

// Of a part of another backup only what the manifest names it for counts.
func TestRestoreFromPartsOfOthers(t *testing.T) {
	list := fixture.WithEnd(fixture.SmallCluster(), "")
	s := store(t, 2, list)
	old := fixture.WithEnd(fixture.SmallCluster(), "")
	for i := range old {
		if old[i].Name != "base/1/1259" && old[i].Data != "" {
			old[i].Data = "outdated"
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "old.tar"), fixture.Tar(t, old), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.NewReader(bytes.NewReader(s.manifest))
	if err != nil {
		t.Fatal(err)
	}
	w := manifest.NewWriter("")
	defer w.Close()
	if err := manifest.Each(m, func(e manifest.Entry) error {
		if e.Path == "base/1/1259" {
			e.Part = "parent/007"
		}
		return w.Add(e)
	}); err != nil {
		t.Fatal(err)
	}
	h := m.Header()
	h.Parts = append(h.Parts, manifest.Part{Name: "parent/007", Key: "old.tar"})
	var text bytes.Buffer
	if err := w.Finish(&text, h); err != nil {
		t.Fatal(err)
	}
	s.manifest = text.Bytes()
	dir := filepath.Join(t.TempDir(), "pg")
	o := s.options(dir)
	o.Source = s.command(`echo "$LABEL $PART" >>asked; cat "$KEY"`)
	mustRestore(t, nil, o)
	mustMatch(t, dir, restored(t, list, Options{}))
	if asked, _ := os.ReadFile(filepath.Join(s.dir, "asked")); !strings.Contains(string(asked), "parent 007\n") {
		t.Errorf("asked for\n%s", asked)
	}
}

func TestRestoreTriesPartsAgain(t *testing.T) {
	for name, fault := range map[string]string{
		"fails at once":  "exit 3",
		"is cut":         "head -c 2000 001.tar; exit 3",
		"is cut quietly": "head -c 2000 001.tar",
		"garbage":        "yes",
		"fails at last":  "cat 001.tar; exit 3",
		"other contents": "sed s/xxx/yyy/ 001.tar",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
			dir := filepath.Join(t.TempDir(), "pg")
			o := s.options(dir)
			o.Source = s.command(`if [ "$PART $TRY" = "001 1" ]; then ` + fault + `; else cat "$KEY"; fi`)
			mustRestore(t, nil, o)
			mustMatch(t, dir, restored(t, fixture.WithEnd(fixture.SmallCluster(), ""), Options{}))
		})
	}
}

func TestRestoreGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		fault string
		kind  error
		says  string
	}{
		"fails":          {"exit 3", filter.ErrFailed, "status 3"},
		"is cut":         {"head -c 2000 001.tar", stream.ErrBad, "cut off"},
		"is killed":      {"head -c 2000 001.tar; kill -9 $$", filter.ErrFailed, "signal killed"},
		"two parts":      {"cat 001.tar 001.tar", stream.ErrBad, "something follows"},
		"another part":   {"cat 000.tar", stream.ErrBad, "no backup_manifest"},
		"other contents": {"sed s/xxx/yyy/ 001.tar", stream.ErrDiffers, "not what the manifest says"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
			dir := t.TempDir()
			o := s.options(dir)
			o.Source = s.command(`[ "$PART" = 000 ] && exec cat 000.tar; echo >>tries; ` + c.fault)
			err := restore(t, nil, o)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "part 001") {
				t.Errorf("error %v, want %v about %q", err, c.kind, c.says)
			}
			mustBeEmpty(t, dir)
			if tries, _ := os.ReadFile(filepath.Join(s.dir, "tries")); len(tries) != takeTries {
				t.Errorf("%d tries", len(tries))
			}
		})
	}
}

// A part that lacks what it should have is found out.
func TestRestoreOfIncompletePart(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	if err := os.WriteFile(filepath.Join(s.dir, "000.tar"), fixture.Tar(t, fixture.SmallCluster()[:2]), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := restore(t, nil, s.options(dir)); !errors.Is(err, stream.ErrDiffers) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
	mustBeEmpty(t, dir)
}

// When one part fails for good, or the restore is broken off, no command is
// left running.
func TestRestoreEndsCommands(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	for name, own := range map[string]string{"fails": "until test -s pids; do :; done; exit 3", "is broken off": "sleep 1000"} {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(s.dir, "pids")
			os.Remove(pids)
			o := s.options(t.TempDir())
			o.Source = s.command(`case $PART in 000) echo $$ >pids; sleep 1000; exit 1;; esac; ` + own)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if name != "fails" {
				go func() {
					for {
						if b, _ := os.ReadFile(pids); len(b) > 0 {
							cancel()
							return
						}
						time.Sleep(time.Millisecond)
					}
				}()
			}
			if err := Run(ctx, nil, o); err == nil {
				t.Error("no error")
			}
			pid, _ := os.ReadFile(pids)
			if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
				t.Errorf("process %s is left", pid)
			}
			mustBeEmpty(t, o.Dir)
		})
	}
}

// A backup in parts does not fit into one stream.
func TestRestoreOfPartsWithoutSource(t *testing.T) {
	s := store(t, 2, fixture.WithEnd(fixture.SmallCluster(), ""))
	o := s.options(t.TempDir())
	o.Source = filter.Command{}
	if err := restore(t, fixture.SmallBackup(t), o); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), "in 2 parts") {
		t.Errorf("error %v", err)
	}
	o.Manifest, o.Source = nil, s.source()
	if err := restore(t, nil, o); !errors.Is(err, ErrTarget) {
		t.Errorf("without a manifest: error %v", err)
	}
}

func TestIndex(t *testing.T) {
	n := newIndexing([]manifest.Part{{Name: "old/999"}, {Name: "998"}, {Name: "1000"}})
	for i := range 1000 {
		n.add(manifest.Entry{Kind: manifest.File, Path: fmt.Sprint(i), Size: int64(i), Part: "998"}, awaited)
	}
	x, err := n.finish()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if f := x.find(fmt.Sprint(i)); f == nil || f.size != int64(i) || x.parts[f.part].Name != "998" {
			t.Fatalf("%d: %v", i, f)
		}
	}
	if x.find("1000") != nil {
		t.Error("found what is not there")
	}
	if got := x.parts[x.last].Name; got != "1000" {
		t.Errorf("the last part is %s", got)
	}
	x.find("998").state = inPlace
	all := int64(999 * 1000 / 2)
	if got, want := x.needs(), []need{{}, {any: true, files: 999, awaited: all - 998, bytes: all}, {any: true}}; !slices.Equal(got, want) {
		t.Errorf("needs %v, want %v", got, want)
	}
}
