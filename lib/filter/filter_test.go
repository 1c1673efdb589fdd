package filter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// write sends n bytes through a command.
func write(t *testing.T, text string, n int) (string, error) {
	t.Helper()
	w, err := Command{Text: text, Env: []string{"PART=007"}}.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	if _, err := io.Copy(w, io.LimitReader(zeros{}, int64(n))); err != nil {
		return "", err
	}
	printed, err := w.Finish()
	return string(printed), err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWriter(t *testing.T) {
	for _, c := range []struct {
		text    string
		n       int
		printed string
		failure string // in the error
	}{
		{text: "wc -c; echo $PART", n: 5 << 20, printed: "5242880\n007"},
		{text: "cat >/dev/null", n: 0},
		{text: "cat >/dev/null; exit 3", n: 100, failure: "status 3"},
		{text: "exit 3", n: 5 << 20, failure: "status 3"},
		{text: "exit 0", n: 5 << 20, failure: "before it had read everything"},
		{text: "true", n: 100, failure: "before it had read everything"},
		{text: "setsid -f sleep 2; exit 0", n: 3 << 20, failure: "before it had read everything"}, // which keeps the input open
		{text: "head -c 1000 >/dev/null", n: 3 << 20, failure: "before it had read everything"},
		{text: "cat >/dev/null; kill -KILL $$", n: 1, failure: "signal killed"},
		{text: "cat; cat", n: 100 << 10, failure: "prints too much"},
		{text: "cat >/dev/null; head -c 3000000 /dev/zero >&2; echo done", n: 1, printed: "done"},
	} {
		t.Run(c.text, func(t *testing.T) {
			printed, err := write(t, c.text, c.n)
			switch {
			case c.failure == "":
				if err != nil || strings.TrimSpace(printed) != c.printed {
					t.Errorf("%q, %v", printed, err)
				}
			case err == nil || !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), c.failure):
				t.Errorf("%v, want %s", err, c.failure)
			}
		})
	}
}

func TestReader(t *testing.T) {
	for text, failure := range map[string]string{
		"head -c 3000000 /dev/zero":        "",
		"head -c 10 /dev/zero; exit 1":     "status 1",
		"head -c 10 /dev/zero; kill -9 $$": "signal killed",
		"cat":                              "", // its input is empty
	} {
		r, err := Command{Text: text}.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		err = r.Finish()
		if (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("%s: %v, want %q", text, err, failure)
		}
	}
}

// A process that a command leaves behind is not waited for longer than for some
// seconds.
func TestReaderIsNotHeldUp(t *testing.T) {
	r, err := Command{Text: "head -c 10 /dev/zero; setsid -f sleep 7"}.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abandon()
	if n, err := io.Copy(io.Discard, r); n != 10 || !errors.Is(err, ErrFailed) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestReaderWantsItsEnd(t *testing.T) {
	r, err := Command{Text: "yes"}.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abandon()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// All processes of a command go with the context, whatever they wait for.
func TestKilled(t *testing.T) {
	pids := t.TempDir() + "/pid"
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	w, err := Command{Text: "{ echo $$; sh -c 'echo $$; exec sleep 1000'; } >" + pids + "; true"}.Writer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	for b := []byte(nil); bytes.Count(b, []byte("\n")) < 2; b, _ = os.ReadFile(pids) {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	_, err = io.Copy(w, zeros{})
	if !errors.Is(err, why) {
		t.Error(err)
	}
	b, _ := os.ReadFile(pids)
	for pid := range strings.FieldsSeq(string(b)) {
		for state := "?"; state != "" && state != "Z"; {
			state = stateOf(pid)
		}
	}
}

// stateOf is the letter that the system gives to a process, "" if it is gone.
func stateOf(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/stat")
	if _, rest, ok := bytes.Cut(b, []byte(") ")); ok {
		return string(rest[:1])
	}
	return ""
}
