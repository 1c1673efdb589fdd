package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
)

// taken is what a base-copy left: its stream and its manifest.
type taken struct{ file, manifest string }

// streamed has the server send a backup.
func (s *site) streamed(label string, options ...string) (taken, result) {
	s.t.Helper()
	return s.copied(label, append([]string{"--stream"}, options...)...)
}

func (s *site) copied(label string, options ...string) (taken, result) {
	s.t.Helper()
	b := taken{s.path(label + ".tar"), s.path(label + ".manifest")}
	cmd := s.Command("base-copy", append([]string{"--fast", "--label", label, "-m", b.manifest}, options...)...)
	out, err := os.Create(b.file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	return b, finish(s.t, cmd)
}

func (s *site) mustStream(label string, options ...string) taken {
	s.t.Helper()
	b, r := s.streamed(label, options...)
	if r.status != 0 {
		s.t.Fatal(r)
	}
	return b
}

// complete makes sure that base-restore takes a stream for what its manifest
// says.
func (s *site) complete(b taken) {
	s.t.Helper()
	dir := s.path(filepath.Base(b.file) + ".data")
	s.must("mkdir", "-p", s.path("spaces"))
	if r := s.fed(b.file, "base-restore", "-D", dir, "-m", b.manifest, "--tablespace-root", s.path("spaces")); r.status != 0 {
		s.t.Error(r)
	}
	s.must("pg_verifybackup", "-n", dir)
	s.must("rm", "-r", dir)
	s.must("rm", "-rf", s.path("spaces"))
}

// differences compares two manifests, but for what every backup has its own of.
func differences(t *testing.T, a, b string) (all []string) {
	t.Helper()
	open := func(name string) *manifest.Reader {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		m, err := manifest.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	own := map[string]bool{"backup_label": true, "backup_manifest": true, "global/pg_control": true}
	for d, err := range manifest.Compare(open(a), open(b), manifest.CompareOptions{Ignore: func(name string) bool { return own[name] }}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.String())
	}
	return all
}

// What the server sends becomes the same as what is read from its directory,
// compressed on the way or not.
func TestStreamIsLikeTheDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.must("sh", "-euc", `cd "$1" && mkdir "odd dir" "odd dir/empty" && mkdir -p base/pgsql_tmp && touch "odd dir/käse" backup_label.old base/pgsql_tmp/pgsql_tmp1.2 && chmod 640 "odd dir/käse" && head -c 3000000 /dev/zero > large`,
		"sh", s.Data)
	s.SQL("CHECKPOINT")
	s.SQL("VACUUM")
	s.must("ln", "-s", "/etc/passwd", filepath.Join(s.Data, "linked"))
	directory, r := s.copied("directory", "-D", s.Data, "-r", s.repo)
	if r.status != 0 || !strings.Contains(r.err, "linked") {
		t.Fatal(r)
	}
	if _, r := s.streamed("warned", "-r", s.repo); !strings.Contains(r.err, "linked") {
		t.Errorf("nothing is said of a link: %s", r)
	}
	ways := map[string][]string{
		"plain": nil, "gzip": {"--server-compress", "gzip:1"}, "lz4": {"--server-compress", "lz4"}, "zstd": {"--server-compress", "zstd:3"},
	}
	for name, options := range ways {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			b := s.mustStream(name, append(options, "-r", s.repo)...)
			if d := differences(t, directory.manifest, b.manifest); len(d) > 0 {
				t.Errorf("%d differences: %.10q", len(d), d)
			}
			s.complete(b)
		})
	}
}

// A bad page fails the backup, unless it may not: then it is in the manifest.
func TestStreamOfBadPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE bad AS SELECT generate_series(1, 5000) n")
	s.SQL("CHECKPOINT")
	name := s.SQL("SELECT pg_relation_filepath('bad')")
	damage(t, filepath.Join(s.Data, name), 3*8192+5000)
	b, r := s.streamed("fail", "-r", s.repo)
	if r.status != 1 || !strings.Contains(r.err, "checksum verification failure") || !strings.Contains(r.err, name+": block 3: wrong checksum") {
		t.Error(r)
	}
	(&heldCopy{site: s, file: b.file, manifest: b.manifest}).incomplete()
	expect(t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")

	b = s.mustStream("warn", "-r", s.repo, "--bad-pages", "warn")
	text, err := os.ReadFile(b.manifest)
	if err != nil || !strings.Contains(string(text), "\nbad-page\t3\t") {
		t.Errorf("%v, %.500s", err, text)
	}
	s.complete(b)
}

