package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

var ranges = []WALRange{{1, 0x2000028, 0x3000000}, {2, 0x3000000, 0x1_00000100}}

// oddPaths are names that JSON has to escape or cannot hold.
var oddPaths = []string{
	"PG_VERSION", "global/pg_control", "pg_tblspc/16384/PG_15_202209061/5/16385", `a"b\c`,
	"a/\b\t\n\v\f\r\x1f\x7f", "caf\u00e9 \ufffd\U0001F418", "\xff\xfe/x",
}

func serverManifest(t testing.TB, ranges []WALRange, paths ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := NewServerManifestWriter(&b)
	for i, p := range paths {
		if err := w.Add(p, int64(i)*8192, noon.Add(time.Duration(i)*time.Second).In(time.FixedZone("x", 3600)), sum(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(ranges); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readServer(r io.Reader) (ServerManifest, []ServerFile, error) {
	var files []ServerFile
	m, err := ReadServerManifest(r, func(f ServerFile) error {
		files = append(files, f)
		return nil
	})
	return m, files, err
}

func TestServerManifestGolden(t *testing.T) {
	text := serverManifest(t, ranges, oddPaths...)
	golden(t, "written.backup_manifest", []byte(text))
	m, files, err := readServer(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (ServerManifest{Version: 1, WALRanges: ranges}); !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, want %+v", m, want)
	}
	for i, p := range oddPaths {
		if want := (ServerFile{p, int64(i) * 8192, "SHA256", sum(p), noon.Add(time.Duration(i) * time.Second)}); files[i] != want {
			t.Errorf("%+v, want %+v", files[i], want)
		}
	}
}

func TestServerManifestOfServer(t *testing.T) {
	b, err := os.ReadFile("testdata/postgresql15.backup_manifest")
	if err != nil {
		t.Fatal(err)
	}
	m, files, err := readServer(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want := ServerManifest{Version: 1, WALRanges: []WALRange{{1, 0x2000028, 0x2000100}}}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, want %+v", m, want)
	}
	version := ServerFile{"PG_VERSION", 3, "SHA256", sum("15\n"), time.Date(2026, 11, 22, 9, 37, 58, 0, time.UTC)}
	if len(files) != 8 || files[1] != version {
		t.Errorf("files %+v", files)
	}
}

func TestServerManifestEmpty(t *testing.T) {
	m, files, err := readServer(strings.NewReader(serverManifest(t, nil)))
	if err != nil || len(files) != 0 || m.WALRanges != nil {
		t.Errorf("%+v, %v, %v", m, files, err)
	}
}

func TestServerManifestWriterRefuses(t *testing.T) {
	cases := map[string]func(w *ServerManifestWriter) error{
		"path":    func(w *ServerManifestWriter) error { return w.Add("../a", 1, noon, sum("")) },
		"root":    func(w *ServerManifestWriter) error { return w.Add(".", 1, noon, sum("")) },
		"size":    func(w *ServerManifestWriter) error { return w.Add("a", -1, noon, sum("")) },
		"hash":    func(w *ServerManifestWriter) error { return w.Add("a", 1, noon, "ab") },
		"no hash": func(w *ServerManifestWriter) error { return w.Add("a", 1, noon, "") },
	}
	for name, add := range cases {
		if add(NewServerManifestWriter(io.Discard)) == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	size := len(serverManifest(t, ranges, oddPaths...))
	for n := range size {
		w := NewServerManifestWriter(&failing{n})
		for i, p := range oddPaths {
			w.Add(p, int64(i)*8192, noon, sum(p))
		}
		if err := w.Finish(ranges); !errors.Is(err, errDisk) {
			t.Fatalf("after %d of %d bytes: %v", n, size, err)
		}
	}
}

func TestServerManifestCutOrFlipped(t *testing.T) {
	whole := serverManifest(t, ranges, oddPaths...)
	for n := range whole {
		if _, _, err := readServer(strings.NewReader(whole[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		for _, bits := range []byte{1 << (n % 8), 0xff} {
			b := []byte(whole)
			b[n] ^= bits
			m, _, err := readServer(bytes.NewReader(b))
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) && !onlyCase(whole, n, bits) {
				t.Fatalf("bits %#x of byte %d: %+v, %v", bits, n, m, err)
			}
		}
	}
}

// onlyCase holds for the changes of the last line that mean nothing, those of
// the case of a hex digit.
func onlyCase(text string, at int, bits byte) bool {
	old, changed := text[at:at+1], string([]byte{text[at] ^ bits})
	inLast := at > strings.LastIndexByte(text[:len(text)-1], '\n')
	return inLast && strings.EqualFold(old, changed)
}

// serverSeal adds the end that goes with body, which must end in a newline.
func serverSeal(body string) string {
	return body + `"Manifest-Checksum": "` + sum(body) + "\"}\n"
}

const (
	serverHead = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
	crcFields  = `"Checksum-Algorithm": "CRC32C", "Checksum": "8a744722"`
)

// serverFile is a whole backup_manifest of one file.
func serverFile(fields string) string {
	return serverSeal(serverHead + `"Files": [ {` + fields + "} ],\n")
}

func TestReadServerManifest(t *testing.T) {
	v2 := "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": %s,\n\"Files\": [],\n"
	cases := []struct {
		name, text string
		manifest   ServerManifest
		files      []ServerFile
	}{
		{"version 2", serverSeal(fmt.Sprintf(v2, "18446744073709551615")), ServerManifest{Version: 2, SystemID: 1<<64 - 1}, nil},
		{"identifier as a string", serverSeal(fmt.Sprintf(v2, `"7"`)), ServerManifest{Version: 2, SystemID: 7}, nil},
		{"without time and checksum", serverFile(`"Path": "a", "Size": 3`), ServerManifest{Version: 1}, []ServerFile{{"a", 3, "NONE", "", time.Time{}}}},
		{"size as a string", serverFile(`"Size": "3", "Path": "a"`), ServerManifest{Version: 1}, []ServerFile{{"a", 3, "NONE", "", time.Time{}}}},
		{"CRC32C", serverFile(`"Path": "a", "Size": 3, ` + crcFields), ServerManifest{Version: 1}, []ServerFile{{"a", 3, "CRC32C", "8a744722", time.Time{}}}},
		{"any case", serverFile(`"Encoded-Path": "fFaA", "Size": 3, ` +
			`"Checksum-Algorithm": "crc32c", "Checksum": "8A744722"`), ServerManifest{Version: 1}, []ServerFile{{"\xff\xaa", 3, "CRC32C", "8a744722", time.Time{}}}},
		{"spaces and CRLF", serverSeal("\r\n" + strings.ReplaceAll(serverHead, " ", "\t\r\n") + "\r\n\"WAL-Ranges\" :[ ] , \"Files\":[]\r\n,\r\n"), ServerManifest{Version: 1}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, files, err := readServer(strings.NewReader(c.text))
			if err != nil || !reflect.DeepEqual(m, c.manifest) || !reflect.DeepEqual(files, c.files) {
				t.Errorf("%+v, %+v, %v", m, files, err)
			}
		})
	}
}

func TestReadServerManifestRefuses(t *testing.T) {
	good := serverFile(`"Path": "a", "Size": 3, ` + crcFields)
	if _, _, err := readServer(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	path := func(p string) string { return serverFile(`"Path": "` + p + `", "Size": 1`) }
	top := func(line string) string { return serverSeal(serverHead + line + "\n\"Files\": [],\n") }
	walRange := func(r string) string { return top(`"WAL-Ranges": [{` + r + `}],`) }
	cases := map[string]string{
		"nothing":                 "",
		"not an object":           "[]\n\n",
		"one line":                strings.ReplaceAll(good, "\n", "") + "\n",
		"brace on its own line":   strings.Replace(good, "\"}\n", "\"\n}\n", 1),
		"no newline at the end":   strings.TrimSuffix(good, "\n"),
		"newline after the end":   good + "\n",
		"another object":          good + good,
		"wrong checksum":          strings.Replace(good, "8a74", "8a75", 1),
		"no checksum":             serverHead + "\"Files\": []\n\n}\n",
		"empty checksum":          serverHead + "\"Files\": [],\n\"Manifest-Checksum\": \"\"}\n",
		"key after the checksum":  strings.Replace(good, "\"}\n", "\", \"WAL-Ranges\": []}\n", 1),
		"no files":                serverSeal(serverHead),
		"files twice":             top(`"Files": [],`),
		"no version":              serverSeal("{ \"Files\": [],\n"),
		"version is not first":    serverSeal("{ \"Files\": [],\n\"PostgreSQL-Backup-Manifest-Version\": 1,\n"),
		"version twice":           top(`"PostgreSQL-Backup-Manifest-Version": 1,`),
		"version is not a number": serverSeal("{ \"PostgreSQL-Backup-Manifest-Version\": [],\n"),
		"identifier in version 1": top(`"System-Identifier": 7,`),
		"no identifier in 2":      serverSeal("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"Files\": [],\n"),
		"unknown key":             top(`"X-Made-By": "me",`),
		"unknown key of a file":   serverFile(`"Path": "a", "Size": 1, "Mode": 7`),
		"files are no list":       serverSeal(serverHead + "\"Files\": {},\n"),
		"key of a file twice":     serverFile(`"Path": "a", "Path": "b", "Size": 1`),
		"no path":                 serverFile(`"Size": 1`),
		"two paths":               serverFile(`"Path": "a", "Encoded-Path": "61", "Size": 1`),
		"path is not hex":         serverFile(`"Encoded-Path": "6", "Size": 1`),
		"path is null":            serverFile(`"Path": null, "Size": 1`),
		"absolute":                path("/a"),
		"parent":                  path("a/../../b"),
		"parent in hex":           serverFile(`"Encoded-Path": "2e2e2f61", "Size": 1`),
		"leading dot":             path("./a"),
		"the root":                path("."),
		"NUL":                     path(`a\u0000`),
		"not UTF-8":               path("a\xff"),
		"not UTF-8, later":        path(strings.Repeat("\u20ac", 40_000) + "\xe2\x82"),
		"endless path":            path(strings.Repeat("a", 4*maxToken)),
		"no size":                 serverFile(`"Path": "a"`),
		"negative size":           serverFile(`"Path": "a", "Size": -1`),
		"size with exponent":      serverFile(`"Path": "a", "Size": 1e3`),
		"size is too large":       serverFile(`"Path": "a", "Size": 9223372036854775808`),
		"algorithm only":          serverFile(`"Path": "a", "Size": 1, "Checksum-Algorithm": "SHA256"`),
		"checksum only":           serverFile(`"Path": "a", "Size": 1, "Checksum": "8a744722"`),
		"unknown algorithm":       serverFile(`"Path": "a", "Size": 1, "Checksum-Algorithm": "SHA-256", "Checksum": "00"`),
		"short checksum":          serverFile(`"Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "8a7447"`),
		"checksum is not hex":     serverFile(`"Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "8a74472x"`),
		"range without timeline":  walRange(`"Start-LSN": "0/0", "End-LSN": "0/1"`),
		"range of timeline 0":     walRange(`"Timeline": 0, "Start-LSN": "0/0", "End-LSN": "0/1"`),
		"range backwards":         walRange(`"Timeline": 1, "Start-LSN": "0/2", "End-LSN": "0/1"`),
		"range of words":          walRange(`"Timeline": 1, "Start-LSN": "0/x", "End-LSN": "0/1"`),
		"range with more":         walRange(`"Timeline": 1, "Start-LSN": "0/0", "End-LSN": "0/1", "x": 1`),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if _, _, err := readServer(strings.NewReader(text)); !errors.Is(err, ErrDamaged) {
				t.Errorf("error %v", err)
			}
		})
	}
	v3 := strings.Replace(good, "Version\": 1", "Version\": 3", 1)
	if _, _, err := readServer(strings.NewReader(v3)); !errors.Is(err, ErrVersion) {
		t.Errorf("version 3: %v", err)
	}
}

func TestServerManifestErrorsArePassedOn(t *testing.T) {
	whole := serverManifest(t, ranges, oddPaths...)
	for n := range len(whole) + 1 {
		r := io.MultiReader(strings.NewReader(whole[:n]), iotest.ErrReader(errDisk))
		if _, _, err := readServer(r); err != errDisk {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	_, err := ReadServerManifest(strings.NewReader(whole), func(ServerFile) error { return errDisk })
	if err != errDisk {
		t.Errorf("error of each: %v", err)
	}
}

func TestServerManifestIsStreamed(t *testing.T) {
	text := serverFile(strings.TrimSuffix(strings.Repeat(`"Path": "a", "Size": 3}, {`, 100_000), "}, {"))
	if _, files, err := readServer(strings.NewReader(text)); err != nil || len(files) != 100_000 {
		t.Errorf("%d files in one line, %v", len(files), err)
	}
}

func TestServerHash(t *testing.T) {
	// The sums of PG_VERSION as pg_basebackup of release 15 writes them.
	cases := map[string]string{
		"CRC32C": "8a744722",
		"SHA256": "238903180cc104ec2c5d8b3f20c5bc61b389ec0a967df8cc208cdc7cd454174f",
		"NONE":   "",
	}
	for name, want := range cases {
		h, err := NewServerHash(strings.ToLower(name))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(h, "15\n")
		if got := hex.EncodeToString(h.Sum(nil)); got != want || h.Size() != len(want)/2 {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, size := range map[string]int{"SHA224": 28, "SHA384": 48, "SHA512": 64} {
		if h, err := NewServerHash(name); err != nil || h.Size() != size {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewServerHash("SHA-256"); err == nil {
		t.Error("SHA-256 is not refused")
	}
}

func FuzzServerManifest(f *testing.F) {
	f.Add([]byte(serverManifest(f, ranges, oddPaths...)))
	f.Add([]byte(serverFile(`"Encoded-Path": "ff", "Size": "3", ` + crcFields)))
	f.Add([]byte(serverSeal("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7,\n\"Files\": [],\n")))
	for _, name := range []string{"written", "postgresql15"} {
		b, err := os.ReadFile("testdata/" + name + ".backup_manifest")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkFuzzedServer(t, text)
		if i := bytes.LastIndex(text, []byte(`"Manifest-Checksum"`)); i >= 0 {
			checkFuzzedServer(t, []byte(serverSeal(string(text[:i]))))
		}
	})
}

func checkFuzzedServer(t *testing.T, text []byte) {
	_, files, err := readServer(bytes.NewReader(text))
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("neither damaged nor of another version: %v", err)
		}
		return
	}
	if !utf8.Valid(text) {
		t.Error("what is not UTF-8 is not refused")
	}
	for _, f := range files {
		if !validPath(f.Path) || f.Size < 0 {
			t.Errorf("file %+v", f)
		}
	}
}
