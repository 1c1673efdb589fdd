package stores

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"pgpipes/test/fixture"
	"pgpipes/test/s3"
)

// The keys of a database host.
const (
	adder       = "adder"
	adderSecret = "a secret of the adder's"
)

// adding is what README.md lets a database host do in its bucket.
const adding = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Principal": {"AWS": ["adder"]}, "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::bucket"]},
  {"Effect": "Allow", "Principal": {"AWS": ["adder"]}, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::bucket/*"]},
  {"Effect": "Allow", "Principal": {"AWS": ["adder"]}, "Action": ["s3:DeleteObject"], "Resource": ["arn:aws:s3:::bucket/pg/lease/*"]}]}`

// addOnly is a repository to which a host may only add. Its bucket keeps versions
// if so asked for.
func addOnly(t *testing.T, versions bool) (server *s3.Server, admin *minio.Client, owner, host *host) {
	server = s3.StartVersioned(t, "bucket", false)
	admin = server.Client(s3.Access, s3.Secret)
	server.Account(adder, adderSecret)
	owner, host = newHost(t), newHost(t)
	host.env = []string{"AWS_ACCESS_KEY_ID=" + adder, "AWS_SECRET_ACCESS_KEY=" + adderSecret}
	owner.check(admin.SetBucketPolicy(t.Context(), "bucket", adding))
	if versions {
		owner.check(admin.EnableVersioning(t.Context(), "bucket"))
	}
	owner.must("repo", "init", "-r", server.Location("bucket/pg"), "-D", owner.data)
	return server, admin, owner, host
}

// allVersions are the contents of all that a bucket has ever had, by name.
func allVersions(t *testing.T, admin *minio.Client) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for o := range admin.ListObjects(t.Context(), "bucket", minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if o.IsDeleteMarker {
			continue
		}
		body, err := admin.GetObject(t.Context(), "bucket", o.Key, minio.GetObjectOptions{VersionID: o.VersionID})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		body.Close()
		if err != nil {
			t.Fatalf("%s, version %s: %v", o.Key, o.VersionID, err)
		}
		all[o.Key] = append(all[o.Key], string(text))
	}
	return all
}

// Whoever has the keys of a database host can add, and cover what is there with
// something newer, but the bucket has kept all.
func TestAddOnly(t *testing.T) {
	t.Parallel()
	server, admin, owner, h := addOnly(t, true)
	repo := server.Location("bucket/pg")
	h.write(1, 3)
	h.must("wal-push", "-r", repo, h.wal(1))
	for range 3 { // each removes the lease before it
		h.must("repo", "lock", "-r", repo, "backup", "true")
	}
	part := filepath.Join(h.dir, "part")
	h.check(os.WriteFile(part, bytes.Repeat([]byte("part"), 5<<20), 0o600)) // in several requests
	h.must("sh", "-c", `repo put -r "$1" base/b/000.tar <"$2"`, "sh", repo, part)
	h.must("wal-get", "--ahead", "0", "-r", repo, segment(1), filepath.Join(h.dir, "got"))
	before := allVersions(t, admin)

	key := "wal/0000000100000000/" + segment(1) + ".zst"
	for _, command := range [][]string{{"repo", "rm", "-r", repo, key}, {"repo", "rm", "-r", repo, "base/b/000.tar"}} {
		if r := h.run(command[0], command[1:]...); r.status != 111 || !strings.Contains(r.err, "AccessDenied") {
			t.Errorf("%q: %+v", command, r)
		}
	}
	other := make([]byte, 1<<16)
	if r := h.run("sh", "-c", `repo put -r "$1" base/b/000.tar </dev/null`, "sh", repo); r.status != 1 {
		t.Errorf("overwriting with our own means: %+v", r)
	}
	evil, ctx := server.Client(adder, adderSecret), t.Context()
	name := "pg/" + key
	version := func() string {
		for o := range admin.ListObjects(ctx, "bucket", minio.ListObjectsOptions{Prefix: name, WithVersions: true}) {
			return o.VersionID
		}
		return ""
	}()
	for what, attack := range map[string]func() error{
		"remove": func() error { return evil.RemoveObject(ctx, "bucket", name, minio.RemoveObjectOptions{}) },
		"remove version": func() error {
			return evil.RemoveObject(ctx, "bucket", name, minio.RemoveObjectOptions{VersionID: version})
		},
		"remove many": func() error {
			names := make(chan minio.ObjectInfo, 1)
			names <- minio.ObjectInfo{Key: name}
			close(names)
			for failed := range evil.RemoveObjects(ctx, "bucket", names, minio.RemoveObjectsOptions{}) {
				return failed.Err
			}
			return nil
		},
		"stop versions": func() error { return evil.SuspendVersioning(ctx, "bucket") },
		"set policy": func() error {
			return evil.SetBucketPolicy(ctx, "bucket", strings.Replace(adding, "s3:GetObject", "s3:*", 1))
		},
		"remove bucket": func() error { return evil.RemoveBucket(ctx, "bucket") },
	} {
		if err := attack(); minio.ToErrorResponse(err).Code != minio.AccessDenied {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := evil.PutObject(ctx, "bucket", name, bytes.NewReader(other), int64(len(other)), minio.PutObjectOptions{}); err != nil {
		t.Fatalf("overwriting, which nothing keeps from happening: %v", err)
	}
	after := allVersions(t, admin)
	for name, contents := range before {
		for _, text := range contents {
			if !slices.Contains(after[name], text) && !strings.Contains(name, "/lease/") {
				t.Errorf("%s is lost", name)
			}
		}
	}
	got := filepath.Join(owner.dir, "got")
	if r := owner.run("wal-get", "--ahead", "0", "--retry", "0s", "-r", repo, segment(1), got); r.status != 254 {
		t.Errorf("what was overwritten: %+v", r)
	}
	for o := range admin.ListObjects(ctx, "bucket", minio.ListObjectsOptions{Prefix: name, WithVersions: true}) {
		if o.IsLatest {
			owner.check(admin.RemoveObject(ctx, "bucket", name, minio.RemoveObjectOptions{VersionID: o.VersionID}))
		}
	}
	owner.must("wal-get", "--ahead", "0", "-r", repo, segment(1), got)
}

// Without versions the same keys can overwrite what is there for good: README.md
// says so.
func TestWithoutVersions(t *testing.T) {
	t.Parallel()
	server, admin, _, h := addOnly(t, false)
	h.write(1, 1)
	h.must("wal-push", "-r", server.Location("bucket/pg"), h.wal(1))
	name := "pg/wal/0000000100000000/" + segment(1) + ".zst"
	if _, err := server.Client(adder, adderSecret).PutObject(t.Context(), "bucket", name, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if all := allVersions(t, admin); !slices.Equal(all[name], []string{"x"}) {
		t.Errorf("%q", all[name])
	}
}

// What is locked expire removes from sight, and the bucket keeps it. Where it may
// not even do that it says so, and goes on.
func TestLocked(t *testing.T) {
	t.Parallel()
	server := s3.StartVersioned(t, "bucket", true)
	admin := server.Client(s3.Access, s3.Secret)
	mode, days, unit := minio.Compliance, uint(1), minio.Days
	h := newHost(t)
	h.check(admin.SetBucketObjectLockConfig(t.Context(), "bucket", &mode, &days, &unit))
	repo := server.Location("bucket/pg")
	h.must("repo", "init", "-r", repo, "-D", h.data)
	h.write(1, 6)
	for n := uint64(1); n <= 6; n++ {
		h.must("wal-push", "-r", repo, h.wal(n))
	}
	now := time.Now()
	for i, label := range []string{"old", "new"} {
		h.store(repo, fixture.Backup{Label: label, First: uint64(1 + 3*i), Last: uint64(2 + 3*i), Stop: now.Add(time.Duration(i-2) * time.Hour)})
	}
	before := allVersions(t, admin)
	stubborn := []string{"base/old/000.tar", "wal/0000000100000000/" + segment(2) + ".zst"}
	p := server.Before(t, of(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && slices.ContainsFunc(stubborn, func(key string) bool { return strings.HasSuffix(r.URL.Path, key) })
	}, says(403, "application/xml", "<Error><Code>AccessDenied</Code><Message>Object is locked.</Message></Error>")).to(server))
	r := h.run("expire", "-r", p.Location("bucket/pg"), "--keep-last", "1")
	if r.status != 111 || !strings.Contains(r.err, "2 objects could not be removed") {
		t.Errorf("%+v", r)
	}
	for _, key := range stubborn {
		if !strings.Contains(r.err, "removing "+key+" in s3://bucket/pg: Object is locked. (AccessDenied)") {
			t.Errorf("nothing of %s: %s", key, r.err)
		}
	}
	kept := []string{"base/new/000.tar", "base/new/manifest", "lease/expire/0000000002", "pgpipes"}
	for n := uint64(4); n <= 6; n++ {
		kept = append(kept, "wal/0000000100000000/"+segment(n)+".zst")
	}
	left := strings.Fields(h.must("repo", "ls", "-r", repo))
	if want := slices.Sorted(slices.Values(append(stubborn, kept...))); !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	after := allVersions(t, admin)
	maps.DeleteFunc(after, func(key string, _ []string) bool { return strings.Contains(key, "/lease/expire/") })
	if !maps.EqualFunc(before, after, slices.Equal) {
		t.Errorf("%d objects in all, of %d", len(after), len(before))
	}
}
