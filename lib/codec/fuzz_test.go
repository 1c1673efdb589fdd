package codec

import (
	"bytes"
	"io"
	"testing"
)

// FuzzReader reads anything: it may fail, but not panic or hang.
func FuzzReader(f *testing.F) {
	data := append(patient()[:minFrame+5000], sample(500)...)
	for _, format := range compressed() {
		b := pack(f, data, Options{Format: format, Frame: minFrame})
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(append(b[:len(b):len(b)], b...))
		f.Add(pack(f, nil, Options{Format: format}))
	}
	for log := 10; log < 28; log++ {
		f.Add(append(zstdHeader(log, false), 1, 0, 0))
		f.Add(append(zstdHeader(log, true), 1, 0, 0))
	}
	f.Add(xzHeader(16))
	f.Add([]byte("\x50\x2a\x4d\x18\x02\x00\x00\x00xx" + zstdMark))
	f.Add([]byte(lz4Magic + "\x64\x40\xa7\x00\x00\x00\x00\x05\x5d\xcc\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), 2)
		if err != nil {
			return
		}
		defer r.Close()
		if n, err := io.CopyN(io.Discard, r, 8<<20); err == nil && n != 8<<20 {
			t.Errorf("%d bytes and no error", n)
		}
	})
}

// FuzzRoundTrip writes any content in any format and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(nil), uint8(0), uint8(0), uint8(0))
	f.Add([]byte("hello"), uint8(1), uint8(3), uint8(2))
	f.Add(patient(), uint8(0), uint8(1), uint8(1))
	f.Add(sample(minFrame), uint8(3), uint8(9), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, format, level, jobs uint8) {
		fm := compressed()[format%4]
		l := levels[fm]
		o := Options{Format: fm, Level: l.low + int(level)%l.high, Jobs: 1 + int(jobs)%4, Frame: minFrame}
		if fm == Xz {
			o.Level = 1 // the others take long to set up
		}
		got, err := unpack(pack(t, data, o), o.Jobs)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%+v: %d of %d bytes, %v", o, len(got), len(data), err)
		}
	})
}