// A part that comes from the server cannot be written again: the backup fails.
func TestStreamWithFailingFilter(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	for name, filter := range map[string]string{
		"reads all":     `cat >/dev/null; [ "$PART" != 001 ] || exit 3`,
		"reads nothing": `[ "$PART" != 001 ] || exit 3; cat >/dev/null`,
		"last part":     `cat >"$PART.part"; tar -tf "$PART.part" 2>/dev/null | grep -q '^backup_manifest' && exit 3; exit 0`,
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			label := strings.ReplaceAll(name, " ", "-")
			b, r := s.streamed(label, "-r", s.repo, "--part-size", "2MiB", "-j", "3", "--filter", "cd "+s.dir+"; "+filter)
			want := "part 001: "
			if name == "last part" {
				want = "it is written again"
			}
			if r.status != 111 || !strings.Contains(r.err, want) || !strings.Contains(r.err, "status 3") || exists(b.manifest) {
				t.Error(r)
			}
		})
	}
	s.noBackupRuns()
}

// As many commands are at work at once as there may be, and every part is whole.
func TestStreamInParts(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	must := s.must
	must("mkdir", s.path("parts"), s.path("running"), s.path("spaces"))
	filter := fmt.Sprintf(`cd %s; : >running/$PART; ls running | wc -l >>most; cat >parts/$PART; sleep 0.1; rm running/$PART`, s.dir)
	b := s.mustStream("p", "-r", s.repo, "--part-size", "1MiB", "-j", "3", "--filter", filter)
	most := 0
	for line := range strings.Lines(must("cat", s.path("most"))) {
		n, _ := strconv.Atoi(strings.TrimSpace(line))
		most = max(most, n)
	}
	if most < 2 || most > 3 {
		t.Errorf("%d at once", most)
	}
	must("sh", "-euc", `for part in "$1"/parts/*; do tar -tf "$part" >/dev/null; done`, "sh", s.dir)
	must("base-restore", "-D", s.path("data"), "-m", b.manifest, "--tablespace-root", s.path("spaces"), "-j", "2", "--source", "cat "+s.path("parts")+"/$PART")
	must("pg_verifybackup", "-n", s.path("data"))
}

// A promotion during the backup fails it at once.
func TestStreamFromPromotedStandby(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE large AS SELECT generate_series(1, 400000) n")
	standby := s.Standby(strings.Replace(archiveTo(t, s.repo), "%%", "%", 1))
	cmd := s.Command("base-copy", "--stream", "--fast", "--max-rate", "2MiB", "-r", s.repo, "-m", s.path("m"), "-d", standby.ConnInfo())
	out, err := os.Create(s.path("tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = out
	ended := make(chan result, 1)
	go func() { ended <- finish(t, cmd) }()
	eventually(t, "a megabyte", func() bool { info, err := out.Stat(); return err == nil && info.Size() > 1<<20 })
	began := time.Now()
	standby.SQL("SELECT pg_promote()")
	r := <-ended
	if r.status != 111 || !strings.Contains(r.err, "promoted") || time.Since(began) > 15*time.Second || exists(s.path("m")) {
		t.Errorf("after %s: %s", time.Since(began), r)
	}
	expect(t, "in the repository", s.must("repo", "ls", "-r", s.repo, "base/"), "")
	// From now on backups of it need its history.
	fresh := s.path("fresh")
	s.must("base-copy", "--stream", "--fast", "--no-archive-check", "-d", standby.ConnInfo(), "-r", fresh, "--filter", "cat >/dev/null", "-m", s.path("n"))
	if !exists(filepath.Join(fresh, "wal/history/00000002.history")) {
		t.Error("no history in the repository")
	}
}

// Where only replication is allowed, a backup is possible without looking at
// the archive.
func TestStreamAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE ROLE courier LOGIN REPLICATION")
	if err := os.WriteFile(filepath.Join(s.Data, "pg_hba.conf"), []byte("local replication courier trust\nlocal all postgres trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.SQL("SELECT pg_reload_conf()")
	as := []string{"-d", "user=courier", "-r", s.repo}
	eventually(t, "pg_hba.conf", func() bool { _, r := s.streamed("checked", as...); return r.status == 111 })
	b := s.mustStream("alone", append(as, "--no-archive-check")...)
	s.complete(b)
	s.refuses(100, "gzip, lz4 or zstd", "base-copy", "--stream", "--server-compress", "xz")
	s.refuses(100, "belongs to --stream", "base-copy", "-D", s.Data, "--server-compress", "gzip")
	s.refuses(100, "--since needs", "base-copy", "--stream", "--since", b.manifest)
}

// Whatever ends a backup, the stream cannot be taken for one, and nothing stays
// behind.
func TestStreamIsKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE large AS SELECT generate_series(1, 200000) n")
	for _, who := range []string{"base-copy", "server", "reader"} {
		t.Run(who, func(t *testing.T) {
			s := s.in(t)
			h := s.hold("killed-"+who, 4<<20, "--stream", "--max-rate", "16MiB")
			switch who {
			case "base-copy":
				h.cmd.Process.Kill()
			case "server":
				s.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'")
			case "reader":
				h.stream.Close()
				h.cmd.Wait()
			}
			if who != "reader" {
				if r := h.end(); r.status == 0 {
					t.Error(r)
				}
			}
			h.incomplete()
			s.noBackupRuns()
			s.Until("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'", "0")
		})
	}
	s.mustStream("next", "-r", s.repo)
}
