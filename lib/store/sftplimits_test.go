package store_test

import (
	"context"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"pgpipes/lib/sftpmsg"
)

// What a server takes at once is what it is sent, and asked for, at once; one that
// does not say so gets what all take.
func TestSFTPLimits(t *testing.T) {
	const most = 200 << 10 // of OpenSSH's server
	for name, c := range map[string]struct {
		answer func(request sftpmsg.Message) []byte // nil for the honest one
		least  int                                  // bytes of the largest request
		most   int
	}{
		"honest":      {nil, 64 << 10, most},
		"no limits":   {limits(math.MaxUint64, math.MaxUint64, math.MaxUint64), 64 << 10, most},
		"unsupported": {func(m sftpmsg.Message) []byte { return status(m, codeUnsupported) }, 1, 32 << 10},
		"silent":      {func(sftpmsg.Message) []byte { return []byte{} }, 1, 32 << 10},
		"cut":         {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Answer, m, uint64(1<<20)) }, 1, 32 << 10},
		"unknown":     {limits(0, 0, 0), 1, 32 << 10},
		"tiny":        {limits(1, 1, 1), 1, 32 << 10},
		"short":       {limits(34000, 1<<20, 1<<20), 1, 32 << 10},
		"reads less":  {limits(1<<20, 32<<10, 1<<20), 1, 32 << 10},
		"writes less": {limits(1<<20, 1<<20, 32<<10), 1, 32 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrote, read atomic.Int64
			h := &hostile{instead: func(m sftpmsg.Message) []byte {
				_, f, _ := m.Parts()
				switch m[0] {
				case sftpmsg.Write:
					_, _ = f.Text(), f.Long()
					atMost(&wrote, f.Number())
				case sftpmsg.Read:
					_, _ = f.Text(), f.Long()
					atMost(&read, f.Number())
				case sftpmsg.Extended:
					if f.Text() == sftpmsg.LimitsExtension && c.answer != nil {
						return c.answer(m)
					}
				}
				return nil
			}}
			s := h.start(t)
			contents := strings.Repeat("contents", 1<<17)
			if _, err := s.Put(t.Context(), "k", write(contents)); err != nil {
				t.Fatal(err)
			}
			for offset, length := range map[int64]int64{0: -1, 1000: 900_000} {
				body, err := s.Get(context.Background(), "k", offset, length)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(body)
				body.Close()
				if want := contents[offset:]; err != nil || string(got) != want[:len(got)] || length < 0 && len(got) != len(want) || length >= 0 && int64(len(got)) != length {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
			for what, size := range map[string]int64{"write": wrote.Load(), "read": read.Load()} {
				if size < int64(c.least) || size > int64(c.most) {
					t.Errorf("%s: %d bytes at once", what, size)
				}
			}
		})
	}
}

// limits answers with some.
func limits(message, read, write uint64) func(sftpmsg.Message) []byte {
	return func(m sftpmsg.Message) []byte { return reply(sftpmsg.Answer, m, message, read, write, uint64(0)) }
}

// atMost is raised to n.
func atMost(most *atomic.Int64, n uint32) {
	for old := most.Load(); old < int64(n) && !most.CompareAndSwap(old, int64(n)); old = most.Load() {
	}
}
