package wait

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// PaceBurst is how many bytes may be waited for at once.
const PaceBurst = 2 << 20

// A Pace counts what is done, in bytes, tells of it, and keeps it from going
// faster than it may. It is for several goroutines. A nil Pace does nothing.
type Pace struct {
	Total   int64 // how much there is in all, 0 if that is not known
	done    atomic.Int64
	report  func(done, total int64) // may be nil
	limiter *rate.Limiter           // nil without a limit
}

// NewPace makes one for a limit in bytes a second, 0 for none.
func NewPace(limit int64, report func(done, total int64)) *Pace {
	p := &Pace{report: report}
	if limit > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(limit), PaceBurst)
	}
	return p
}

// Wait holds up whoever has gone on by up to PaceBurst bytes too fast.
func (p *Pace) Wait(ctx context.Context, n int) error {
	if p == nil || p.limiter == nil {
		return nil
	}
	return p.limiter.WaitN(ctx, n)
}

// Add counts bytes, fewer than none for what has to be done again.
func (p *Pace) Add(n int64) {
	if p == nil {
		return
	}
	done := p.done.Add(n)
	if p.report != nil {
		p.report(done, p.Total)
	}
}

// Done is how many bytes have been counted.
func (p *Pace) Done() int64 { return p.done.Load() }
