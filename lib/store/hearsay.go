package store

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
)

// hearsayLimit is how much of what a far side says is remembered, in bytes. It
// may say any amount: the rest is read and forgotten.
const hearsayLimit = 2000

// hearsay is what a far side has said on its standard error or in a banner, of
// which the end is passed on with an error.
type hearsay struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (h *hearsay) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, p...)
	if extra := len(h.text) - hearsayLimit; extra > 0 {
		h.text = append(h.text[:0], h.text[extra:]...)
	}
	return len(p), nil
}

// explain adds what was said to an error.
func (h *hearsay) explain(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := strings.ToValidUTF8(strings.Join(strings.FieldsFunc(string(h.text), unicode.IsControl), " "), "?")
	if said = strings.TrimSpace(said); err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w (the far side says: %s)", err, said)
}
