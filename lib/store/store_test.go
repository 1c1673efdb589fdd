package store_test

import (
	"errors"
	"strings"
	"testing"

	"pgpipes/lib/store"
)

func TestCheckKey(t *testing.T) {
	for key, good := range map[string]bool{
		"a": true, "a/b.c/d": true, "a b": true, "a..b": true, "a.": true, "wal/0000000100000000/000000010000000000000003.zst": true,
		"ünïcode": true, "-": true, "~": true, "a\\b": true,
		"": false, "/": false, "/a": false, "a/": false, "a//b": false, ".": false, "..": false, "a/..": false,
		".a": false, "a/.b": false, "a\n": false, "\x00": false, "a\x1fb": false, "a\x7fb": false, "a/\t": false,
	} {
		err := store.CheckKey(key)
		if good != (err == nil) || !good && !errors.Is(err, store.ErrKey) {
			t.Errorf("%q: %v", key, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00\t") {
			t.Errorf("%q: the error is not one line of text: %q", key, err)
		}
	}
}

func TestOpenKnowsKinds(t *testing.T) {
	for location, good := range map[string]bool{
		"/x": true, "x": true, "./x": true, "../x:y": true, "./c:x": true, "/c:/x": true,
		"c:/x": false, "vault:main": false, "user@vault:/main": false, "s3:bucket/x": false, "sftp:/host/x": false,
		"": false, "sftp://host/x": true, "s3://bucket/x": true, "file:///x": false,
	} {
		_, err := store.Open(location)
		if good != (err == nil) || !good && !errors.Is(err, store.ErrLocation) {
			t.Errorf("%q: %v", location, err)
		}
	}
}

func TestReceiptIsALine(t *testing.T) {
	r := store.Receipt{SHA256: "ab", Size: 12, Key: "a/b c"}
	if got := r.String(); got != "ab\t12\ta/b c" {
		t.Errorf("%q", got)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"a/b", "", "..", "a/./b", "/", "\x00", "a//b", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if store.CheckKey(key) != nil {
			return
		}
		for c := range strings.SplitSeq(key, "/") {
			if c == "" || c == "." || c == ".." || strings.ContainsRune(c, 0) {
				t.Errorf("%q accepted", key)
			}
		}
	})
}
