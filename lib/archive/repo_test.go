package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/test/fixture"
	"pgpipes/test/sshd"
)

// Who tries again and again has one connection with a host at a time, and none
// that was of no use.
func TestConnectionsAreClosed(t *testing.T) {
	host := sshd.Start(t)
	r := repository(t)
	nothing := t.TempDir()
	for what, ask := range map[string]func() error{
		"no repository": func() error { _, err := Open(t.Context(), host.Location(nothing)); return err },
		"another's": func() error {
			_, err := OpenFor(t.Context(), host.Location(r.Location), Cluster{1, 15, 16 << 20})
			return err
		},
		"not there": func() error {
			_, _, err := get(t, &ours, three, host.Location(r.Location))
			return err
		},
	} {
		for range 3 {
			if ask() == nil {
				t.Errorf("%s: no error", what)
			}
		}
		for deadline := time.Now().Add(20 * time.Second); len(host.Signal(0)) > 1; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d processes of the server", what, len(host.Signal(0)))
			}
		}
	}
}

const goodIdentity = "pgpipes-repository\t1\nid\tABC\nsystem-identifier\t18446744073709551615\npostgresql\t15\nwal-segment-size\t16777216\n"

func TestParseIdentity(t *testing.T) {
	want := Identity{"ABC", Cluster{1<<64 - 1, 15, 16 << 20}}
	for _, text := range []string{goodIdentity, goodIdentity + "x-later\tkept\n", goodIdentity + "odd\ta\tb\n"} {
		if got, err := ParseIdentity([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if want.String() != goodIdentity {
		t.Errorf("written as %q", want)
	}
}

func TestParseIdentityDamaged(t *testing.T) {
	tests := map[string]string{
		"empty":        "",
		"zeros":        string(make([]byte, 200)),
		"other file":   "hello\n",
		"no tab":       strings.Replace(goodIdentity, "id\tABC", "id ABC", 1),
		"twice":        goodIdentity + "id\tDEF\n",
		"no id":        strings.Replace(goodIdentity, "id\tABC\n", "", 1),
		"empty id":     strings.Replace(goodIdentity, "id\tABC", "id\t", 1),
		"no system":    strings.Replace(goodIdentity, "system-identifier", "system", 1),
		"too large":    strings.Replace(goodIdentity, "18446744073709551615", "18446744073709551616", 1),
		"negative":     strings.Replace(goodIdentity, "18446744073709551615", "-1", 1),
		"odd size":     strings.Replace(goodIdentity, "16777216", "16777217", 1),
		"no major":     strings.Replace(goodIdentity, "\t15\n", "\tx\n", 1),
		"no title":     strings.TrimPrefix(goodIdentity, "pgpipes-repository\t1\n"),
		"empty format": strings.Replace(goodIdentity, "repository\t1", "repository\t", 1),
	}
	for cut := range len(goodIdentity) {
		tests["cut "+goodIdentity[:cut]] = goodIdentity[:cut]
	}
	for what, text := range tests {
		if id, err := ParseIdentity([]byte(text)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", what, id, err)
		}
	}
}

func TestParseIdentityOfANewerFormat(t *testing.T) {
	text := "pgpipes-repository\t2\nid\tABC\n"
	if _, err := ParseIdentity([]byte(text)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "2") {
		t.Error(err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add([]byte(goodIdentity))
	f.Add([]byte("pgpipes-repository\t2\n"))
	f.Add([]byte("a\tb\nc"))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := ParseIdentity(text)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := ParseIdentity([]byte(id.String())); err != nil || again != id {
			t.Errorf("%+v reads back as %+v, %v", id, again, err)
		}
	})
}

func TestOpen(t *testing.T) {
	base := t.TempDir()
	for what, prepare := range map[string]func(dir string) error{
		"missing": func(string) error { return nil },
		"empty":   func(dir string) error { return os.Mkdir(dir, 0o700) },
		"foreign": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/x", nil, 0o600)) },
	} {
		dir := filepath.Join(base, what)
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), dir); !errors.Is(err, ErrNoRepository) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), file); err == nil {
		t.Error("a file was opened as a repository")
	}
}

func TestOpenForBindsToTheCluster(t *testing.T) {
	r := repository(t)
	again, err := OpenFor(context.Background(), r.Location, ours)
	if err != nil || again.ID != r.ID || r.ID == "" {
		t.Errorf("%+v, %v; was %+v", again, err, r)
	}
	for what, c := range map[string]Cluster{
		"system":  {ours.SystemID + 1, 15, mib},
		"major":   {ours.SystemID, 16, mib},
		"segment": {ours.SystemID, 15, 16 << 20},
	} {
		if _, err := OpenFor(context.Background(), r.Location, c); !errors.Is(err, ErrForeign) {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if other := repository(t); other.ID == r.ID {
		t.Error("two repositories have one id")
	}
}

// Of several that make a repository at once, all find the same one.
func TestOpenForRace(t *testing.T) {
	location := filepath.Join(t.TempDir(), "r")
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			r, err := OpenFor(context.Background(), location, ours)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("ids %q", ids)
		}
	}
}

