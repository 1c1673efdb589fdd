package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// play feeds a framing with messages: H is a CopyOutResponse, c a CopyDone, all
// else what a CopyData holds. It gives what came of them.
func play(f framing, messages ...string) (string, error) {
	var told strings.Builder
	for _, m := range messages {
		var s *Sent
		var b []byte
		var err error
		switch m {
		case "H":
			s, err = f.begin()
		case "c":
			b, err = f.end()
		default:
			s, b, err = f.data([]byte(m))
		}
		if err != nil {
			return told.String(), err
		}
		if s != nil {
			fmt.Fprintf(&told, "[%s %d]", s.Name, s.OID)
		}
		told.WriteString(strings.ReplaceAll(string(b), string(trailer), "<trailer>"))
	}
	return told.String(), nil
}

func TestFraming(t *testing.T) {
	base, space := Sent{Name: "base.tar"}, Sent{Name: "16400.tar", OID: 16400}
	tests := []struct {
		name     string
		major    int
		files    []Sent
		messages []string
		told     string
		complete bool
	}{
		{"before 15, an empty piece in the middle", 13, []Sent{space, base}, []string{"H", "ab", "", "cd", "c", "H", "e", "c", "H", "{}", "c"},
			"[16400.tar 16400]abcd<trailer>[base.tar 0]e<trailer>[backup_manifest 0]{}", true},
		{"before 15, without a manifest", 13, []Sent{base}, []string{"H", "ab", "c"}, "[base.tar 0]ab<trailer>", false},
		{"before 15, cut", 13, []Sent{base}, []string{"H", "ab"}, "[base.tar 0]ab", false},
		{"since 15", 15, []Sent{space, base}, []string{"H", "n16400.tar\x00/ts\x00", "dab", "", "d", "dcd", "p12345678", "nbase.tar\x00\x00", "de", "m", "d{}", "c"},
			"[16400.tar 16400]abcd[base.tar 0]e[backup_manifest 0]{}", true},
		{"since 15, compressed", 18, []Sent{base}, []string{"H", "nbase.tar.gz\x00\x00", "de", "m", "d{}", "c"}, "[base.tar.gz 0]e[backup_manifest 0]{}", true},
		{"since 15, without a manifest", 15, []Sent{base}, []string{"H", "nbase.tar\x00\x00", "de", "c"}, "[base.tar 0]e", false},
		{"since 15, cut", 15, []Sent{base}, []string{"H", "nbase.tar\x00\x00", "de", "m", "d{}"}, "[base.tar 0]e[backup_manifest 0]{}", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFraming(test.major)
			for _, s := range test.files {
				f.expect(s)
			}
			told, err := play(f, test.messages...)
			if err != nil || told != test.told || f.complete() != test.complete {
				t.Errorf("%q, %v, complete %t; want %q, complete %t", told, err, f.complete(), test.told, test.complete)
			}
		})
	}
}

func TestFramingErrors(t *testing.T) {
	tests := []struct {
		name     string
		major    int
		messages []string
	}{
		{"before 15: bytes without a file", 13, []string{"ab"}},
		{"before 15: two beginnings", 13, []string{"H", "H"}},
		{"before 15: two ends", 13, []string{"H", "c", "c"}},
		{"before 15: too many", 13, []string{"H", "c", "H", "c", "H"}},
		{"bytes without a file", 15, []string{"H", "dab"}},
		{"unknown message", 15, []string{"H", "nbase.tar\x00\x00", "x"}},
		{"manifest before the archive", 15, []string{"H", "m"}},
		{"archive too many", 15, []string{"H", "nbase.tar\x00\x00", "n1.tar\x00\x00"}},
		{"archive after the manifest", 15, []string{"H", "nbase.tar\x00\x00", "m", "nbase.tar\x00\x00"}},
		{"odd name", 15, []string{"H", "n../x\x00\x00"}},
		{"name without an end", 15, []string{"H", "nbase.tar"}},
		{"two copies", 15, []string{"H", "nbase.tar\x00\x00", "H"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFraming(test.major)
			f.expect(Sent{Name: "base.tar"})
			if told, err := play(f, test.messages...); !errors.Is(err, ErrProtocol) {
				t.Errorf("%q, %v", told, err)
			}
		})
	}
}

func FuzzTyped(f *testing.F) {
	f.Add("nbase.tar\x00\x00", "dab", "m")
	f.Add("n16400.tar.zst\x00/ts\x00", "", "p")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		framing := newFraming(15)
		framing.expect(Sent{Name: "base.tar"})
		if _, err := play(framing, a, b, c); err != nil && !errors.Is(err, ErrProtocol) {
			t.Error(err)
		}
		if framing.complete() {
			t.Error("complete without an end")
		}
	})
}

func TestBaseBackupCommand(t *testing.T) {
	all := BaseBackupOptions{
		Label: "it's", Fast: true, WAL: true, Progress: true, NoVerify: true, MaxRate: 10 << 20, Algorithm: "SHA256",
	}
	compressed := BaseBackupOptions{Label: "l", Compression: "zstd", Level: 3}
	tests := []struct {
		name  string
		o     BaseBackupOptions
		major int
		want  string
	}{
		{"plain", BaseBackupOptions{Label: "l"}, 13, "BASE_BACKUP LABEL 'l' NOWAIT TABLESPACE_MAP MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'"},
		{"plain", BaseBackupOptions{Label: "l"}, 15, "BASE_BACKUP (LABEL 'l', WAIT false, TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')"},
		{"all", all, 14, "BASE_BACKUP LABEL 'it''s' PROGRESS FAST WAL NOWAIT MAX_RATE 10240 TABLESPACE_MAP NOVERIFY_CHECKSUMS MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'"},
		{"all", all, 18, "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAL, WAIT false, MAX_RATE 10240, TABLESPACE_MAP, VERIFY_CHECKSUMS false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256')"},
		{"compressed", compressed, 15, "BASE_BACKUP (LABEL 'l', WAIT false, TABLESPACE_MAP, COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=3', MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')"},
		{"slower than servers know", BaseBackupOptions{MaxRate: 1}, 15, "BASE_BACKUP (LABEL '', WAIT false, MAX_RATE 32, TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')"},
		{"faster than servers know", BaseBackupOptions{MaxRate: 1 << 50}, 15, "BASE_BACKUP (LABEL '', WAIT false, MAX_RATE 1048576, TABLESPACE_MAP, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C')"},
	}
	for _, test := range tests {
		if got, err := test.o.command(test.major); got != test.want || err != nil {
			t.Errorf("%s, %d: %v\n%s\n%s", test.name, test.major, err, got, test.want)
		}
	}
	for _, o := range []BaseBackupOptions{compressed, {Label: "a\x00b"}} {
		if got, err := o.command(14); err == nil {
			t.Errorf("no error: %s", got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"16MB": 16 << 20, "1GB": 1 << 30, "64kB": 64 << 10, "8192": 8192, "1TB": 1 << 40} {
		if got, err := parseSize("s", text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MB", "0", "-1MB", "16MiB", "99999999999999999999", "1 MB"} {
		if got, err := parseSize("s", text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
