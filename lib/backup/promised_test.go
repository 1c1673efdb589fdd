package backup

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

// promise is a server's manifest, of version 2, for files with these contents.
func promise(t *testing.T, files map[string]string) string {
	t.Helper()
	var list []string
	for name, text := range files {
		sum, err := manifest.NewServerHash("CRC32C")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(sum, text)
		list = append(list, fmt.Sprintf(`{ "Path": %q, "Size": %d, "Checksum-Algorithm": "CRC32C", "Checksum": "%x" }`, name, len(text), sum.Sum(nil)))
	}
	body := "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7,\n\"Files\": [\n" + strings.Join(list, ",\n") + "\n],\n"
	return body + fmt.Sprintf("\"Manifest-Checksum\": \"%x\"}\n", sha256.Sum256([]byte(body)))
}

// What comes has to be what the server's manifest says, WAL excepted.
func TestPromised(t *testing.T) {
	both := map[string]string{"PG_VERSION": "15\n", "base/1/2": "page"}
	tests := []struct {
		name   string
		said   map[string]string
		system uint64
		says   string // "" for none
	}{
		{"kept", both, 7, ""},
		{"WAL is not looked at", map[string]string{"PG_VERSION": "15\n", "base/1/2": "page", "pg_wal/00000002.history": "x"}, 7, ""},
		{"one too few", map[string]string{"PG_VERSION": "15\n", "base/1/2": "page", "base/1/3": ""}, 7, "base/1/3: missing"},
		{"one too many", map[string]string{"PG_VERSION": "15\n"}, 7, "base/1/2: not in the manifest"},
		{"other contents", map[string]string{"PG_VERSION": "15\n", "base/1/2": "gape"}, 7, "base/1/2: CRC32C "},
		{"other size", map[string]string{"PG_VERSION": "15\n", "base/1/2": "pages"}, 7, "base/1/2: size 4, expected 5"},
		{"another cluster", both, 8, "another cluster"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPromised()
			defer p.close()
			for name, text := range both {
				m := stream.Member{Entry: manifest.Entry{Kind: manifest.File, Path: name, Size: int64(len(text))}}
				in, err := p.watch(strings.NewReader(text), m)
				if err == nil {
					_, err = io.ReadAll(in)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := p.read(strings.NewReader(promise(t, test.said))); err != nil {
				t.Fatal(err)
			}
			err := p.check(test.system)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

func TestPromisedNothing(t *testing.T) {
	p := newPromised()
	defer p.close()
	if err := p.check(7); !errors.Is(err, stream.ErrBad) {
		t.Errorf("without a manifest: %v", err)
	}
	text := promise(t, nil)
	if err := p.read(strings.NewReader(text[:len(text)-20])); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("cut: %v", err)
	}
	if err := p.check(7); !errors.Is(err, stream.ErrBad) {
		t.Errorf("with an empty one: %v", err)
	}
}

// A file that is not read to its end has not come.
func TestPromisedAndNotRead(t *testing.T) {
	p := newPromised()
	defer p.close()
	m := stream.Member{Entry: manifest.Entry{Kind: manifest.File, Path: "f", Size: 4}}
	in, err := p.watch(strings.NewReader("page"), m)
	if err == nil {
		_, err = io.ReadFull(in, make([]byte, 2))
	}
	if err == nil {
		err = p.read(strings.NewReader(promise(t, map[string]string{"f": "page"})))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := p.check(7); err == nil || !strings.Contains(err.Error(), "f: missing") {
		t.Error(err)
	}
}
