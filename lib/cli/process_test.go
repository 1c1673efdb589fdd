package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// stderr returns what do writes to standard error.
func stderr(t *testing.T, do func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = w
	text := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		text <- b
	}()
	do()
	os.Stderr = was
	w.Close()
	return string(<-text)
}

// quiet throws standard error away until the test ends.
func quiet(t *testing.T) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = null
	t.Cleanup(func() {
		os.Stderr = was
		null.Close()
	})
}

// printing is a process whose standard output is a buffer.
func printing(name string) (*Process, *bytes.Buffer) {
	var out bytes.Buffer
	return &Process{dog: newWatchdog(), name: name, Out: &out, Text: bufio.NewWriter(&out)}, &out
}

func TestMessages(t *testing.T) {
	p := &Process{dog: newWatchdog(), name: "wal-push"}
	tests := []struct {
		name, want string
		do         func()
	}{
		{"error", "wal-push: disk on fire\n", func() { p.report(errors.New("disk on fire"), 0) }},
		{"hint", "wal-push: disk on fire\nwal-push: hint: use water, 2 l\n",
			func() { p.report(Hint(errors.New("disk on fire"), "use water, %d l", 2), 0) }},
		{"marked hint", "wal-push: disk on fire\nwal-push: hint: run\n",
			func() { p.report(Mistake(Hint(errors.New("disk on fire"), "run")), 0) }},
		{"several errors are one line", "wal-push: one; two\n",
			func() { p.report(errors.Join(errors.New("one"), errors.New("two")), 0) }},
		{"a terminal's orders are none", "wal-push: ?[2J?31mred\tü?\n", func() { p.report(errors.New("\x1b[2J\u009b31mred\tü\a"), 0) }},
		{"none", "", func() { p.report(nil, 254) }},
		{"percent signs stay", "wal-push: 100 %d %s\n", func() { p.report(errors.New("100 %d %s"), 0) }},
		{"quiet", "", func() { p.Verbosef("%d", 1) }},
		{"verbose", "wal-push: 1\n", func() { (&Process{dog: newWatchdog(), name: "wal-push", verbose: true}).Verbosef("%d", 1) }},
	}
	for _, test := range tests {
		if got := stderr(t, test.do); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRepositories(t *testing.T) {
	one := Repositories{[]string{"/a"}}
	if r, err := one.One(); r != "/a" || err != nil {
		t.Errorf("%q, %v", r, err)
	}
	for name, r := range map[string]Repositories{"none": {}, "two": {[]string{"/a", "/b"}}} {
		if _, err := r.One(); status(err) != statusUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := (Repositories{[]string{"/a", "/b"}}).Some(); len(all) != 2 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
}

func TestCompression(t *testing.T) {
	for format, level := range map[string]int{"zstd": 3, "gzip": 3, "xz": 3, "lz4": 3, "none": 0} {
		if o, err := (Compression{Format: format, Level: 3, Jobs: 2}).Codec(1 << 20); err != nil || o.Format.Name != format || o.Level != level || o.Jobs != 2 || o.Frame != 1<<20 {
			t.Errorf("%s: %+v, %v", format, o, err)
		}
	}
	for _, c := range []Compression{{Format: "rar"}, {Format: "zstd", Jobs: -1}, {Format: "zstd", Level: 23}, {Format: "gzip", Level: 10}} {
		if _, err := c.Codec(0); status(err) != statusUsage {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
