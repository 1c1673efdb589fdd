package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pgpipes/lib/durable"
	"pgpipes/lib/store"
	"pgpipes/lib/store/storetest"
	"pgpipes/test/network"
	"pgpipes/test/sshd"
)

// far opens a store in a directory at a server.
func far(t *testing.T, host *sshd.Server, root string) dir {
	t.Helper()
	s, err := store.Open(host.Location(root))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.(io.Closer).Close() })
	return dir{s, root}
}

func TestSFTPConforms(t *testing.T) {
	host := sshd.Start(t)
	storetest.Run(t, func() store.Store { return far(t, host, t.TempDir()) })
}

// An account that may do nothing but sftp, in a directory of its own, is enough;
// so is a server that offers no links.
func TestSFTPConformsToNarrowServers(t *testing.T) {
	for name, setting := range map[string]string{
		"ForcedCommand": "ForceCommand internal-sftp", "NoLinks": "ForceCommand internal-sftp -P hardlink,setstat,fsetstat",
	} {
		t.Run(name, func(t *testing.T) {
			host := sshd.Start(t, setting)
			storetest.Run(t, func() store.Store { return far(t, host, t.TempDir()) })
		})
	}
}

// Without a sync nobody knows whether what was stored survives.
func TestSFTPRefusesServerWithoutSync(t *testing.T) {
	d := far(t, sshd.Start(t, "ForceCommand internal-sftp -P fsync"), t.TempDir())
	if _, err := d.Put(context.Background(), "k", write("x")); err == nil {
		t.Error("stored without a sync")
	}
	if left := leftovers(t, d.root); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func leftovers(t *testing.T, root string) (names []string) {
	t.Helper()
	filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path)
		}
		return nil
	})
	return names
}

func TestSFTPVanishedIsNotAbsent(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, filepath.Join(t.TempDir(), "gone"))
	_, gerr := d.Get(context.Background(), "k", 0, -1)
	_, serr := d.Stat(context.Background(), "k")
	rerr := d.Remove(context.Background(), "k")
	var lerr error
	for _, lerr = range d.List(context.Background(), "wal/", "") {
	}
	_, perr := d.Put(context.Background(), "a/k", write("x"))
	for what, err := range map[string]error{"Get": gerr, "Stat": serr, "Remove": rerr, "List": lerr, "Put": perr} {
		if err == nil || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !errors.Is(gerr, store.ErrNoPlace) || !errors.Is(serr, store.ErrNoPlace) {
		t.Errorf("Get: %v; Stat: %v", gerr, serr)
	}
	// Nor is a place made in one that is not there.
	below := far(t, host, filepath.Join(d.root, "below"))
	if _, err := below.Put(context.Background(), "k", write("x")); !errors.Is(err, store.ErrNoPlace) {
		t.Errorf("Put below: %v", err)
	}
	host.Kill()
	_, serr = d.Stat(context.Background(), "k")
	if serr == nil || errors.Is(serr, store.ErrNotExist) || errors.Is(serr, store.ErrNoPlace) {
		t.Errorf("nobody there: %v", serr)
	}
}

