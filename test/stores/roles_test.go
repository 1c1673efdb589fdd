package stores

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"pgpipes/lib/store"
	"pgpipes/test/fixture"
	"pgpipes/test/s3"
)

// permissions are what README.md gives a role: actions, and
// what they are for: the bucket, or what is below the prefix.
func permissions(t *testing.T, role string) (all [][2]string) {
	t.Helper()
	b, err := os.ReadFile("../../doc/repository.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(s3:[A-Za-z]+)` \\| `([^`]+)` \\| ([^|]*) \\|").FindAllStringSubmatch(string(b), -1) {
		for who := range strings.SplitSeq(m[3], ",") {
			if strings.TrimSpace(who) == role {
				all = append(all, [2]string{m[1], m[2]})
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("doc/repository.md gives no permission to %s", role)
	}
	return all
}

// policy is that of a bucket which lets an account do some things, for a repository
// at pg.
func policy(account string, allowed [][2]string) string {
	var statements []map[string]any
	for _, a := range allowed {
		resource := "arn:aws:s3:::bucket"
		if rest, below := strings.CutPrefix(a[1], "PREFIX/"); below {
			resource += "/pg/" + rest
		}
		statements = append(statements, map[string]any{
			"Effect": "Allow", "Principal": map[string][]string{"AWS": {account}}, "Action": []string{a[0]}, "Resource": []string{resource},
		})
	}
	text, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	return string(text)
}

// A role is somebody's work with a repository, which says what of it did not go as
// it should.
type role struct {
	name string
	work func(h *host, server *s3.Server, admin *minio.Client, repo string) (failed []string)
}

var roles = []role{
	{"reader", func(h *host, _ *s3.Server, _ *minio.Client, repo string) (failed []string) {
		return h.failing([]step{
			{1, []string{"wal-get", "--ahead", "0", "--retry", "0s", "-r", repo, segment(9), filepath.Join(h.dir, "none")}},
			{0, []string{"wal-get", "--ahead", "0", "--retry", "0s", "-r", repo, segment(1), filepath.Join(h.dir, "got")}},
			{0, []string{"repo", "get", "-r", repo, "base/b/000.tar"}},
			{0, []string{"repo", "stat", "-r", repo, "base/b/000.tar"}},
			{0, []string{"manifest", "list", "-r", repo}},
			{0, []string{"manifest", "verify", "--quick", "-r", repo}},
		})
	}},
	{"adder", func(h *host, _ *s3.Server, admin *minio.Client, repo string) (failed []string) {
		part := filepath.Join(h.dir, "part")
		h.check(os.WriteFile(part, bytes.Repeat([]byte("part"), 5<<20), 0o600)) // in several requests
		failed = h.failing([]step{
			{0, []string{"wal-push", "-r", repo, h.wal(4)}},
			{0, []string{"wal-push", "-r", repo, h.wal(4)}},
			{0, []string{"sh", "-c", `repo lock -r "$1" backup repo put -r "$1" base/c/000.tar <"$2"`, "sh", repo, part}},
			{0, []string{"repo", "lock", "-r", repo, "backup", "repo", "held", "-r", repo, "backup"}},
			{1, []string{"sh", "-c", `repo put -r "$1" base/c/000.tar <"$2"`, "sh", repo, filepath.Join(h.data, "global/pg_control")}},
			// What differs at the end has been sent in parts by then.
			{1, []string{"sh", "-c", `{ cat "$2"; echo more; } | repo put -r "$1" base/c/000.tar`, "sh", repo, part}},
		})
		return append(failed, leftBehind(h, admin, "pg/lease/backup/", 1)...)
	}},
	{"remover", func(h *host, server *s3.Server, admin *minio.Client, repo string) (failed []string) {
		core := minio.Core{Client: admin}
		id, err := core.NewMultipartUpload(h.t.Context(), "bucket", "pg/base/x/000.tar", minio.PutObjectOptions{})
		h.check(err)
		_, err = core.PutObjectPart(h.t.Context(), "bucket", "pg/base/x/000.tar", id, 1, strings.NewReader("x"), 1, minio.PutObjectPartOptions{})
		h.check(err)
		failed = h.failing([]step{
			{0, []string{"expire", "-r", repo, "--keep-last", "1"}},
			{0, []string{"manifest", "verify", "--quick", "-r", repo}},
			{0, []string{"manifest", "keep", "-r", repo, "b", "--reason", "r"}},
			{0, []string{"manifest", "unkeep", "-r", repo, "b"}},
		})
		keys := filepath.Join(h.dir, "keys")
		h.check(os.WriteFile(keys, []byte("[default]\naws_access_key_id = "+adder+"\naws_secret_access_key = "+adderSecret+"\n"), 0o600))
		s, err := store.Open(repo + "&credentials=" + keys)
		h.check(err)
		if err := s.(interface {
			Sweep(ctx context.Context, before time.Time) error
		}).Sweep(h.t.Context(), time.Now().Add(time.Hour)); err != nil {
			failed = append(failed, fmt.Sprint("sweep: ", err))
		}
		failed = append(failed, leftBehind(h, admin, "pg/base/old/", 0)...)
		return append(failed, leftBehind(h, admin, "pg/lease/expire/", 1)...)
	}},
}

// A step is a command and how it ends.
type step struct {
	status int
	argv   []string
}

func (h *host) failing(steps []step) (failed []string) {
	for _, s := range steps {
		if r := h.run(s.argv[0], s.argv[1:]...); r.status != s.status {
			failed = append(failed, fmt.Sprintf("%q: %+v", s.argv, r))
		}
	}
	return failed
}

// leftBehind says so if there are more objects with a prefix than there should be, or
// uploads.
func leftBehind(h *host, admin *minio.Client, prefix string, most int) (said []string) {
	n := 0
	for o := range admin.ListObjects(h.t.Context(), "bucket", minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		h.check(o.Err)
		n++
	}
	if n > most {
		said = append(said, fmt.Sprintf("%d objects in %s", n, prefix))
	}
	for u := range admin.ListIncompleteUploads(h.t.Context(), "bucket", "pg/", true) {
		h.check(u.Err)
		said = append(said, "an upload of "+u.Key)
	}
	return said
}

// shared is a repository with two backups, and a host that has another account.
func shared(t *testing.T) (server *s3.Server, admin *minio.Client, h *host) {
	t.Helper()
	server, admin, owner, h := addOnly(t, false)
	repo := server.Location("bucket/pg")
	owner.write(1, 3)
	for n := uint64(1); n <= 3; n++ {
		owner.must("wal-push", "--ahead", "0", "-r", repo, owner.wal(n))
	}
	for i, label := range []string{"old", "b"} {
		owner.store(repo, fixture.Backup{Label: label, First: uint64(1 + 2*i), Last: uint64(1 + 2*i), Stop: time.Now().Add(time.Duration(i-2) * time.Hour)})
	}
	h.write(4, 4)
	return server, admin, h
}

// What doc/repository.md allows a role is enough for its work, and all of it is needed.
func TestRoles(t *testing.T) {
	t.Parallel()
	for _, r := range roles {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			all := permissions(t, r.name)
			try := func(allowed [][2]string) []string {
				server, admin, h := shared(t)
				h.check(admin.SetBucketPolicy(t.Context(), "bucket", policy(adder, allowed)))
				return r.work(h, server, admin, server.Location("bucket/pg"))
			}
			if failed := try(all); len(failed) > 0 {
				t.Errorf("with all of %v: %s", all, strings.Join(failed, "\n"))
			}
			for i, without := range all {
				if failed := try(slices.Delete(slices.Clone(all), i, i+1)); len(failed) == 0 {
					t.Errorf("nothing fails without %v", without)
				}
			}
		})
	}
}

