package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"pgpipes/lib/durable"
	"pgpipes/lib/lock"
	"pgpipes/lib/sftpmsg"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
)

var errLate = errors.New("too late")

// patience is for what does end; those who are silent are given less.
const (
	patience = time.Minute
	short    = 200 * time.Millisecond
)

// operations are all that a store can be asked for about the object k.
var operations = map[string]func(context.Context, store.Store) error{
	"Stat": func(ctx context.Context, s store.Store) error { _, err := s.Stat(ctx, "k"); return err },
	"Get":  func(ctx context.Context, s store.Store) error { _, err := read(ctx, s, "k", 0, -1); return err },
	"Put": func(ctx context.Context, s store.Store) error {
		_, err := s.Put(ctx, "k", write("offered"))
		return err
	},
	"List": func(ctx context.Context, s store.Store) error { _, err := keysIn(ctx, s, "k"); return err },
	"Remove": func(ctx context.Context, s store.Store) error {
		return s.Remove(ctx, "k")
	},
	"Sweep": func(ctx context.Context, s store.Store) error {
		return s.(interface {
			Sweep(context.Context, time.Time) error
		}).Sweep(ctx, time.Now())
	},
	"Sync": func(ctx context.Context, s store.Store) error {
		return s.(interface {
			Sync(context.Context, string) error
		}).Sync(ctx, "k")
	},
}

func read(ctx context.Context, s store.Store, key string, offset, length int64) (string, error) {
	body, err := s.Get(ctx, key, offset, length)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

func keysIn(ctx context.Context, s store.Store, prefix string) (keys []string, err error) {
	for info, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return keys, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

// refuses fails the test unless an operation ends soon, in an error that says a
// text, and not in "absent". What only errLate ends is known to the watch by what
// was asked.
func refuses(t *testing.T, what string, s store.Store, says string, do func(context.Context, store.Store) error) {
	t.Helper()
	bound := patience
	var watch wait.Watch
	if says == errLate.Error() {
		bound = short
		defer time.AfterFunc(short/2, func() {
			request, _ := watch.Longest(wait.Request)
			patient, _ := watch.Longest(wait.Patient)
			if !strings.Contains(request+patient, " sftp://vault/") {
				t.Errorf("%s: the watch knows %q and %q", what, request, patient)
			}
		}).Stop()
	}
	ctx, cancel := context.WithTimeoutCause(wait.WithWatch(context.Background(), &watch), bound, errLate)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx, s) }()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, store.ErrNotExist) || !strings.Contains(err.Error(), says) || len(err.Error()) > 5000 {
			t.Errorf("%s: error %.500v, want one with %q", what, err, says)
		}
	case <-time.After(bound + patience):
		t.Fatalf("%s hangs", what)
	}
}

// flood says something for ever.
func flood(w io.Writer, piece string) {
	for b := []byte(strings.Repeat(piece, 1000)); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// Whatever a server does, the store comes to an end that is true, within bounds,
// and leaves nothing behind.
func TestSFTPHostile(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	heap := watchHeap()
	t.Run("all", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"Connections": hostileConnections, "Keys": hostileKeys, "Answers": hostileAnswers, "Reading": hostileReading,
			"Storing": hostileStoring, "Replacing": hostileReplacing, "Lists": hostileLists, "Clock": hostileClock,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	most := heap()
	t.Logf("%d MiB of memory at most", most>>20)
	if most > heapBound {
		t.Errorf("%d MiB of memory", most>>20)
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "files are closed", func() bool { return openFiles(t) <= files })
}

// heapBound is for several tests at once, and their servers.
const heapBound = 256 << 20

// watchHeap returns a function that ends the watch and says how much memory, in
// bytes, was in use at most.
func watchHeap() (most func() uint64) {
	runtime.GC() // what other tests have left is not counted
	over, answer := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for ticker := time.NewTicker(5 * time.Millisecond); ; {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-ticker.C:
			case <-over:
				ticker.Stop()
				answer <- most
				return
			}
		}
	}()
	return func() uint64 {
		close(over)
		return <-answer
	}
}

