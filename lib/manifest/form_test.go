package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// forms are all forms, by the ends of the names of their golden files.
var forms = map[string]func(w *bufio.Writer, h Header) (Form, error){
	"sha256sum":          func(w *bufio.Writer, _ Header) (Form, error) { return NewSumsForm(w), nil },
	"mtree":              func(w *bufio.Writer, _ Header) (Form, error) { return NewTreeForm(w), nil },
	"backup_manifest":    func(w *bufio.Writer, h Header) (Form, error) { return NewServerForm(w, 1, h) },
	"backup_manifest-v2": func(w *bufio.Writer, h Header) (Form, error) { return NewServerForm(w, 2, h) },
}

// convert gives a manifest in a form.
func convert(form string, in io.Reader) (string, error) {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	err := Convert(in, func(h Header) (Form, error) { return forms[form](w, h) })
	w.Flush()
	return out.String(), err
}

// plainHeader is that of a backup which began and ended in one timeline.
func plainHeader() Header {
	return Header{SystemID: 7, StartTimeline: 3, StartLSN: 0x2000028, StopTimeline: 3, StopLSN: 0xA_02000100}
}

func TestForms(t *testing.T) {
	entries := append(allEntries(), file("base/cr\r"), file("-"), file("!first"), file("pg_wal/000000010000000000000002"),
		file("backup_manifest"), link("links", "a#b*c"), file("unlisted/far/x"), file("unlisted/far-x"), file("unlisted/y"))
	owned := file("owned")
	owned.Owner, owned.Mode = "26:26", 0o4640
	for form := range forms {
		for name, whole := range map[string][]byte{
			"forms." + form: write(t, runSize, plainHeader(), append(entries, owned)...),
			"empty." + form: write(t, runSize, plainHeader()),
		} {
			got, err := convert(form, bytes.NewReader(whole))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, []byte(got))
		}
	}
}

// A damaged manifest is an error in every form, and so is a full disk.
func TestFormsFail(t *testing.T) {
	whole := write(t, runSize, plainHeader(), allEntries()...)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-2] ^= 1
	for form, begin := range forms {
		if _, err := convert(form, bytes.NewReader(flipped)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", form, err)
		}
		text, err := convert(form, bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(text) {
			w := bufio.NewWriterSize(&failing{n}, 16)
			err := Convert(bytes.NewReader(whole), func(h Header) (Form, error) { return begin(w, h) })
			if err == nil {
				err = w.Flush()
			}
			if !errors.Is(err, errDisk) {
				t.Fatalf("%s after %d of %d bytes: %v", form, n, len(text), err)
			}
		}
	}
}

func TestServerFormRanges(t *testing.T) {
	for name, change := range map[string]func(h *Header){
		"of two timelines": func(h *Header) { h.StopTimeline = 4 },
		"no start":         func(h *Header) { h.StartLSN = 0 },
		"no stop":          func(h *Header) { h.StopTimeline, h.StopLSN = 0, 0 },
	} {
		h := plainHeader()
		change(&h)
		text, err := convert("backup_manifest", bytes.NewReader(write(t, runSize, h, file("a"))))
		m, _, rerr := readServer(strings.NewReader(text))
		if err != nil || rerr != nil || len(m.WALRanges) != 0 {
			t.Errorf("%s: %+v, %v, %v", name, m, err, rerr)
		}
	}
	if _, err := NewServerForm(io.Discard, 2, Header{}); err == nil {
		t.Error("version 2 without a system identifier is not refused")
	}
	if _, err := NewServerForm(io.Discard, 3, plainHeader()); err == nil {
		t.Error("version 3 is not refused")
	}
}

// fromServer makes a manifest of a backup_manifest.
func fromServer(text string) (string, error) {
	w := NewWriter("")
	w.sorter.limit = 4 << 10
	defer w.Close()
	var out bytes.Buffer
	err := FromServer(strings.NewReader(text), w, &out)
	return out.String(), err
}

func TestFromServerGolden(t *testing.T) {
	for _, name := range []string{"postgresql15", "written"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".backup_manifest"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := fromServer(string(text))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".manifest", []byte(got))
		if _, _, err := read(strings.NewReader(got)); err != nil {
			t.Error(err)
		}
	}
}

// What a backup_manifest says of files comes through a manifest unharmed, and
// so does the WAL it names; the files are in another order.
func TestServerRoundTrip(t *testing.T) {
	sorted := []string{"PG_VERSION", "a", "a-b", "b/c", "caf\u00e9"}
	text := serverManifest(t, ranges[:1], sorted...)
	m, err := fromServer(text)
	if err != nil {
		t.Fatal(err)
	}
	back, err := convert("backup_manifest", strings.NewReader(m))
	if err != nil || back != text {
		t.Errorf("%v\n%s, was\n%s", err, back, text)
	}
}

func TestFromServerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
		says string
	}{
		"CRC32C":     {serverFile(`"Path": "a\nb", "Size": 3, ` + crcFields), ErrHash, `a\012b: no SHA-256: its checksum is CRC32C`},
		"none":       {serverFile(`"Path": "a", "Size": 3`), ErrHash, "NONE"},
		"cut":        {serverManifest(t, nil, "a")[:100], ErrDamaged, "cut off"},
		"twice":      {serverManifest(t, nil, "a", "a"), nil, "a: twice"},
		"below file": {serverManifest(t, nil, "a", "a/b"), nil, "not a directory"},
	} {
		out, err := fromServer(c.text)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := read(strings.NewReader(out)); err == nil {
			t.Errorf("%s: what it has written passes for a manifest", name)
		}
	}
}

