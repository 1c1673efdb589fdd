package base

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// pace counts what is copied, tells of it, and keeps it from going faster than
// it may. It is for several goroutines.
type pace struct {
	done    atomic.Int64
	total   int64
	report  func(done, total int64) // may be nil
	limiter *rate.Limiter           // nil without a limit
}

// newPace makes one for a limit in bytes a second, 0 for none.
func newPace(limit int64, report func(done, total int64)) *pace {
	p := &pace{report: report}
	if limit > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(limit), readSize)
	}
	return p
}

// wait holds up whoever has read up to readSize bytes too fast.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.limiter == nil {
		return nil
	}
	return p.limiter.WaitN(ctx, n)
}

// add counts bytes, fewer than none for a part that has to be written again.
func (p *pace) add(n int64) {
	done := p.done.Add(n)
	if p.report != nil {
		p.report(done, p.total)
	}
}