// Whoever is at the other end, an attempt to connect ends.
func hostileConnections(t *testing.T) {
	for name, test := range map[string]struct {
		*hostile
		says string // errLate's text if only time ends it
	}{
		"silence":         {&hostile{greet: func(c net.Conn) { io.Copy(io.Discard, c) }}, errLate.Error()},
		"gone at once":    {&hostile{greet: func(net.Conn) {}}, "vault"},
		"another program": {&hostile{greet: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }}, "vault"},
		"endless lines":   {&hostile{greet: func(c net.Conn) { flood(c, "welcome\r\n") }}, "version"},
		"an endless line": {&hostile{greet: func(c net.Conn) { flood(c, "welcome") }}, "version"},
		"garbage": {&hostile{greet: func(c net.Conn) {
			io.WriteString(c, "SSH-2.0-x\r\n")
			flood(c, "\xff\x00garbage")
		}}, "vault"},
		"endless banner": {&hostile{preAuth: func(c ssh.ServerPreAuthConn) {
			for c.SendAuthBanner(strings.Repeat("welcome ", 1000)) == nil {
			}
		}}, errLate.Error()},
		"no sftp":        {&hostile{refuse: true}, "does not offer"},
		"no answer":      {&hostile{session: func(c ssh.Channel) { io.Copy(io.Discard, c) }}, errLate.Error()},
		"end of session": {&hostile{session: func(c ssh.Channel) { io.WriteString(c.Stderr(), "no disk") }}, "no disk"},
		"endless complaint": {&hostile{session: func(c ssh.Channel) {
			flood(c.Stderr(), "no disk\a\n")
		}}, errLate.Error()},
		"a shell that talks": {&hostile{session: func(c ssh.Channel) { flood(c, "Welcome\n") }}, "shell"},
		"4 GiB":              {&hostile{session: func(c ssh.Channel) { flood(c, "\xff\xff\xff\xff") }}, "not a message of sftp"},
		"zeros":              {&hostile{session: func(c ssh.Channel) { flood(c, "\x00\x00\x00\x00") }}, "not a message of sftp"},
		"another version": {&hostile{session: func(c ssh.Channel) {
			io.WriteString(c, "\x00\x00\x00\x05\x02\x00\x00\x00\x06")
			io.Copy(io.Discard, c)
		}}, "version"},
		"cut": {&hostile{session: func(c ssh.Channel) { io.WriteString(c, "\x00\x00\x00\x05\x02\x00") }}, "vault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := test.hostile.start(t)
			refuses(t, name, s, test.says, operations["Stat"])
		})
	}
}

// A key that is another's is refused before anything is said.
func hostileKeys(t *testing.T) {
	h := &hostile{session: func(ssh.Channel) { t.Error("it was let in") }}
	s := h.start(t)
	h.know(t, newKey(t))
	for what, do := range operations {
		refuses(t, what, s, "CHANGED", do)
	}
	os.WriteFile(h.known, nil, 0o600)
	refuses(t, "unknown", s, "is not known", operations["Stat"])
}

