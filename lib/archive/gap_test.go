package archive

import (
	"strings"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
)

func TestGapStory(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)
	g := Gap{Span: Span{name(t, mib.Name(1, 5)), name(t, mib.Name(1, 9))}, Segments: 5, From: at, To: at}
	for want, change := range map[string]func(g *Gap){
		"was dropped on 2026-11-22T10:15:00Z by wal-push --queue-max (5 segments, 000000010000000000000005 to 000000010000000000000009)": func(*Gap) {},
		"between 2026-11-22T10:15:00Z and 2026-11-22T10:16:00Z by":                                                                       func(g *Gap) { g.To = at.Add(time.Minute) },
		"was dropped by wal-push": func(g *Gap) { g.From = time.Time{} },
		"(this segment alone)":    func(g *Gap) { g.Last, g.Segments = g.First, 1 },
	} {
		changed := g
		change(&changed)
		if got := changed.Story(); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzGap(f *testing.F) {
	r := &Repo{Identity: Identity{"X", ours}}
	f.Add(layout.Gap+mib.Name(1, 5)+"-"+mib.Name(1, 9), "pgpipes-gap\t1\nfrom\t2026-11-22T10:15:00Z\nto\t2026-11-22T10:16:10Z\nhost\tdb1\nreason\tx\n")
	f.Add(layout.Gap+mib.Name(1, 9)+"-"+mib.Name(1, 5), "pgpipes-gap\t2\n")
	f.Add(layout.Gap+mib.Name(1, 5)+".partial-"+mib.Name(1, 5)+".partial", "")
	f.Add(layout.Gap+mib.Name(1, 5)+"-"+mib.Name(2, 9), "\t")
	f.Fuzz(func(t *testing.T, key, text string) {
		g, ok := r.ParseGapKey(key)
		if !ok {
			return
		}
		if layout.Gap+g.String() != layout.Gap+strings.TrimPrefix(key, layout.Gap) || g.Segments == 0 || !g.Covers(g.Span) || g.First.Kind > wal.Partial {
			t.Errorf("%q: %+v", key, g)
		}
		g.readText([]byte(text))
		var again Gap
		again.First, again.Last, again.Segments = g.First, g.Last, g.Segments
		if again.readText([]byte(g.text())); !g.From.IsZero() && again != g {
			t.Errorf("%+v, written and read again %+v", g, again)
		}
	})
}
