package archive

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// What one repository has begun another one ends, unless it has something else.
func TestReadGoesOn(t *testing.T) {
	for had, want := range map[string]string{
		"0123456789": "0123456789", "0123": "0123", // all of it, and no more than was there
		"01x3456789": "0123", "012": "0123", // another object
	} {
		r := repository(t)
		r.place(t, "d/digits", []byte(had))
		var out bytes.Buffer
		b := &begun{w: &out, sum: sha256.New()}
		if _, err := b.Write([]byte("0123")); err != nil {
			t.Fatal(err)
		}
		err := b.from(t.Context(), r.Location, "d/digits", 0, -1)
		if out.String() != want || (err == nil) != (had[:3] == "012" && len(had) > 3) {
			t.Errorf("of %s: %q, error %v", had, &out, err)
		}
	}
}