// Answers that are none end all operations, name the object, and are not taken
// for any answer.
func hostileAnswers(t *testing.T) {
	other := func(m sftpmsg.Message) sftpmsg.Message {
		return binary.BigEndian.AppendUint32(sftpmsg.Message{m[0]}, idOf(m)+1000)
	}
	for name, test := range map[string]struct {
		instead func(sftpmsg.Message) []byte
		says    string
	}{
		"silence":         {func(sftpmsg.Message) []byte { return []byte{} }, errLate.Error()},
		"4 GiB":           {func(sftpmsg.Message) []byte { return []byte("\xff\xff\xff\xff") }, "not a message"},
		"nothing":         {func(sftpmsg.Message) []byte { return []byte("\x00\x00\x00\x00") }, "not a message"},
		"cut":             {func(sftpmsg.Message) []byte { return []byte("\x00\x00\x00\x02\x65\x00") }, "protocol"},
		"another's":       {func(m sftpmsg.Message) []byte { return status(other(m), 2) }, "nothing that was asked"},
		"two answers":     {func(m sftpmsg.Message) []byte { return append(status(m, 4), status(m, 4)...) }, ""},
		"ok":              {func(m sftpmsg.Message) []byte { return status(m, 0) }, `"ok" without`},
		"end of file":     {func(m sftpmsg.Message) []byte { return status(m, codeEOF) }, ""},
		"an unknown kind": {func(m sftpmsg.Message) []byte { return reply(77, m) }, ""},
		"data":            {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Data, m, "data") }, ""},
		"empty data":      {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Data, m, "") }, "no data"},
		"an empty handle": {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Handle, m, "") }, "handle"},
		"a handle":        {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Handle, m, "h") }, ""},
		"no attributes":   {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Attrs, m, 0) }, "without size"},
		"cut attributes":  {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Attrs, m, 0xd, 1) }, "cut"},
		"impossible size": {func(m sftpmsg.Message) []byte {
			return reply(sftpmsg.Attrs, m, attributes(1<<63, plainFile, time.Now())...)
		}, "impossible"},
		"an endless explanation": {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Status, m, 4, strings.Repeat("no ", 50000), "") }, "endless"},
		"many names":             {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Name, m, 0x7fffffff) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{instead: test.instead}
			s := h.start(t)
			for what, do := range operations {
				refuses(t, what, s, test.says, do)
			}
		})
	}
}

// An object that is cut, or longer than it was said to be, is not read.
func hostileReading(t *testing.T) {
	size := func(n uint64) func(sftpmsg.Message, sftpmsg.Message) []byte {
		return func(_, honest sftpmsg.Message) []byte {
			if honest[0] == sftpmsg.Attrs {
				if _, f, _ := honest.Parts(); f.Number()&1 != 0 {
					binary.BigEndian.PutUint64(honest[9:], n)
				}
			}
			return honest.Bytes()
		}
	}
	data := func(change func(request, honest sftpmsg.Message, offset uint64) []byte) func(sftpmsg.Message, sftpmsg.Message) []byte {
		return func(request, honest sftpmsg.Message) []byte {
			if request == nil || request[0] != sftpmsg.Read {
				return honest.Bytes()
			}
			_, f, _ := request.Parts()
			f.Text()
			return change(request, honest, f.Long())
		}
	}
	for name, test := range map[string]struct {
		after func(request, honest sftpmsg.Message) []byte
		says  string
		whole bool // only who reads the whole can know
	}{
		"early end": {data(func(request, honest sftpmsg.Message, offset uint64) []byte {
			if offset > 0 {
				return status(request, codeEOF)
			}
			return honest.Bytes()
		}), "have not come", false},
		"end at once": {data(func(request, _ sftpmsg.Message, _ uint64) []byte { return status(request, codeEOF) }), "have not come", false},
		"short, then the end": {data(func(request, honest sftpmsg.Message, offset uint64) []byte {
			if offset > 0 {
				return status(request, codeEOF)
			}
			return reply(sftpmsg.Data, request, "short")
		}), "have not come", false},
		"short in the middle": {data(func(request, honest sftpmsg.Message, offset uint64) []byte {
			if offset > 0 {
				return honest.Bytes()
			}
			return reply(sftpmsg.Data, request, "short")
		}), "have not come", true},
		"longer than said":  {size(10), "more has come", true},
		"shorter than said": {size(1 << 40), "have not come", true},
		"empty, it is said": {size(0), "more has come", true},
		"nothing, for ever": {data(func(request, _ sftpmsg.Message, _ uint64) []byte { return reply(sftpmsg.Data, request, "") }), "no data", false},
		"more than asked for, then the end": {data(func(request, honest sftpmsg.Message, offset uint64) []byte {
			if offset > 0 {
				return status(request, codeEOF)
			}
			return reply(sftpmsg.Data, request, strings.Repeat("more", 50000))
		}), "have not come", false},
		"failure": {data(func(request, honest sftpmsg.Message, offset uint64) []byte {
			if offset > 0 {
				return status(request, 4)
			}
			return honest.Bytes()
		}), "SSH_FX_FAILURE", false},
		"no such file any more": {data(func(request, honest sftpmsg.Message, offset uint64) []byte { return status(request, 2) }), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{after: test.after}
			s := h.start(t)
			contents := strings.Repeat("0123456789abcdef", 20000)
			if err := os.WriteFile(filepath.Join(h.Root, "k"), []byte(contents), 0o600); err != nil {
				t.Fatal(err)
			}
			reads := map[string][2]int64{"the whole": {0, -1}, "the end": {5, -1}, "a part": {0, 300000}}
			if test.whole {
				reads = map[string][2]int64{"the whole": {0, -1}}
			}
			for what, r := range reads {
				refuses(t, what, s, test.says, func(ctx context.Context, s store.Store) error {
					_, err := read(ctx, s, "k", r[0], r[1])
					if err != nil && !strings.Contains(err.Error(), "reading k in sftp://vault") {
						t.Errorf("not named: %v", err)
					}
					return err
				})
			}
		})
	}
}

