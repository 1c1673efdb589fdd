package codec

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// benchCases are a WAL segment and a piece of a base backup.
var benchCases = []struct {
	size, frame int
}{{16 << 20, 2 << 20}, {128 << 20, 4 << 20}}

func BenchmarkWriter(b *testing.B) {
	for _, c := range benchCases {
		data := sample(c.size)
		for _, o := range []Options{
			{Format: Zstd, Level: 1, Jobs: 1}, {Format: Zstd, Level: 1}, {Format: Zstd}, {Format: Zstd, Level: 6},
			{Format: Gzip, Level: 1}, {Format: Gzip}, {Format: Lz4},
		} {
			o.Frame = c.frame
			b.Run(fmt.Sprintf("%dMiB/%s-%d/jobs-%d", c.size>>20, o.Format, o.Level, o.Jobs), func(b *testing.B) {
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for b.Loop() {
					b.ReportMetric(float64(c.size)/float64(len(pack(b, data, o))), "ratio")
				}
			})
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, c := range benchCases {
		data := sample(c.size)
		for _, o := range []Options{{Format: Zstd, Level: 1, Jobs: 1}, {Format: Zstd, Level: 1}, {Format: Gzip}, {Format: Lz4}} {
			packed := pack(b, data, Options{Format: o.Format, Level: o.Level, Frame: c.frame})
			b.Run(fmt.Sprintf("%dMiB/%s/jobs-%d", c.size>>20, o.Format, o.Jobs), func(b *testing.B) {
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for b.Loop() {
					r, err := NewReader(bytes.NewReader(packed), o.Jobs)
					if err == nil {
						_, err = io.Copy(io.Discard, r)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
