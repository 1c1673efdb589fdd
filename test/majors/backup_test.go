package majors

import (
	"os"
	"strings"

	"pgpipes/test/pgtest"
)

// A way is a source of a backup and what becomes of it.
type way struct {
	name    string
	long    bool // not where one major stands for all
	stream  bool // the server sends its files
	parts   bool
	options []string
}

var ways = []way{
	{name: "directory", long: true},
	{name: "directory in parts", parts: true},
	{name: "directory with WAL", long: true, options: []string{"--with-wal"}},
	{name: "server", stream: true},
	{name: "server in parts", stream: true, parts: true},
	{name: "server with WAL", long: true, stream: true, options: []string{"--with-wal"}},
}

// A backup is one that has been taken.
type backup struct {
	way
	label    string
	manifest string
	file     string // holds the stream, "" for parts
	digest   string // of the cluster when it had been taken
}

// backUp takes a backup of a busy server.
func (s *site) backUp(of *pgtest.Cluster, w way) *backup {
	s.t.Helper()
	b := &backup{way: w, label: strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(s.t.Name()), manifest: s.path("manifest")}
	stop := s.busy()
	server := &site{of, s.t, s.dir, s.repo}
	args := append([]string{"-r", s.repo, "-m", b.manifest, "--label", b.label, "--fast", "-d", of.ConnInfo()}, w.options...)
	if w.stream {
		args = append(args, "--stream")
	} else {
		args = append(args, "-D", of.Data)
	}
	if w.parts {
		args = append(args, "-j", "2", "--part-size", "4MiB",
			"--filter", `repo put -r `+s.repo+` --compress zstd "base/$LABEL/$PART.tar.zst"`)
	}
	cmd := server.command("base-copy", args...)
	if !w.parts {
		b.file = s.path("tar")
		out, err := os.Create(b.file)
		must(s.t, err)
		defer out.Close()
		cmd.Stdout = out
	}
	s.finish(cmd)
	stop()
	b.digest = s.SQL(digest)
	s.archived()
	if w.parts {
		s.store(b)
	}
	return b
}

// store publishes a backup in parts and has it verified.
func (s *site) store(b *backup) {
	s.t.Helper()
	in, err := os.Open(b.manifest)
	must(s.t, err)
	defer in.Close()
	cmd := s.command("repo", "put", "-r", s.repo, "base/"+b.label+"/manifest")
	cmd.Stdin = in
	s.finish(cmd)
	s.must("manifest", "verify", "-r", s.repo, b.label)
}

// upload has a server of 17 or later read the manifest of a backup as version 2
// of its own, which it wants before an increment.
func (s *site) upload() {
	b := s.backUp(s.Cluster, way{name: "directory"})
	s.must("sh", "-euc", `manifest convert --to backup_manifest-v2 "$1" >"$1.v2"; manifest convert --to backup_manifest "$1" >"$1.v1"
		psql -X "$2 replication=true" -c UPLOAD_MANIFEST <"$1.v2"
		! psql -X "$2 replication=true" -c UPLOAD_MANIFEST <"$1.v1" 2>"$1.says"
		grep 'backup manifest version 1 does not support incremental backup' "$1.says"`, "sh", b.manifest, s.ConnInfo())
}
