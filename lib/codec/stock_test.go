package codec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a shell command with the input on its stdin.
func tool(t *testing.T, input []byte, command string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("sh", "-c", command)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, stderr.Bytes())
	}
	return out
}

// TestStockReads has the stock programs read what is written here.
func TestStockReads(t *testing.T) {
	big := sample(2<<20 + 12345)
	for _, c := range []struct {
		format   Format
		commands []string
	}{
		{Zstd, []string{"zstd -dc", "zstd -dcT2", "zstdcat", "zstd -t && cat $IN | zstd -dc", "pzstd -dc"}},
		{Gzip, []string{"gzip -dc", "gzip -t && gzip -dc $IN"}},
		{Xz, []string{"xz -dc", "xz -dcT2", "xz -t && xz -dc $IN"}},
		{Lz4, []string{"lz4 -dc", "lz4 -t $IN && lz4 -dc"}},
	} {
		for _, size := range []int{0, 1, 200 << 10, len(big)} {
			if c.format == Xz {
				size = min(size, 500<<10)
			}
			b := pack(t, big[:size], Options{Format: c.format, Frame: minFrame, Jobs: 3})
			in := filepath.Join(t.TempDir(), "in"+c.format.Suffix)
			if err := os.WriteFile(in, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range c.commands {
				if got := tool(t, b, "IN="+in+"; "+command); !bytes.Equal(got, big[:size]) {
					t.Errorf("%s: %d bytes became %d", command, size, len(got))
				}
			}
		}
	}
}

// TestStockWrites reads what the stock programs write.
func TestStockWrites(t *testing.T) {
	data := sample(thorough(3, 1)<<20 + 12345)
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"zstd -c", "zstd -1c $IN", "zstd -19c $IN", "zstd --no-check -c", "zstd -c --long=27", "zstd -c --ultra -22",
		"zstd -c --fast=5 $IN", "zstd -c --no-content-size $IN", "zstd -cT2 $IN", "zstd -c --rsyncable -T2 -B524288",
		": | zstd -c; zstd -c $IN; : | zstd -c", "pzstd -cq $IN", "pzstd -p 2 -1cq",
		`printf '\120\052\115\030\003\000\000\000abc'; zstd -c; printf '\137\052\115\030\000\000\000\000'`,
		"head -c 1000000 | zstd -c; tail -c +1000001 $IN | zstd -c",
		"head -c 1000000 $IN | zstd -c --no-content-size; tail -c +1000001 $IN | zstd -1c",
		"gzip -c", "gzip -9c $IN", "gzip -nc", "head -c 1000000 $IN | gzip; tail -c +1000001 $IN | gzip -1; : | gzip",
		"xz -0c", "xz -9c $IN", "xz -0c --block-size=500000", "xz -0cT2 --block-size=1000000 $IN", "xz -0c --check=sha256",
		"xz -0c --check=crc32", "xz -0c --check=none", "xz -0c --lzma2=preset=0,dict=64MiB",
		`head -c 1000000 $IN | xz -0c; printf '\0\0\0\0\0\0\0\0'; tail -c +1000001 $IN | xz -0c; printf '\0\0\0\0'`,
		"lz4 -c", "lz4 -9c $IN", "lz4 -c -BD", "lz4 -c -B4 -BX", "lz4 -c --content-size $IN", "lz4 -c --no-frame-crc",
		"head -c 1000000 $IN | lz4 -c -BD; : | lz4 -c; tail -c +1000001 $IN | lz4 -c -BD",
		`printf '\120\052\115\030\003\000\000\000abc'; lz4 -c; printf '\137\052\115\030\000\000\000\000'`,
	} {
		got, err := unpack(tool(t, data, "IN="+in+"; "+command), 2)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", command, len(got), err)
		}
	}
}

// TestStockRefused has what the stock programs write but is not read here.
func TestStockRefused(t *testing.T) {
	data := sample(1 << 20)
	for _, c := range []struct {
		command string
		want    error
		text    string
	}{
		{"zstd -c --ultra --long=28", ErrCorrupt, "needs a window of 256 MiB, the limit is 128 MiB"},
		{"xz -0c --lzma2=preset=0,dict=128MiB", ErrCorrupt, "needs a dictionary of 128 MiB, the limit is 64 MiB"},
		{"xz -0c --x86 --lzma2=preset=0", ErrCorrupt, "filters other than LZMA2"},
		{"xz --format=lzma -0c", ErrFormat, ""},
		{"lz4 -lc", ErrFormat, ""},
		{"zstd -c; echo text", ErrCorrupt, "something else follows the end"},
	} {
		_, err := unpack(tool(t, data, c.command), 2)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v", c.command, err)
		}
	}
}

// TestStockList shows that the stock programs know what they have before them.
func TestStockList(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.zst")
	if err := os.WriteFile(in, pack(t, sample(3*minFrame), Options{Format: Zstd, Frame: minFrame}), 0o600); err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(string(tool(t, nil, "zstd -l "+in+" | tail -1")))
	if len(list) < 7 || list[0] != "5" || list[1] != "1" || list[4] != "192" || list[len(list)-2] != "XXH64" {
		t.Errorf("zstd -l: %q", list)
	}
	if kind := string(tool(t, nil, "file -b "+in)); !strings.HasPrefix(kind, "Zstandard compressed data") {
		t.Errorf("file: %s", kind)
	}
	archive := tool(t, nil, "tar cf - -C "+filepath.Dir(in)+" in.zst")
	other := filepath.Join(t.TempDir(), "archive") // no suffix: tar must find out
	if err := os.WriteFile(other, pack(t, archive, Options{Format: Zstd}), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := string(tool(t, nil, "tar tf "+other)); names != "in.zst\n" {
		t.Errorf("tar tf: %q", names)
	}
}
