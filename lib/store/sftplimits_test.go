package store_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"pgpipes/lib/sftpmsg"
	"pgpipes/lib/store"
)

// What a server takes at once is what it is sent, and asked for, at once; one that
// does not say so gets what all take.
func TestSFTPLimits(t *testing.T) {
	const most = 200 << 10 // of OpenSSH's server
	for name, c := range map[string]struct {
		answer  func(request sftpmsg.Message) []byte // nil for the honest one
		least   int                                  // bytes of the largest request
		most    int
		version string // of the extension
	}{
		"honest":    {nil, 64 << 10, most, "1"},
		"no limits": {limits(math.MaxUint64, math.MaxUint64, math.MaxUint64), 64 << 10, most, "1"},
		"unsupported": {func(m sftpmsg.Message) []byte {
			return reply(sftpmsg.Status, m, codeUnsupported, strings.Repeat("there are no limits here ", 4), "")
		}, 1, 32 << 10, "1"},
		"silent":      {func(sftpmsg.Message) []byte { return []byte{} }, 1, 32 << 10, "1"},
		"cut":         {func(m sftpmsg.Message) []byte { return reply(sftpmsg.Answer, m, uint64(1<<20)) }, 1, 32 << 10, "1"},
		"unknown":     {limits(0, 0, 0), 1, 32 << 10, "1"},
		"tiny":        {limits(1, 1, 1), 1, 32 << 10, "1"},
		"no head":     {limits(124<<10+100, 1<<20, 1<<20), 1, 32 << 10, "1"},
		"another":     {limits(1<<20, 1<<20, 1<<20), 1, 32 << 10, "2"},
		"short":       {limits(34000, 1<<20, 1<<20), 1, 32 << 10, "1"},
		"reads less":  {limits(1<<20, 32<<10, 1<<20), 1, 32 << 10, "1"},
		"writes less": {limits(1<<20, 1<<20, 32<<10), 1, 32 << 10, "1"},
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
			}, after: func(request, honest sftpmsg.Message) []byte {
				return bytes.Replace(honest.Bytes(), []byte(sftpmsg.LimitsExtension+"\x00\x00\x00\x011"), []byte(sftpmsg.LimitsExtension+"\x00\x00\x00\x01"+c.version), 1)
			}}
			s := h.start(t)
			contents := strings.Repeat("contents", 1<<17)
			if _, err := s.Put(t.Context(), "k", write(contents)); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open("sftp://vault" + h.Root + "?config=" + h.config) // one that has not stored anything
			if err != nil {
				t.Fatal(err)
			}
			defer s.(io.Closer).Close()
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
