package codec

import "io"

// A walker is the bytes of exactly one frame of a longer input. It finds the
// frame's end by following the sizes in it, without decoding. Its Read returns
// io.EOF only at the frame's end; an input that ends before is
// io.ErrUnexpectedEOF.
type walker struct {
	src  io.Reader
	step func() error // fetches the next header and sets left; io.EOF at the end
	left int64        // bytes to pass on before the next step
	size int64        // bytes of the frame so far
	head []byte       // fetched and not yet passed on
	room []byte       // what head lies in
}

func (w *walker) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(w.head) > 0 {
			n := copy(p, w.head)
			w.head = w.head[n:]
			return n, nil
		}
		if w.left > 0 {
			n, err := w.src.Read(p[:min(int64(len(p)), w.left)])
			w.left -= int64(n)
			w.size += int64(n)
			if n > 0 {
				err = nil
			}
			return n, cut(err)
		}
		if err := w.step(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// fetch reads n bytes of a header. The result is valid until the next fetch.
func (w *walker) fetch(n int) ([]byte, error) {
	if len(w.head) == 0 {
		w.head = w.room[:0]
	}
	start := len(w.head)
	w.head = append(w.head, make([]byte, n)...)
	w.room = w.head
	w.size += int64(n)
	_, err := io.ReadFull(w.src, w.head[start:])
	return w.head[start:], cut(err)
}

// cut turns the end of an input into an error where there should be more.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