// A link that leads nowhere is named, whoever finds it.
func TestSFTPDanglingLinkIsNamed(t *testing.T) {
	d := far(t, sshd.Start(t), t.TempDir())
	d.put(t, "wal/x/k", "x")
	link := filepath.Join(d.root, "wal/x/link")
	if err := os.Symlink("/not/mounted", link); err != nil {
		t.Fatal(err)
	}
	_, serr := d.Stat(context.Background(), "wal/x/link")
	var lerr error
	for _, lerr = range d.List(context.Background(), "", "") {
	}
	for what, err := range map[string]error{"Stat": serr, "List": lerr} {
		if err == nil || errors.Is(err, store.ErrNotExist) || !strings.Contains(err.Error(), link) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A connection that was lost between two requests is made again.
func TestSFTPConnectsAgain(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, t.TempDir())
	d.put(t, "a/k", "x")
	for range 3 {
		host.EndSessions()
		if _, err := d.Stat(context.Background(), "a/k"); err != nil {
			t.Fatal(err)
		}
		host.EndSessions()
		d.put(t, "a/l", "y")
	}
}

// A server that dies while something is written leaves nothing under its name,
// and the failure is told.
func TestSFTPServerDiesWhileStoring(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, t.TempDir())
	d.put(t, "here", "x")
	_, err := d.Put(context.Background(), "k", func(w io.Writer) error {
		piece := make([]byte, 1<<20)
		for i := range 20 {
			if i == 3 {
				host.EndSessions()
			}
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		t.Fatal("success")
	}
	if _, err := d.Stat(context.Background(), "k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
	for _, path := range leftovers(t, d.root) {
		if name := filepath.Base(path); name != "here" && !strings.HasPrefix(name, durable.TemporaryPrefix) {
			t.Errorf("left behind: %s", path)
		}
	}
}

// What is given up leaves nothing, also while whoever gives the bytes is waited for. A
// server on a busy machine may not be quick enough for that every time.
func TestSFTPGivenUp(t *testing.T) {
	t.Parallel()
	d := far(t, sshd.Start(t), t.TempDir())
	for range 5 {
		if left := giveUp(t, d); len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind each time: %s", leftovers(t, d.root))
}

// giveUp gives an object up when nearly all that was written of it has arrived, and returns
// what is left of it.
func giveUp(t *testing.T, d dir) []string {
	t.Helper()
	const size = 1 << 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	goOn, stored := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := d.Put(ctx, "k", func(w io.Writer) error {
			_, err := w.Write(make([]byte, size))
			<-goOn
			return err
		})
		stored <- err
	}()
	eventually(t, "nearly all is there", func() bool {
		for _, path := range leftovers(t, d.root) {
			if info, err := os.Stat(path); err == nil && info.Size() > size*3/4 { // the last piece waits for more
				return true
			}
		}
		return false
	})
	cancel()
	for deadline := time.Now().Add(time.Second); len(leftovers(t, d.root)) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	left := leftovers(t, d.root)
	close(goOn)
	if err := <-stored; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for _, path := range leftovers(t, d.root) {
		os.Remove(path)
	}
	return left
}

// A server that is silent holds up nobody for longer than the context allows.
func TestSFTPSilentServer(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, t.TempDir())
	d.put(t, "k", strings.Repeat("x", 1<<20))
	host.Signal(syscall.SIGSTOP)
	defer host.Signal(syscall.SIGCONT)
	late := errors.New("too late")
	for what, ask := range map[string]func(ctx context.Context) error{
		"Stat": func(ctx context.Context) error { _, err := d.Stat(ctx, "k"); return err },
		"Put":  func(ctx context.Context) error { _, err := d.Put(ctx, "l", write("y")); return err },
		"Get": func(ctx context.Context) error {
			body, err := d.Get(ctx, "k", 0, -1)
			if err == nil {
				defer body.Close()
				_, err = io.ReadAll(body)
			}
			return err
		},
	} {
		ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, late)
		done := make(chan error, 1)
		go func() { done <- ask(ctx) }()
		select {
		case err := <-done:
			if !errors.Is(err, late) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s hangs", what)
		}
		cancel()
	}
}

// Nor does one that is silent hold up who has done with it.
func TestSFTPCloseDoesNotWait(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, t.TempDir())
	d.put(t, "k", "x")
	host.Signal(syscall.SIGSTOP)
	defer host.Signal(syscall.SIGCONT)
	done := make(chan error, 1)
	go func() { done <- d.Store.(io.Closer).Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

// What is cut on the way is no shorter object.
func TestSFTPServerDiesWhileReading(t *testing.T) {
	host := sshd.Start(t)
	d := far(t, host, t.TempDir())
	d.put(t, "k", strings.Repeat("x", 64<<20))
	for _, length := range []int64{-1, 60 << 20} {
		body, err := d.Get(context.Background(), "k", 0, length)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		host.EndSessions()
		if n, err := io.Copy(io.Discard, body); err == nil {
			t.Errorf("%d bytes and no error", n)
		}
		body.Close()
	}
}

func TestSFTPHostKeys(t *testing.T) {
	host := sshd.Start(t)
	root := t.TempDir()
	ask := func() error {
		d := far(t, host, root)
		_, err := d.Stat(context.Background(), "k")
		return err
	}
	wantsText := func(err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
	known, err := os.ReadFile(host.Path("known"))
	if err != nil {
		t.Fatal(err)
	}
	host.Write("known", "")
	wantsText(ask(), "is not known")
	host.Configure("StrictHostKeyChecking accept-new")
	if err := ask(); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("accept-new: %v", err)
	}
	if now, err := os.ReadFile(host.Path("known")); err != nil || !strings.HasPrefix(string(known), strings.TrimSpace(string(now))) {
		t.Errorf("remembered %q, %v; the key is %q", now, err, known)
	}
	stranger, err := os.ReadFile(host.Path("user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	host.Write("known", sshd.Name+" "+string(stranger))
	wantsText(ask(), "CHANGED")
	host.Write("known", string(known))
	host.Configure("IdentityFile /does/not/exist")
	host.Write("authorized", string(stranger))
	if err := ask(); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("the second key: %v", err)
	}
	host.Write("authorized", "")
	wantsText(ask(), "unable to authenticate")
}

// Megabytes on standard error hold up nobody, and do not become a message.
func TestSFTPMuchIsSaid(t *testing.T) {
	host := sshd.Start(t, `ForceCommand head -c 3000000 /dev/zero | tr '\0' x >&2; echo no disk >&2`)
	d := far(t, host, t.TempDir())
	_, err := d.Stat(context.Background(), "k")
	if err == nil || errors.Is(err, store.ErrNotExist) || len(err.Error()) > 5000 {
		t.Errorf("%.300v", err)
	}
}

// What is said may end on a terminal, and some of those obey the control characters
// of eight bits, too.
func TestSFTPSaysNoControls(t *testing.T) {
	h := &hostile{session: func(c ssh.Channel) { io.WriteString(c.Stderr(), "no\x1b[31m\u009b31m disk\r\n") }}
	_, err := h.start(t).Stat(context.Background(), "k")
	if err == nil || !strings.Contains(err.Error(), "no [31m 31m disk") {
		t.Errorf("%q", err)
	}
}

func TestSFTPLocations(t *testing.T) {
	for _, location := range []string{"sftp://", "sftp:///x", "sftp://host", "sftp://u:secret@host/x", "sftp://host/x?y", "sftp://host/x?config=f&z=1", "sftp://host:port/x"} {
		if _, err := store.Open(location); !errors.Is(err, store.ErrLocation) {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// What is not a location may hold a password, in the right place or in a wrong
// one, and is not told whoever reads the messages.
func TestSecretsInLocations(t *testing.T) {
	for _, location := range []string{
		"sftp://u:secret@host/x", "sftp://u:se%secret@host/x", "sftp://u:secret/secret@host/x", "sftp://u:secret@host:port/x", "sftp://u:12#secret@host/x",
		"sftp://u:12?secret@host/x", "sftp://u:sec ret\nsecret@host/x", "sftp://u:secret@/x", "sftp://host/x?password=secret", "sftp://host#secret",
		"s3://key:secret@bucket/x", "s3://b/x?password=secret", "s3://b/x?endpoint=http://u:secret@host", "s3://b/x?endpoint=u:secret@host", "s3://b/x?sse=secret",
		"s3://b#secret", "ftp://u:secret@host/x", "ftp://host?secret",
	} {
		if _, err := store.Open(location); !errors.Is(err, store.ErrLocation) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// What has to wait for what came before is far away, too.
func TestSFTPRoundTrips(t *testing.T) {
	t.Parallel()
	const trip = 500 * time.Millisecond
	d, way := remote(t)
	d.put(t, "a/b/first", "x")
	for name, size := range map[string]int{"k": 1, "more": 100_000} {
		if err := os.WriteFile(filepath.Join(d.root, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	way.Set(network.Weather{Delay: trip / 2})
	puts := 0
	for _, test := range []struct {
		what  string
		do    func(context.Context, store.Store) error
		trips time.Duration
	}{
		{"Stat", operations["Stat"], 1},
		{"Get", operations["Get"], 3}, // looking, opening, reading
		{"Get of more", func(ctx context.Context, s store.Store) error {
			_, err := read(ctx, s, "more", 0, -1)
			return err
		}, 3},
		// Making the file; the bytes; their sync; closing; the name; and its sync.
		{"Put", func(ctx context.Context, s store.Store) error {
			puts++
			_, err := s.Put(ctx, fmt.Sprintf("a/b/%d", puts), write("offered"))
			return err
		}, 6},
	} {
		fastest := time.Hour // of some, as disks and processors are busy at times
		for range 10 {
			begun := time.Now()
			if err := test.do(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if fastest = min(fastest, time.Since(begun)); fastest < test.trips*trip+trip*9/10 {
				break
			}
		}
		if fastest < test.trips*trip || fastest > test.trips*trip+trip*9/10 {
			t.Errorf("%s: %.1f round trips", test.what, float64(fastest)/float64(trip))
		}
	}
}

// On a narrow way the answer to a question is behind all that is under way: a host of
// which something comes is there.
func TestSFTPOnNarrowWay(t *testing.T) {
	t.Parallel()
	d, way := remote(t, "ServerAliveInterval 1", "ServerAliveCountMax 1")
	d.put(t, "first", "")
	way.Set(network.Weather{Rate: 400e3})
	contents := strings.Repeat("contents", 200e3)
	d.put(t, "k", contents)
	if got, err := store.Sum(t.Context(), d, "k"); err != nil || got.Size != int64(len(contents)) {
		t.Errorf("%v, %v", got, err)
	}
}

// remote is a store at a server to which there is a way with weather.
func remote(t *testing.T, settings ...string) (dir, *network.Proxy) {
	t.Helper()
	host := sshd.Start(t)
	way, err := network.Start("127.0.0.1:0", "127.0.0.1:"+strconv.Itoa(host.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Close)
	_, port, _ := net.SplitHostPort(way.Addr)
	host.Configure(append(settings, "Port "+port)...)
	return far(t, host, t.TempDir()), way
}
