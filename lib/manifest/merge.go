package manifest

import (
	"bytes"
	"container/heap"
	"io"
)

// merge joins sorted runs of lines into one.
type merge struct {
	runs    runHeap
	started bool
}

// run is a sorted run and its first line that has not been given yet.
type run struct {
	next       func() ([]byte, error) // io.EOF after the last line
	line, path []byte
}

// advance goes to the run's next line.
func (r *run) advance() (err error) {
	if r.line, err = r.next(); err == nil {
		r.path = pathOf(r.line)
	}
	return err
}

// add takes a run before the first call of next.
func (m *merge) add(next func() ([]byte, error)) error {
	r := &run{next: next}
	switch err := r.advance(); err {
	case nil:
		heap.Push(&m.runs, r)
		return nil
	case io.EOF:
		return nil
	default:
		return err
	}
}

// next gives the next line, which is good until the next call, and io.EOF
// after the last. Only here, and not before it returns, does the run of the
// line before move on.
func (m *merge) next() ([]byte, error) {
	if m.started && len(m.runs) > 0 {
		switch err := m.runs[0].advance(); err {
		case nil:
			heap.Fix(&m.runs, 0)
		case io.EOF:
			heap.Pop(&m.runs)
		default:
			return nil, err
		}
	}
	m.started = true
	if len(m.runs) == 0 {
		return nil, io.EOF
	}
	return m.runs[0].line, nil
}

// runHeap has the run with the smallest path first.
type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return bytes.Compare(h[i].path, h[j].path) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(r any)        { *h = append(*h, r.(*run)) }

func (h *runHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	*h = (*h)[:last]
	return r
}
