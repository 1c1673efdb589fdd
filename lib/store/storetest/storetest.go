// Package storetest is the conformance suite of stores: what lib/store promises
// of all of them, as tests.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/store"
)

// Run tests a kind of store. Each call of fresh makes an empty one.
func Run(t *testing.T, fresh func() store.Store) {
	tests := []struct {
		name string
		test func(*testing.T, suite)
	}{
		{"PutAndGet", putAndGet}, {"PutAgain", putAgain}, {"CutPut", cutPut}, {"PutRace", putRace},
		{"Ranges", ranges}, {"Absent", absent}, {"Stat", stat}, {"Remove", remove}, {"RemoveRace", removeRace},
		{"Keys", keys}, {"Order", order}, {"ListPrefixAndAfter", listPrefixAndAfter}, {"ListEnds", listEnds},
		{"ManyKeys", manyKeys}, {"Cancelled", cancelled}, {"Large", large},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, suite{t, fresh()}) })
	}
}

// A suite is a store and the test that it undergoes.
type suite struct {
	t *testing.T
	store.Store
}

// text is a write function for Put.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func (s suite) put(key, contents string) store.Receipt {
	s.t.Helper()
	receipt, err := s.Put(context.Background(), key, text(contents))
	if err != nil {
		s.t.Fatalf("Put %s: %v", key, err)
	}
	return receipt
}

