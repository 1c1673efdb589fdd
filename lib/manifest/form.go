package manifest

import "io"

// A Form is another form of a manifest on its way out. It takes the entries in
// the order of a manifest, and is complete only when Finish has returned nil.
type Form interface {
	Add(e *Entry) error
	Finish() error
}

// Convert reads a manifest to its end and gives its entries to the form that
// begin makes for its header. What the form has written is to be believed only
// if Convert returns nil: it is then that the manifest has proved whole.
func Convert(in io.Reader, begin func(Header) (Form, error)) error {
	m, err := NewReader(in)
	if err != nil {
		return err
	}
	to, err := begin(m.Header())
	if err != nil {
		return err
	}
	for {
		e, err := m.Next()
		if err == io.EOF {
			return to.Finish()
		}
		if err == nil {
			err = to.Add(&e)
		}
		if err != nil {
			return err
		}
	}
}