func TestOpenForKeepsOutOfOccupiedPlaces(t *testing.T) {
	pgdata := t.TempDir()
	if err := fixture.DataDirectory(pgdata, 1, mib); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{pgdata, filepath.Join(pgdata, "pg_wal"), filepath.Join(pgdata, "new"), filepath.Join(pgdata, "pg_wal/a"), foreign} {
		before, _ := os.ReadDir(location)
		if _, err := OpenFor(context.Background(), location, ours); !errors.Is(err, ErrNoRepository) {
			t.Errorf("%s: %v", location, err)
		}
		if after, _ := os.ReadDir(location); len(after) != len(before) {
			t.Errorf("%s: left %v", location, after)
		}
	}
	// A mount point's lost+found and hidden files are nobody's data.
	if err := os.Remove(filepath.Join(foreign, "letter")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"lost+found", ".snapshots"} {
		if err := os.Mkdir(filepath.Join(foreign, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFor(context.Background(), foreign, ours); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	for file, key := range map[string]string{
		"000000010000000000000003":                 "wal/0000000100000000/000000010000000000000003",
		"0000000A000000FF000000FF":                 "wal/0000000A000000FF/0000000A000000FF000000FF",
		"000000010000000000000003.partial":         "wal/0000000100000000/000000010000000000000003.partial",
		"000000010000000000000003.00000028.backup": "wal/0000000100000000/000000010000000000000003.00000028.backup",
		"0000000A.history":                         "wal/history/0000000A.history",
	} {
		n := name(t, file)
		if got := layout.WALKey(n); got != key {
			t.Errorf("%s: %s, want %s", file, got, key)
		}
		for _, suffix := range []string{"", ".zst", ".gz", ".xz", ".lz4"} {
			got, f, ok := layout.ParseWALKey(key + suffix)
			if !ok || got != n || f.Suffix != suffix {
				t.Errorf("%s: %v %v %v", key+suffix, got, f, ok)
			}
		}
	}
	for _, key := range []string{
		"", "pgpipes", "wal/", "wal/history/", "wal/x", "000000010000000000000003", "wal/000000010000000000000003",
		"wal/0000000100000001/000000010000000000000003", "wal/0000000100000000/000000010000000000000003.bz2",
		"wal/0000000100000000/0000000100000000000000FG", "wal/0000000100000000/00000002.history", "wal/history/000000010000000000000003",
		"base/x/manifest", "wal/0000000100000000/000000010000000000000003.zst.zst", "wal/0000000100000000/sub/000000010000000000000003",
	} {
		if n, _, ok := layout.ParseWALKey(key); ok {
			t.Errorf("%q is %v", key, n)
		}
	}
}

// The key after a segment is behind all its files and before the next one's.
func TestAfterSegment(t *testing.T) {
	after := layout.AfterSegment("000000010000000000000003")
	for _, own := range []string{"", ".zst", ".lz4", ".partial", ".partial.xz", ".00000028.backup", ".FFFFFFFF.backup.gz"} {
		if key := "wal/0000000100000000/000000010000000000000003" + own; key >= after {
			t.Errorf("%s comes after %s", key, after)
		}
	}
	for _, next := range []string{"000000010000000000000004", "000000010000000000000010"} {
		if key := layout.WALKey(name(t, next)); key <= after {
			t.Errorf("%s comes before %s", key, after)
		}
	}
}

// There is no repository where the place was asked, or is not there. What is not
// there on the way to it, or behind a link, says nothing of that.
func TestNoRepositoryIsSaidOfThePlaceAlone(t *testing.T) {
	linked := t.TempDir()
	if err := os.Symlink("/not/mounted", filepath.Join(linked, layout.Identity)); err != nil {
		t.Fatal(err)
	}
	for location, none := range map[string]bool{
		t.TempDir(): true, filepath.Join(t.TempDir(), "gone"): true, linked: false,
		"s3://b/p?endpoint=http://127.0.0.1:1&credentials=/not/there": false,
		"s3://b/p?endpoint=http://127.0.0.1:1&ca=/not/there":          false,
	} {
		_, err := Open(t.Context(), location)
		if err == nil || errors.Is(err, ErrNoRepository) != none {
			t.Errorf("%s: %v", location, err)
		}
	}
}
