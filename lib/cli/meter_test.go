package cli

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 1500: "1.5 kB", 16 << 20: "16.8 MB", 2_500_000_000: "2.5 GB", 1 << 62: "4.6 EB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestMeterLine(t *testing.T) {
	for _, test := range []struct {
		done, total int64
		elapsed     time.Duration
		want        string
	}{
		{0, 0, time.Second, "0 B, 0 B/s"},
		{5_000_000, 0, 2 * time.Second, "5.0 MB, 2.5 MB/s"},
		{0, 1000, time.Second, "0 B, 0 B/s"},
		{250, 1000, 10 * time.Second, "250 B, 25 B/s, 25 %, 30s left"},
		{1000, 1000, 10 * time.Second, "1.0 kB, 100 B/s, 100 %, 0s left"},
		{1500, 1000, 10 * time.Second, "1.5 kB, 150 B/s, 100 %, 0s left"}, // more than was thought
		{1_000_000_000, 3_601_000_000_000, time.Second, "1.0 GB, 1.0 GB/s, 0 %, 1h0m0s left"},
	} {
		m := &Meter{}
		m.Set(test.done, test.total)
		if got := m.line(test.elapsed); got != test.want {
			t.Errorf("%d of %d in %s: %q, want %q", test.done, test.total, test.elapsed, got, test.want)
		}
	}
}

// Standard error is no terminal here, so there is nothing to see.
func TestMeterIsSilentElsewhere(t *testing.T) {
	p := &Process{dog: newWatchdog(), name: "x"}
	said := stderr(t, func() {
		m, err := p.Meter(Progress{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Progress() != nil {
			t.Error("somebody is told how far it is")
		}
		m.Set(1, 2)
		m.Stop()
	})
	if said != "" {
		t.Errorf("said %q", said)
	}
}

// A log gets a line when the work ends, if not before.
func TestMeterLines(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{dog: newWatchdog(), name: "x"}
	m, err := p.Meter(Progress{FD: int(w.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	m.Progress()(250, 1000)
	m.Stop()
	w.Close()
	b, err := io.ReadAll(r)
	if !strings.HasPrefix(string(b), "250\t1000\t25\t") || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := p.Meter(Progress{FD: 999}); err == nil {
		t.Error("a descriptor that is not open")
	}
}
