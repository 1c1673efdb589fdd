package wait

import (
	"context"
	"testing"
	"time"
)

func TestPaceCounts(t *testing.T) {
	var done, total int64
	p := NewPace(0, func(d, all int64) { done, total = d, all })
	p.Total = 10
	p.Add(7)
	p.Add(-3)
	if p.Done() != 4 || done != 4 || total != 10 {
		t.Errorf("%d, told %d of %d", p.Done(), done, total)
	}
	if err := p.Wait(t.Context(), 1<<40); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

// What may be done at once is free; the next byte has to wait for its time.
func TestPaceHolds(t *testing.T) {
	p := NewPace(1, nil)
	if err := p.Wait(t.Context(), PaceBurst); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Wait(short, 1000); err == nil {
		t.Error("1000 bytes at a byte a second within a minute")
	}
}

func TestNoPace(t *testing.T) {
	var p *Pace
	p.Add(1)
	if err := p.Wait(t.Context(), 1); err != nil {
		t.Error(err)
	}
}
