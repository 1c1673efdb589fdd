package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCutAnywhere(t *testing.T) {
	whole := write(t, runSize, fullHeader(), allEntries()...)
	for n := range whole {
		if _, _, err := read(bytes.NewReader(whole[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestFlipAnywhere(t *testing.T) {
	whole := write(t, runSize, fullHeader(), allEntries()...)
	version := len(versionLine) - 1
	for i := range whole {
		for _, bits := range []byte{1 << (i % 8), 0x20, 0xff} {
			b := bytes.Clone(whole)
			b[i] ^= bits
			_, _, err := read(bytes.NewReader(b))
			// Of another version nothing can be known, not even its end.
			if !errors.Is(err, ErrDamaged) && !(i == version && errors.Is(err, ErrVersion)) {
				t.Fatalf("bits %#x of byte %d: %v", bits, i, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("bits %#x of byte %d: %q", bits, i, err)
			}
		}
	}
}

// Files and their sizes are counted, and the header has its form, so lines of
// files and most of the header cannot be taken away even with the right hash.
func TestLineTakenAway(t *testing.T) {
	lines := strings.SplitAfter(string(write(t, runSize, fullHeader(), allEntries()...)), "\n")
	lines = lines[:len(lines)-2] // without the hash and what is after it
	for i, line := range lines {
		key, _, _ := strings.Cut(line, "\t")
		switch key {
		case versionKey, "checksums", "files", "bytes", partKey, "f":
			rest := strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")
			if _, _, err := read(strings.NewReader(reseal(rest))); !errors.Is(err, ErrDamaged) {
				t.Errorf("without %q: %v", line, err)
			}
		}
	}
}

// reseal adds the hash, so that nothing but the contents can be wrong.
func reseal(body string) string {
	return body + sealPrefix + sum(body) + "\n"
}

// body is the beginning of a good manifest without the hash.
const body = versionLine + "\nchecksums\toff\nfiles\t1\nbytes\t3\n"

func TestReaderRefuses(t *testing.T) {
	hash := sum("x")
	good := "f\t0600\tp:p\t3\t2026-11-22T10:15:00Z\t" + hash + "\t000\tb\n"
	if _, _, err := read(strings.NewReader(reseal(body + good))); err != nil {
		t.Fatal(err)
	}
	entry := func(old, changed string) string { return reseal(body + strings.Replace(good, old, changed, 1)) }
	head := func(old, changed string) string { return reseal(strings.Replace(body, old, changed, 1) + good) }
	dir := func(path string) string { return "d\t0700\t-\t0\t-\t-\t-\t" + path + "\n" }
	cases := map[string]string{
		"nothing":              "",
		"another file":         "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n",
		"after the hash":       reseal(body+good) + "\n",
		"two hashes":           reseal(body+good) + sealPrefix + hash + "\n",
		"hash in upper case":   body + good + sealPrefix + strings.ToUpper(sum(body+good)) + "\n",
		"no hash":              body + good,
		"CRLF":                 reseal(strings.ReplaceAll(body+good, "\n", "\r\n")),
		"a blank line":         reseal(body + "\n" + good),
		"long line":            reseal(body + good + strings.Repeat("x", maxLine)),
		"version twice":        reseal(versionLine + "\n" + body + good),
		"files twice":          head("files\t1\n", "files\t1\nfiles\t1\n"),
		"files missing":        head("files\t1\n", ""),
		"bytes missing":        head("bytes\t3\n", ""),
		"checksums missing":    head("checksums\toff\n", ""),
		"checksums unclear":    head("off", "yes"),
		"another count":        head("files\t1\n", "files\t2\n"),
		"another sum":          head("bytes\t3\n", "bytes\t4\n"),
		"out of order":         head("files\t1\nbytes\t3\n", "bytes\t3\nfiles\t1\n"),
		"not a number":         head("files\t1\n", "files\tx\n"),
		"a leading zero":       head("files\t1\n", "files\t01\n"),
		"too large a number":   head("checksums", "catalog\t4294967296\nchecksums"),
		"a key without value":  head("checksums", "label\t\nchecksums"),
		"bad LSN":              head("files", "start-lsn\t0/0000001\nfiles"),
		"parent's label":       head("checksums", "parent\t../x\nchecksums"),
		"WAL unclear":          head("files", "wal\tno\nfiles"),
		"bad page's sums":      reseal(body + "bad-page\t7\tabcd/12\tabcd/0013\tb\n" + good),
		"bad page's old form":  reseal(body + "bad-page\t7\tb\n" + good),
		"bad time":             head("files", "start-time\t2026-11-22T10:15:00+00:00\nfiles"),
		"part without columns": reseal(body + "part\t000\n" + good),
		"part twice":           reseal(body + strings.Repeat("part\t000\t-\t0\t-\n", 2) + good),
		"own part with label":  reseal(versionLine + "\nlabel\tx\n" + body[len(versionLine)+1:] + "part\tx/000\t-\t0\t-\npart\t000\t-\t0\t-\n" + good),
		"part unknown":         reseal(body + "part\t001\t-\t0\t-\n" + good),
		"header after x-":      reseal(versionLine + "\nx-a\tb\n" + body[len(versionLine)+1:] + good),
		"header in the midst":  reseal(body + good + "files\t1\n"),
		"extra with backslash": reseal(body + "x-a\t\\\n" + good),
		"entry twice":          reseal(body + good + good),
		"entries out of order": reseal(body + good + dir("a")),
		"below a file":         reseal(body + good + dir("b-c") + dir("b/c")),
		"kind":                 entry("f\t", "x\t"),
		"mode in decimal":      entry("0600", "0680"),
		"mode of three digits": entry("0600", "600"),
		"mode of five digits":  entry("0600", "10600"),
		"signed size":          entry("\t3\t", "\t+3\t"),
		"negative size":        entry("\t3\t", "\t-3\t"),
		"fraction of a second": entry("00Z", "00.5Z"),
		"another zone":         entry("00Z", "00+00:00"),
		"no such day":          entry("11-22", "11-31"),
		"no hash of a file":    entry(hash, none),
		"short hash":           entry(hash, hash[1:]),
		"upper hash":           entry(hash, strings.ToUpper(hash)),
		"part name":            entry("\t000\t", "\t../0\t"),
		"part number":          entry("\t000\t", "\t0000\t"),
		"part of two digits":   entry("\t000\t", "\tx/00\t"),
		"part of no label":     entry("\t000\t", "\t/000\t"),
		"empty owner":          entry("p:p", ""),
		"absolute":             entry("\tb\n", "\t/b\n"),
		"parent":               entry("\tb\n", "\t../b\n"),
		"no path":              entry("\tb\n", "\t\n"),
		"column missing":       entry("\tb\n", "\n"),
		"column too many":      entry("\tb\n", "\tb\tc\n"),
		"two columns too many": entry("\tb\n", "\tb\tc\td\n"),
		"escaped needlessly":   entry("\tb\n", "\t\\142\n"),
		"escaped NUL":          entry("\tb\n", "\t\\000\n"),
		"not escaped":          entry("\tb\n", "\t\x1b\n"),
		"link without target":  reseal(body + good + "l\t0777\t-\t0\t-\t-\t-\tc\n"),
		"sizes overflow": reseal(strings.Replace(body, "files\t1", "files\t2", 1) + good +
			strings.Replace(strings.Replace(good, "\tb\n", "\tc\n", 1), "\t3\t", "\t9223372036854775807\t", 1)),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(strings.NewReader(text))
			if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrVersion) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNewerVersion(t *testing.T) {
	cases := map[string]string{
		"version":          strings.Replace(reseal(body), versionLine, versionKey+"\t2", 1),
		"key":              reseal(body + "colour\tblue\n"),
		"key, odd entries": reseal(body + "colour\tblue\nz\n"),
	}
	for name, text := range cases {
		_, _, err := read(strings.NewReader(text))
		if !errors.Is(err, ErrVersion) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	damaged := strings.Replace(cases["key"], "blue", "glue", 1)
	if _, _, err := read(strings.NewReader(damaged)); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}

func TestHeaderIsBounded(t *testing.T) {
	line := "x-a\t" + strings.Repeat("y", maxLine-5) + "\n"
	endless := io.MultiReader(strings.NewReader(body), iotest.DataErrReader(&repeat{line: line}))
	if _, _, err := read(endless); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

// repeat is an endless stream of one line.
type repeat struct {
	line string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.line[r.at:])
	r.at = (r.at + n) % len(r.line)
	return n, nil
}

func TestReadErrorsArePassedOn(t *testing.T) {
	whole := write(t, runSize, fullHeader(), allEntries()...)
	for n := range len(whole) + 1 {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(errDisk))
		if _, _, err := read(r); !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

func TestReaderStaysAtItsError(t *testing.T) {
	for _, text := range []string{reseal(body), reseal(strings.Replace(body, "files\t1\nbytes\t3", "files\t0\nbytes\t0", 1))} {
		m, err := NewReader(iotest.OneByteReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		_, first := m.Next()
		if _, second := m.Next(); first == nil || second != first {
			t.Errorf("%v, then %v", first, second)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, runSize, fullHeader(), allEntries()...))
	f.Add([]byte(reseal(body)))
	f.Add([]byte(reseal(strings.Replace(body, "checksums", "parent\tx\nchecksums", 1) +
		"bad-page\t7\tabcd/0012\tabcd/0013\tb\npart\tx/1000\t-\t0\tbase/x/1000.tar\nd\t0700\t-\t0\t-\t-\tx/1000\tb\n")))
	f.Add([]byte(reseal(body + "colour\tblue\n")))
	for _, name := range []string{"full.manifest", "empty.manifest"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkFuzzed(t, text)
		// Few changes get past the hash, so each is tried with the right one.
		if i := bytes.LastIndex(text, []byte(sealPrefix)); i >= 0 {
			checkFuzzed(t, []byte(reseal(string(text[:i]))))
		}
	})
}

// checkFuzzed demands that what can be read is written the same.
func checkFuzzed(t *testing.T, text []byte) {
	h, entries, err := read(bytes.NewReader(text))
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("neither damaged nor of another version: %v", err)
		}
		return
	}
	if again := write(t, runSize, h, entries...); !bytes.Equal(again, text) {
		t.Errorf("written again:\n%q, was\n%q", again, text)
	}
}

func BenchmarkReader(b *testing.B) {
	var entries []Entry
	for i := range 10_000 {
		entries = append(entries, file(fmt.Sprintf("base/%d", i)))
	}
	text := write(b, runSize, Header{}, entries...)
	b.SetBytes(int64(len(text)))
	for range b.N {
		m, err := NewReader(bytes.NewReader(text))
		for err == nil {
			_, err = m.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
