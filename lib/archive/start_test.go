package archive

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

func TestStart(t *testing.T) {
	r := repository(t)
	first := time.Date(2026, 11, 22, 10, 0, 0, 5000, time.UTC)
	begin := func(tli wal.Timeline, lsn wal.LSN, at time.Time, resume bool) error {
		left := &manifest.Header{}
		if !resume {
			left = nil
		}
		return r.Begin(t.Context(), manifest.Header{Label: "b", StartTimeline: tli, StartLSN: lsn, StartTime: at}, left)
	}
	if err := begin(1, 0x500028, first, true); err == nil || errors.Is(err, store.ErrNotExist) || !strings.HasPrefix(err.Error(), "b: what was left of it has been removed meanwhile: base/b/start: ") {
		t.Errorf("nothing to go on with: %v", err)
	}
	steps := []struct {
		timeline wal.Timeline
		lsn      wal.LSN
		at       time.Time
		want     Start
	}{
		{1, 0x500028, first, Start{FirstTime: first, FirstTimeline: 1}},
		{1, 0x600028, first.Add(time.Hour), Start{FirstTime: first, FirstTimeline: 1}},
		{2, 0x700028, first.Add(-time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 1}}, // the clock went back
		{2, 0x600028, first.Add(time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 0}},  // the log went back
		{2, 0x800028, first.Add(2 * time.Hour), Start{FirstTime: first.Add(-time.Hour), FirstTimeline: 0}},
	}
	for i, s := range steps {
		if err := begin(s.timeline, s.lsn, s.at, i > 0); err != nil {
			t.Fatal(err)
		}
		if err := begin(s.timeline, s.lsn+1, s.at, false); !errors.Is(err, store.ErrDiffers) {
			t.Errorf("step %d: begun twice: %v", i, err)
		}
		s.want.Host, _ = os.Hostname()
		s.want.Timeline, s.want.LSN, s.want.Time = s.timeline, s.lsn, s.at
		if got, err := r.ReadStart(t.Context(), "b"); err != nil || got != s.want {
			t.Errorf("step %d: %+v, %v, want %+v", i, got, err, s.want)
		}
	}
	r.place(t, layout.BaseKey("b", layout.Manifest), nil)
	if err := begin(2, 0x900028, first, true); !errors.Is(err, store.ErrDiffers) {
		t.Errorf("a complete one: %v", err)
	}
}

func FuzzStart(f *testing.F) {
	f.Add([]byte("host\th\npid\t1\ntimeline\t1\nstart-lsn\t0/2000028\ntime\t2026-11-22T10:15:00.5Z\nparent\tx\nfirst-timeline\t2\nfirst-time\t2026-11-22T10:00:00Z\n"))
	f.Add([]byte("timeline\t1"))
	f.Add([]byte("timeline\t1\nstart-lsn\t0/2000028\ntime\t2026-11-22T10:15:00Z\nchecksums\ton\nblock-size\t8192\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStart(text)
		if err != nil {
			return
		}
		again, err := parseStart([]byte(s.text()))
		again.Host = s.Host // it is always this one that writes
		if err != nil || again.Parent != s.Parent || again.LSN != s.LSN || !again.FirstTime.Equal(s.FirstTime) {
			t.Errorf("%+v, then %+v, %v", s, again, err)
		}
	})
}
