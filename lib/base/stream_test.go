package base

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"os/user"
	"path"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
)

const testSystemID = 7300000000000000001

const testLabel = `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 10:15:00 UTC
LABEL: nightly
START TIMELINE: 1
`

// testControl is a pg_control of release 15.
func testControl() []byte { return controlOf(testSystemID) }

func controlOf(system uint64) []byte {
	b := make([]byte, pgdata.ControlSize)
	le := binary.LittleEndian
	le.PutUint64(b[0:], system)
	for at, value := range map[int]uint32{8: 1300, 12: 202209061, 16: 6, 216: 8192, 220: 131072, 228: 16 << 20} {
		le.PutUint32(b[at:], value)
	}
	le.PutUint32(b[288:], crc32.Checksum(b[:288], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// member is a member of a test stream: a directory if its name ends in a
// slash, a link if it has a target, otherwise a file.
type member struct {
	name, data, link string
	mode             int64
	kind             byte // of the tar, where it is an odd one
}

// files are the members of a small backup, without its end.
func files() []member {
	return []member{
		{name: "./", mode: 0o750}, {name: "pg_tblspc/"},
		{name: "PG_VERSION", data: "15\n"}, {name: "base/", mode: 0o750}, {name: "base/1/"},
		{name: "base/1/1259", data: strings.Repeat("x", 3000)}, {name: "base/1/empty"},
		{name: "global/", mode: 0o750}, {name: "global/1262", data: "shared", mode: 0o640},
		{name: "pg_wal/"}, {name: "./pg_wal/archive_status/"},
	}
}

// withSpaces adds tablespaces, their directories in front of what is in them.
func withSpaces(list []member, oids ...string) []member {
	for _, oid := range oids {
		list = append(list, member{name: "pg_tblspc/" + oid + "/"})
	}
	for _, oid := range oids {
		dir := "pg_tblspc/" + oid + "/PG_15_202209061/"
		list = append(list, member{name: dir}, member{name: dir + "5/"}, member{name: dir + "5/16400", data: "in a tablespace"})
	}
	return list
}

// end are the members that end a backup.
func end(list []member, spaceMap string) []member {
	list = append(list, member{name: pgdata.LabelFile, data: testLabel})
	if spaceMap != "" {
		list = append(list, member{name: pgdata.TablespaceMapFile, data: spaceMap})
	}
	list = append(list, member{name: pgdata.ControlFile, data: string(testControl())})
	return append(list, member{name: pgdata.ManifestFile, data: serverManifest(list)})
}

func serverManifest(list []member) string {
	var b bytes.Buffer
	w := manifest.NewServerManifestWriter(&b)
	for _, m := range list {
		if !strings.HasSuffix(m.name, "/") && m.link == "" {
			sum := sha256.Sum256([]byte(m.data))
			if err := w.Add(path.Clean(m.name), int64(len(m.data)), testTime, hex.EncodeToString(sum[:])); err != nil {
				panic(err)
			}
		}
	}
	if err := w.Finish([]manifest.WALRange{{Timeline: 1, Start: 0x2000028, End: 0x2000100}}); err != nil {
		panic(err)
	}
	return b.String()
}

var testTime = time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)

// stream makes a tar.
func stream(t testing.TB, list []member) []byte {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		h := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(m.data)), Linkname: m.link, ModTime: testTime, Uname: me.Username, Gname: group.Name, Typeflag: tar.TypeReg}
		if h.Mode == 0 {
			h.Mode = 0o700
		}
		switch {
		case m.kind != 0:
			h.Typeflag = m.kind
		case m.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// backup is a small whole stream.
func backup(t testing.TB) []byte { return stream(t, end(files(), "")) }

// spaceBackup has the tablespaces 16384 and 16385, which lay at two places.
func spaceBackup(t testing.TB, first, second string) []byte {
	t.Helper()
	list := withSpaces(files(), "16384", "16385")
	return stream(t, end(list, fmt.Sprintf("16384 %s\n16385 %s\n", first, second)))
}

// manifestOf makes the manifest of a stream.
func manifestOf(t testing.TB, tar []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := CreateManifest(t.Context(), bytes.NewReader(tar), &b, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// replaceChecksum gives a file in a backup_manifest another checksum.
func replaceChecksum(text, name, algorithm, sum string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.Contains(line, `"`+name+`"`) {
			at := strings.Index(line, `"Checksum-Algorithm"`)
			rest := line[strings.LastIndex(line, "}"):]
			lines[i] = fmt.Sprintf(`%s"Checksum-Algorithm": "%s", "Checksum": "%s" %s`, line[:at], algorithm, sum, rest)
		}
	}
	body := strings.Join(lines[:len(lines)-2], "")
	return fmt.Sprintf("%s\"Manifest-Checksum\": \"%x\"}\n", body, sha256.Sum256([]byte(body)))
}