func (s suite) read(key string, offset, length int64) (string, error) {
	body, err := s.Get(context.Background(), key, offset, length)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

// contains fails unless the object is there with these contents.
func (s suite) contains(key, want string) {
	s.t.Helper()
	if got, err := s.read(key, 0, -1); err != nil || got != want {
		s.t.Errorf("Get %s: %q, %v; want %q", key, got, err, want)
	}
}

func (s suite) list(prefix, after string) (keys []string) {
	s.t.Helper()
	for info, err := range s.List(context.Background(), prefix, after) {
		if err != nil {
			s.t.Fatalf("List %q %q: %v", prefix, after, err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// wants fails unless an error is of a kind.
func wants(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: error %v, want %v", what, err, kind)
	}
}

func putAndGet(t *testing.T, s suite) {
	for _, contents := range []string{"", "x", "two\nlines\n", strings.Repeat("\x00\xff", 70000)} {
		key := fmt.Sprintf("a/b/%d", len(contents))
		receipt := s.put(key, contents)
		if receipt.Key != key || receipt.Size != int64(len(contents)) {
			t.Errorf("receipt %v", receipt)
		}
		s.contains(key, contents)
		sum, err := store.Sum(context.Background(), s, key)
		if err != nil || sum != receipt {
			t.Errorf("Sum %v, %v; the receipt is %v", sum, err, receipt)
		}
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := s.put("abc", "abc").SHA256; got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
}

func putAgain(t *testing.T, s suite) {
	first := s.put("k", "same")
	before, err := s.Stat(context.Background(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if again := s.put("k", "same"); again != first {
		t.Errorf("receipts %v and %v", first, again)
	}
	for _, other := range []string{"", "sam", "same ", "Same"} {
		receipt, err := s.Put(context.Background(), "k", text(other))
		wants(t, fmt.Sprintf("Put of %q", other), err, store.ErrDiffers)
		if err != nil && (!strings.Contains(err.Error(), first.SHA256) || !strings.Contains(err.Error(), receipt.SHA256)) {
			t.Errorf("the error does not name both hashes: %v", err)
		}
	}
	s.contains("k", "same")
	if after, err := s.Stat(context.Background(), "k"); err != nil || after != before {
		t.Errorf("the object was rewritten: %v, was %v, %v", after, before, err)
	}
}

// A writer that fails leaves no object, and no obstacle.
func cutPut(t *testing.T, s suite) {
	broken := errors.New("broken pipe")
	_, err := s.Put(context.Background(), "d/k", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		return broken
	})
	wants(t, "Put", err, broken)
	_, err = s.Stat(context.Background(), "d/k")
	wants(t, "Stat", err, store.ErrNotExist)
	if left := s.list("", ""); left != nil {
		t.Errorf("left behind: %v", left)
	}
	s.put("d/k", "whole")
	s.contains("d/k", "whole")
}

// Of many that put different bytes under one key exactly one succeeds.
func putRace(t *testing.T, s suite) {
	const writers = 16
	for round := range 3 {
		key := fmt.Sprintf("race/%d/k", round)
		results := make(chan error, writers)
		contents := func(i int) string { return strings.Repeat(string(rune('a'+i)), 10000) }
		begin := make(chan struct{})
		for i := range writers {
			go func() {
				<-begin
				_, err := s.Put(context.Background(), key, text(contents(i)))
				if err == nil {
					if got, rerr := s.read(key, 0, -1); rerr != nil || got != contents(i) {
						err = fmt.Errorf("succeeded, and the object is another's (%v)", rerr)
					}
				}
				results <- err
			}()
		}
		close(begin)
		won := 0
		for range writers {
			switch err := <-results; {
			case err == nil:
				won++
			case !errors.Is(err, store.ErrDiffers):
				t.Errorf("loser: %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d writers succeeded", won)
		}
		if keys := s.list(key, ""); !slices.Equal(keys, []string{key}) {
			t.Errorf("list %v", keys)
		}
	}
}

func ranges(t *testing.T, s suite) {
	s.put("k", "0123456789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {0, 10, "0123456789"}, {0, 1, "0"}, {3, 4, "3456"}, {9, 1, "9"},
		{4, -1, "456789"}, {5, 100, "56789"}, {10, -1, ""}, {10, 5, ""}, {11, -1, ""}, {100, 5, ""}, {2, 0, ""},
	} {
		if got, err := s.read("k", c.offset, c.length); err != nil || got != c.want {
			t.Errorf("Get from %d, %d bytes: %q, %v; want %q", c.offset, c.length, got, err, c.want)
		}
	}
}

func absent(t *testing.T, s suite) {
	s.put("there/x", "x")
	for _, key := range []string{"k", "there/y", "no/such/thing"} {
		_, err := s.read(key, 0, -1)
		_, serr := s.Stat(context.Background(), key)
		rerr := s.Remove(context.Background(), key)
		for what, err := range map[string]error{"Get": err, "Stat": serr, "Remove": rerr} {
			wants(t, what+" "+key, err, store.ErrNotExist)
		}
	}
	// A store may be unable to hold both a and a/b; it need not say why.
	for _, key := range []string{"there", "there/x/y"} {
		if got, err := s.read(key, 0, -1); err == nil {
			t.Errorf("Get %s: %q", key, got)
		}
		if err := s.Remove(context.Background(), key); err == nil {
			t.Errorf("Remove %s succeeded", key)
		}
	}
	s.contains("there/x", "x")
}

func stat(t *testing.T, s suite) {
	s.put("k", "12345")
	info, err := s.Stat(context.Background(), "k")
	if err != nil || info.Key != "k" || info.Size != 5 || time.Since(info.ModTime).Abs() > time.Hour {
		t.Errorf("%+v, %v", info, err)
	}
	for listed := range s.List(context.Background(), "", "") {
		if listed != info {
			t.Errorf("List says %+v, Stat %+v", listed, info)
		}
	}
}

func remove(t *testing.T, s suite) {
	s.put("a/b/c", "x")
	s.put("a/d", "y")
	for _, key := range []string{"a/b/c", "a/d"} {
		if err := s.Remove(context.Background(), key); err != nil {
			t.Errorf("Remove %s: %v", key, err)
		}
		wants(t, "Remove again", s.Remove(context.Background(), key), store.ErrNotExist)
	}
	if left := s.list("", ""); left != nil {
		t.Errorf("left: %v", left)
	}
	s.put("a/b/c", "other bytes")
	s.contains("a/b/c", "other bytes")
}

// Removing the last object of what looks like a directory does not get in the
// way of one who puts the next.
func removeRace(t *testing.T, s suite) {
	const count = 25
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < count && err == nil; i++ {
			_, err = s.Put(context.Background(), fmt.Sprintf("d/e/put%d", i), text("x"))
		}
		done <- err
	}()
	for i := range count {
		key := fmt.Sprintf("d/e/removed%d", i)
		s.put(key, "y")
		if err := s.Remove(context.Background(), key); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(s.list("", "")); n != count {
		t.Errorf("%d objects, want %d", n, count)
	}
}

func keys(t *testing.T, s suite) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", ".hidden", "a/.hidden", "a\nb", "a\x00b", "a\x7f", "\t",
	} {
		_, perr := s.Put(context.Background(), key, text("x"))
		_, gerr := s.read(key, 0, -1)
		_, serr := s.Stat(context.Background(), key)
		rerr := s.Remove(context.Background(), key)
		for what, err := range map[string]error{"Put": perr, "Get": gerr, "Stat": serr, "Remove": rerr} {
			wants(t, fmt.Sprintf("%s %q", what, key), err, store.ErrKey)
		}
	}
	for _, key := range []string{"a b", "ä/ü", "a'\"$(x)%2F", "~", "-rf", "a.b.", strings.Repeat("k", 200)} {
		s.put(key, key)
		s.contains(key, key)
	}
	// A store may be unable to hold what is no text. It must say so then.
	if _, err := s.Put(context.Background(), "\xff", text("x")); err != nil {
		wants(t, "Put of what is not UTF-8", err, store.ErrKey)
	}
}

// Names that are a file and the beginning of a directory's, on both sides of
// the slash in the order of bytes.
var tangled = []string{
	"a", "a b/c", "a!", "a-", "a-b/c", "a.b", "a.b/c", "a.d/x", "ab/c/d", "ab.c", "ab0", "a0/b", "b/a.b", "b/a/c", "b/a-c", "b/a0",
}

func order(t *testing.T, s suite) {
	names := slices.DeleteFunc(slices.Clone(tangled), func(k string) bool { return k == "a.b" })
	want := slices.Sorted(slices.Values(names))
	for i := range names { // put in another order than listed
		s.put(names[(i*7+3)%len(names)], "x")
	}
	if got := s.list("", ""); !slices.Equal(got, want) {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
}

func listPrefixAndAfter(t *testing.T, s suite) {
	names := slices.DeleteFunc(slices.Clone(tangled), func(k string) bool { return k == "a.b" })
	for _, key := range names {
		s.put(key, "x")
	}
	texts := append(slices.Clone(names), "", "a.", "b", "b/", "b/a", "b/a/", "z", "ab", "ab/c", "a.b", "b/b", "~")
	for _, prefix := range texts {
		for _, after := range texts {
			var want []string
			for _, key := range slices.Sorted(slices.Values(names)) {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			if got := s.list(prefix, after); !slices.Equal(got, want) {
				t.Errorf("prefix %q after %q: %q, want %q", prefix, after, got, want)
			}
		}
	}
}

// A listing may be left early, and taken up again behind the last key.
func listEnds(t *testing.T, s suite) {
	for i := range 10 {
		s.put(fmt.Sprintf("d%d/k", i), "x")
	}
	seen, last := 0, ""
	for seen < 10 {
		before := seen
		for info, err := range s.List(context.Background(), "", last) {
			if err != nil {
				t.Fatal(err)
			}
			last = info.Key
			if seen++; seen%3 == 0 {
				break
			}
		}
		if seen == before {
			t.Fatalf("the listing ended after %d keys", seen)
		}
	}
	if rest := s.list("", last); rest != nil {
		t.Errorf("after the last key: %v", rest)
	}
}

func manyKeys(t *testing.T, s suite) {
	count := 1000
	if _, quick := s.Store.(Filler); quick {
		count = 10000
	}
	var want []string
	for i := range count {
		want = append(want, fmt.Sprintf("many/%d/%05d", i%7, i))
	}
	fill(t, s, want)
	slices.Sort(want)
	if got := s.list("many/", ""); !slices.Equal(got, want) {
		t.Errorf("%d keys listed, %d put", len(got), len(want))
	}
	half := want[count/2]
	if got := s.list("many/", half); !slices.Equal(got, want[count/2+1:]) {
		t.Errorf("%d keys listed after %s", len(got), half)
	}
}

// A Filler can make many objects faster than by one Put after the other.
type Filler interface {
	Fill(keys []string) error
}

func fill(t *testing.T, s suite, keys []string) {
	if f, able := s.Store.(Filler); able {
		if err := f.Fill(keys); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, key := range keys {
		s.put(key, "x")
	}
}

func cancelled(t *testing.T, s suite) {
	s.put("there", "x")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Put(ctx, "k", func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		cancel()
		return err
	})
	wants(t, "Put", err, context.Canceled)
	_, err = s.Stat(context.Background(), "k")
	wants(t, "Stat", err, store.ErrNotExist)
	var last error
	for _, last = range s.List(ctx, "", "") {
	}
	wants(t, "List", last, context.Canceled)
}

func large(t *testing.T, s suite) {
	block := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	receipt, err := s.Put(context.Background(), "large", func(w io.Writer) error {
		for range 20 {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || receipt.Size != 20<<20 {
		t.Fatalf("%v, %v", receipt, err)
	}
	got, err := s.read("large", 20<<20-3, -1)
	if err != nil || got != "def" {
		t.Errorf("the end is %q, %v", got, err)
	}
}