// extension reports whether a request is an extension's.
func extension(m sftpmsg.Message, name string) bool {
	_, f, _ := m.Parts()
	return m[0] == sftpmsg.Extended && f.Text() == name
}

// without takes an extension out of what the server offers.
func without(m sftpmsg.Message, name string) []byte {
	i := strings.Index(string(m), "\x00\x00\x00"+string(rune(len(name)))+name)
	return append(m[:i:i], m[i+4+len(name)+4+1:]...).Bytes()
}

// What was not stored is not said to be.
func hostileStoring(t *testing.T) {
	noLinks := func(request, honest sftpmsg.Message) []byte {
		if honest[0] == sftpmsg.Version {
			return without(honest, "hardlink@openssh.com")
		}
		return honest.Bytes()
	}
	ok := func(when func(sftpmsg.Message) bool) func(sftpmsg.Message) []byte {
		return func(m sftpmsg.Message) []byte {
			if when(m) {
				return status(m, 0)
			}
			return nil
		}
	}
	links := func(m sftpmsg.Message) bool { return extension(m, "hardlink@openssh.com") }
	renames := func(m sftpmsg.Message) bool { return m[0] == sftpmsg.Rename }
	for name, test := range map[string]struct {
		instead func(sftpmsg.Message) []byte
		after   func(request, honest sftpmsg.Message) []byte
		says    string
		named   bool // the object has its name, and is wrong
	}{
		"lost writes": {ok(func(m sftpmsg.Message) bool { return m[0] == sftpmsg.Write }), nil, "has taken", false},
		"a lost end": {ok(func(m sftpmsg.Message) bool {
			_, f, _ := m.Parts()
			f.Text()
			return m[0] == sftpmsg.Write && f.Long() > 0
		}), nil, "has taken", false},
		"no link":   {ok(links), nil, "has not given it its name", false},
		"no rename": {ok(renames), noLinks, "has not given it its name", false},
		"no sync":   {func(m sftpmsg.Message) []byte { return failing(m, extension(m, "fsync@openssh.com")) }, nil, "SSH_FX_FAILURE", false},
		"silence": {func(m sftpmsg.Message) []byte {
			if m[0] == sftpmsg.Write {
				return []byte{}
			}
			return nil
		}, nil, errLate.Error(), false},
		"full": {func(m sftpmsg.Message) []byte { return failing(m, m[0] == sftpmsg.Write) }, nil, "SSH_FX_FAILURE", false},
		"a cut copy": {nil, func(request, honest sftpmsg.Message) []byte {
			if request != nil && request[0] == sftpmsg.Stat && honest[0] == sftpmsg.Attrs {
				if _, f, _ := honest.Parts(); f.Number() > 0 && f.Long() > 100000 && !isDirectory(honest) {
					binary.BigEndian.PutUint64(honest[9:], 1000)
				}
			}
			return honest.Bytes()
		}, "has stored 1000 of 200000 bytes", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{instead: test.instead, after: test.after}
			s := h.start(t)
			refuses(t, "Put", s, test.says, func(ctx context.Context, s store.Store) error {
				_, err := s.Put(ctx, "dir/k", write(strings.Repeat("x", 200000)))
				if err != nil && !errors.Is(err, errLate) && !strings.Contains(err.Error(), "dir/") {
					t.Errorf("not named: %v", err)
				}
				return err
			})
			if _, err := os.Lstat(filepath.Join(h.Root, "dir/k")); !test.named && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it has got its name: %v", err)
			}
		})
	}
}

