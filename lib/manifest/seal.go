package manifest

import "io"

// Seal writes the manifest that it reads from in with these parts in place of
// those in its header, and with a new hash. Every part that an entry names
// must be among them. What Seal has written is complete only if it returns nil:
// otherwise the last line is missing.
func Seal(in io.Reader, parts []Part, out io.Writer) error {
	r, err := NewReader(in)
	if err != nil {
		return err
	}
	h := r.Header()
	h.Parts = parts
	o, err := newOutput(out, &h)
	if err != nil {
		return err
	}
	r.parts = newPartSet(parts)
	for {
		switch _, err := r.Next(); err {
		case nil:
			if _, err := o.Write(r.line); err != nil {
				return err
			}
		case io.EOF:
			return o.seal()
		default:
			return err
		}
	}
}