func TestServerManifestWriter2(t *testing.T) {
	var b bytes.Buffer
	w := NewServerManifestWriter2(&b, 1<<64-1)
	if err := w.Add("a", 1, noon, sum("a")); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(ranges); err != nil {
		t.Fatal(err)
	}
	m, files, err := readServer(&b)
	if err != nil || m.Version != 2 || m.SystemID != 1<<64-1 || len(m.WALRanges) != 2 || len(files) != 1 {
		t.Errorf("%+v, %+v, %v", m, files, err)
	}
}

// undo is the inverse of the escapes that sha256sum knows.
func undo(name string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
}

// decoded is a word of mtree(5) with its octal escapes undone.
func decoded(t *testing.T, word string) string {
	raw, ok := decodeOctal(word)
	if !ok {
		t.Errorf("%q: not in octal", word)
	}
	return raw
}

// Whatever names and owners a manifest can hold, every form has them unharmed,
// one line an entry, and the server's form is a backup_manifest.
func FuzzForms(f *testing.F) {
	for _, s := range []string{"a b", "\\\t\n\r", "-", "\xff\xc3\xa9\xc3/x", "a/b/c", "#[*]?=", "caf\u00e9\u0085"} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, path, owner, target string) {
		e, l := file(path), link(path+"~", target)
		e.Owner = known(owner)
		w := NewWriter("")
		w.sorter.limit = 4 << 10
		defer w.Close()
		if w.Add(e) != nil || w.Add(l) != nil {
			return
		}
		var whole bytes.Buffer
		if err := w.Finish(&whole, plainHeader()); err != nil {
			return
		}
		text := map[string]string{}
		for form := range forms {
			var err error
			if text[form], err = convert(form, bytes.NewReader(whole.Bytes())); err != nil {
				t.Fatal(err)
			}
		}
		checkSums(t, text["sha256sum"], &e)
		checkTree(t, text["mtree"], &e, &l)
		checkServer(t, text["backup_manifest"], &e)
		checkServer(t, text["backup_manifest-v2"], &e)
	})
}

func checkSums(t *testing.T, text string, e *Entry) {
	line, escaped := strings.CutPrefix(text, `\`)
	name, ok := strings.CutPrefix(line, e.SHA256+"  ")
	if name = strings.TrimSuffix(name, "\n"); escaped {
		name = undo(name)
	}
	if strings.Count(text, "\n") != 1 || !ok || name != e.Path && (e.Path != "-" || name != "./-") {
		t.Errorf("%q of %q", text, e.Path)
	}
}

func checkTree(t *testing.T, text string, e, l *Entry) {
	found := 0
	for line := range strings.Lines(text) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		for i := range len(line) - 1 {
			if line[i] < ' ' || line[i] > '~' {
				t.Errorf("%q: not plain", line)
			}
		}
		switch path := decoded(t, words[0]); {
		case path == "./"+e.Path && strings.Contains(line, " type=file"):
			found++
			if !strings.Contains(line, fmt.Sprintf(" mode=0600%s time=1795348800.0 size=%d sha256digest=%s ", appendTreeOwner(nil, e.Owner), e.Size, e.SHA256)) {
				t.Errorf("%q", line)
			}
		case path == "./"+l.Path && strings.Contains(line, " type=link"):
			found++
			if decoded(t, strings.TrimPrefix(words[2], "link=")) != l.Target {
				t.Errorf("%q", line)
			}
		}
	}
	if found != 2 {
		t.Errorf("%q has not %q and %q", text, e.Path, l.Path)
	}
}

func checkServer(t *testing.T, text string, e *Entry) {
	_, files, err := readServer(strings.NewReader(text))
	left := e.Path == "backup_manifest" || strings.HasPrefix(e.Path, "pg_wal/")
	if err != nil || left != (len(files) == 0) || !left && files[0] != (ServerFile{e.Path, e.Size, "SHA256", e.SHA256, noon}) {
		t.Errorf("%+v, %v", files, err)
	}
}

// Whatever a backup_manifest holds, what is made of it is a manifest of the
// same files, or an error.
func FuzzFromServer(f *testing.F) {
	f.Add(serverManifest(f, ranges, oddPaths...))
	f.Add(serverFile(`"Path": "a", "Size": 3, ` + crcFields))
	f.Add(serverFile(`"Encoded-Path": "ff2f", "Size": 3`))
	f.Fuzz(func(t *testing.T, text string) {
		// Seldom does anything but a right checksum get further.
		if i := strings.LastIndex(text, "\"Manifest-Checksum\""); i >= 0 {
			text = serverSeal(text[:i])
		}
		_, files, err := readServer(strings.NewReader(text))
		out, ferr := fromServer(text)
		if err != nil && ferr == nil {
			t.Fatalf("%q: %v", text, err)
		}
		if ferr != nil {
			return
		}
		_, entries, err := read(strings.NewReader(out))
		if err != nil || len(entries) != len(files) {
			t.Fatalf("%q of %q: %v", out, text, err)
		}
		known := map[string]ServerFile{}
		for _, f := range files {
			known[f.Path] = f
		}
		for _, e := range entries {
			of := known[e.Path]
			if of.Size != e.Size || of.Checksum != e.SHA256 || !of.MTime.Equal(e.MTime) && e.MTime != (time.Time{}) {
				t.Errorf("%+v of %+v", e, of)
			}
		}
	})
}