// A host that may not remove leaves a lease behind at every renewal: expire on
// another one removes them, and the lock goes on.
func TestLeasesLeftBehind(t *testing.T) {
	t.Parallel()
	server, admin, h := shared(t)
	repo := server.Location("bucket/pg")
	allowed := slices.DeleteFunc(permissions(t, "adder"), func(a [2]string) bool { return a[0] == "s3:DeleteObject" })
	h.check(admin.SetBucketPolicy(t.Context(), "bucket", policy(adder, allowed)))
	for range 3 {
		h.must("repo", "lock", "-r", repo, "backup", "true")
	}
	owner := newHost(t)
	left := func() int { return len(strings.Fields(owner.must("repo", "ls", "-r", repo, "lease/backup/"))) }
	if n := left(); n < 6 {
		t.Fatalf("only %d are left behind", n)
	}
	out := h.must("repo", "lock", "-r", repo, "backup", "env", "AWS_ACCESS_KEY_ID="+s3.Access, "AWS_SECRET_ACCESS_KEY="+s3.Secret,
		"expire", "-r", repo, "--keep-last", "1")
	if n := left(); n > 2 { // it has been renewed once, and given up
		t.Errorf("%d are left by\n%s", n, out)
	}
	h.must("repo", "lock", "-r", repo, "backup", "true")
}