// A server has no word for a full disk. What cannot be stored there is named, and the
// disk is asked for.
func TestSFTPSaysThatItIsFull(t *testing.T) {
	const reason = ": the disk is full there"
	failure := func(m sftpmsg.Message) []byte { return reply(sftpmsg.Status, m, codeFailure, "Failure", "") }
	vfs := func(blocks, files uint64) func(sftpmsg.Message) []byte {
		return func(m sftpmsg.Message) []byte {
			return reply(sftpmsg.Answer, m, uint64(4096), uint64(4096), uint64(1000), blocks, blocks, uint64(1000), files, files, uint64(1), uint64(0), uint64(255))
		}
	}
	for name, c := range map[string]struct {
		fails byte
		disk  func(sftpmsg.Message) []byte
		full  bool
	}{
		"no blocks":    {sftpmsg.Write, vfs(0, 500), true},
		"no files":     {sftpmsg.Open, vfs(500, 0), true},
		"no directory": {sftpmsg.Mkdir, vfs(0, 500), true},
		"room":         {sftpmsg.Write, vfs(500, 500), false},
		"says nothing": {sftpmsg.Write, func(m sftpmsg.Message) []byte { return reply(sftpmsg.Status, m, sftpmsg.OK, "", "") }, false},
		"does not say": {sftpmsg.Write, func(m sftpmsg.Message) []byte { return reply(sftpmsg.Status, m, codeUnsupported, "", "") }, false},
		"cut":          {sftpmsg.Write, func(m sftpmsg.Message) []byte { return reply(sftpmsg.Answer, m, uint64(4096)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{instead: func(m sftpmsg.Message) []byte {
				if extension(m, "statvfs@openssh.com") {
					return c.disk(m)
				}
				if m[0] == c.fails {
					return failure(m)
				}
				return nil
			}}
			s := h.start(t)
			_, err := s.Put(t.Context(), "dir/k", write(strings.Repeat("contents", 1<<20)))
			if err == nil || !strings.Contains(err.Error(), h.Root+"/dir") || strings.Contains(err.Error(), reason) != c.full || errors.Is(err, unix.ENOSPC) != c.full {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An object has its name only after the server has said that its bytes are on the
// disk, and that it is not open any more.
func TestSFTPNamesWhatIsSafe(t *testing.T) {
	var mu sync.Mutex
	var file string // the handle of what is written
	var synced, closed, linked bool
	h := &hostile{
		instead: func(m sftpmsg.Message) []byte {
			mu.Lock()
			defer mu.Unlock()
			if extension(m, "hardlink@openssh.com") {
				linked = true
				if !synced || !closed {
					t.Errorf("the name is given to what is synced: %t, closed: %t", synced, closed)
				}
			}
			return nil
		},
		after: func(request, honest sftpmsg.Message) []byte {
			if request == nil {
				return honest.Bytes()
			}
			_, asked, _ := request.Parts()
			_, answer, _ := honest.Parts()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case request[0] == sftpmsg.Open && honest[0] == sftpmsg.Handle && strings.HasSuffix(asked.Text(), ".tmp"):
				file = answer.Text()
			case request[0] == sftpmsg.Close && asked.Text() == file:
				closed = true
			case extension(request, "fsync@openssh.com"):
				asked.Text()
				synced = synced || asked.Text() == file && answer.Number() == 0
			}
			return honest.Bytes()
		},
	}
	if _, err := h.start(t).Put(t.Context(), "dir/k", write(strings.Repeat("x", 200000))); err != nil || !linked {
		t.Errorf("linked: %t, %v", linked, err)
	}
}

func failing(m sftpmsg.Message, when bool) []byte {
	if when {
		return status(m, 4)
	}
	return nil
}

func isDirectory(attrs sftpmsg.Message) bool {
	_, f, _ := attrs.Parts()
	if told := f.Number(); told&2 != 0 {
		f.Long()
	}
	f.Long()
	return f.Number()&0o170000 == 0o040000
}

// A server without links whose renaming replaces what is there is kept from it.
func hostileReplacing(t *testing.T) {
	h := &hostile{
		instead: func(m sftpmsg.Message) []byte {
			if m[0] != sftpmsg.Rename {
				return nil
			}
			_, f, _ := m.Parts()
			if err := os.Rename(f.Text(), f.Text()); err != nil {
				return status(m, 4)
			}
			return status(m, 0)
		},
		after: func(_, honest sftpmsg.Message) []byte {
			if honest[0] == sftpmsg.Version {
				return without(honest, "hardlink@openssh.com")
			}
			return honest.Bytes()
		},
	}
	s := h.start(t)
	ctx := context.Background()
	if _, err := s.Put(ctx, "k", write("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, "k", write("other")); !errors.Is(err, store.ErrDiffers) {
		t.Errorf("error %v, want %v", err, store.ErrDiffers)
	}
	if got, err := read(ctx, s, "k", 0, -1); got != "first" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Lists come to an end, and have only what could be asked for.
func hostileLists(t *testing.T) {
	listing := func(answer func(sftpmsg.Message) []byte) func(sftpmsg.Message) []byte {
		return func(m sftpmsg.Message) []byte {
			if m[0] == sftpmsg.Readdir {
				return answer(m)
			}
			return nil
		}
	}
	once := func(mode int, list ...string) func(sftpmsg.Message) []byte {
		said := map[string]bool{}
		return func(m sftpmsg.Message) []byte {
			_, f, _ := m.Parts()
			handle := f.Text()
			switch {
			case m[0] == sftpmsg.Opendir:
				delete(said, "h")
				return reply(sftpmsg.Handle, m, "h")
			case m[0] == sftpmsg.Close:
				return status(m, 0)
			case m[0] != sftpmsg.Readdir:
				return nil
			case said[handle]:
				return status(m, codeEOF)
			}
			said[handle] = true
			return names(m, mode, list...)
		}
	}
	for name, test := range map[string]struct {
		instead func(sftpmsg.Message) []byte
		says    string
	}{
		"the same for ever": {listing(func(m sftpmsg.Message) []byte { return names(m, plainFile, slices.Repeat([]string{"k"}, 7000)...) }), "more names"},
		"no names for ever": {listing(func(m sftpmsg.Message) []byte { return names(m, plainFile) }), "no names"},
		"ok":                {listing(func(m sftpmsg.Message) []byte { return status(m, 0) }), `"ok" without`},
		"a path":            {once(plainFile, "a/b"), `"a/b"`},
		"upwards":           {once(plainFile, "../../etc/passwd"), `"../../etc/passwd"`},
		"a slash":           {once(directory, "/"), `"/"`},
		"no name":           {once(plainFile, ""), `""`},
		"NUL":               {once(plainFile, "a\x00b"), `"a\x00b"`},
		"no end downwards":  {once(directory, strings.Repeat("deeper", 30)), "without end"},
		"a size below zero": {listing(func(m sftpmsg.Message) []byte {
			return reply(sftpmsg.Name, m, append([]any{1, "k", "k"}, attributes(1<<63, plainFile, time.Now())...)...)
		}), "impossible"},
		"cut": {listing(func(m sftpmsg.Message) []byte { return reply(sftpmsg.Name, m, 2, "k", "k") }), "cut"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{instead: test.instead}
			s := h.start(t)
			refuses(t, "List", s, test.says, func(ctx context.Context, s store.Store) error {
				keys, err := keysIn(ctx, s, "")
				if len(keys) > 0 {
					t.Errorf("%d keys, %.100q", len(keys), keys[0])
				}
				return err
			})
			if name != "the same for ever" { // once takes long enough
				refuses(t, "Sweep", s, test.says, operations["Sweep"])
			}
		})
	}
	t.Run("what can have no key", func(t *testing.T) {
		t.Parallel()
		h := &hostile{instead: once(plainFile, ".", "..", ".hidden", "new\nline", "es\x1bcape", "b", "a")}
		s := h.start(t)
		if keys, err := keysIn(context.Background(), s, ""); err != nil || fmt.Sprint(keys) != "[a b]" {
			t.Errorf("%q, %v", keys, err)
		}
	})
}

// Nothing depends on the clocks of two hosts by less than a day: leases compare
// none, and what is swept is two days old.
func hostileClock(t *testing.T) {
	for name, off := range map[string]time.Duration{"slow": -time.Hour, "fast": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hostile{after: func(_, honest sftpmsg.Message) []byte { return shifted(honest, off) }}
			s := h.start(t)
			ctx := context.Background()
			l, err := lock.Take(ctx, s, "backup", "test", time.Minute, 0)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := s.Stat(ctx, "lease/backup/0000000001"); err != nil || time.Since(info.ModTime.Add(-off)).Abs() > time.Minute {
				t.Errorf("the clock is right: %v, %v", info, err)
			}
			if err := l.Renew(ctx); err != nil {
				t.Errorf("renewed: %v", err)
			}
			soon, cancel := context.WithTimeoutCause(ctx, short, errLate)
			defer cancel()
			if _, err := lock.Take(soon, s, "backup", "test", time.Minute, time.Minute); err == nil {
				t.Error("a lease was taken that is held")
			}
			if err := errors.Join(l.Held(ctx), l.Release(ctx)); err != nil {
				t.Errorf("held and released: %v", err)
			}
			if _, err := lock.Take(ctx, s, "backup", "test", time.Minute, 0); err != nil {
				t.Errorf("a free lease: %v", err)
			}
			fresh, old := filepath.Join(h.Root, durable.TemporaryPrefix+"fresh"), filepath.Join(h.Root, durable.TemporaryPrefix+"old")
			if err := errors.Join(os.WriteFile(fresh, nil, 0o600), os.WriteFile(old, nil, 0o600), os.Chtimes(old, time.Time{}, time.Now().Add(-72*time.Hour))); err != nil {
				t.Fatal(err)
			}
			sweep := s.(interface {
				Sweep(context.Context, time.Time) error
			})
			if err := sweep.Sweep(ctx, time.Now().Add(-48*time.Hour)); err != nil {
				t.Fatal(err)
			}
			_, ferr := os.Stat(fresh)
			if _, err := os.Stat(old); ferr != nil || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("fresh: %v, old: %v", ferr, err)
			}
		})
	}
}

// shifted is an answer of a server whose clock is off.
func shifted(m sftpmsg.Message, off time.Duration) []byte {
	_, f, _ := m.Parts()
	n := uint32(0)
	switch m[0] {
	case sftpmsg.Attrs:
		n = 1
	case sftpmsg.Name:
		n = f.Number()
	}
	for ; n > 0; n-- {
		if m[0] == sftpmsg.Name {
			_, _ = f.Text(), f.Text()
		}
		told := f.Number()
		f.Long()
		if told&2 != 0 {
			f.Long()
		}
		f.Number()
		for range 2 {
			at := f.Rest[:4]
			binary.BigEndian.PutUint32(at, uint32(int64(f.Number())+int64(off.Seconds())))
		}
	}
	return m.Bytes()
}
