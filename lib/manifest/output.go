package manifest

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// output is a manifest on its way out.
type output struct {
	*bufio.Writer
	hash hash.Hash // of what has been flushed
	out  io.Writer
}

// newOutput begins a manifest with its header.
func newOutput(out io.Writer, h *Header) (*output, error) {
	head, err := h.marshal()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	o := &output{bufio.NewWriterSize(io.MultiWriter(out, sum), 64<<10), sum, out}
	_, err = o.Write(head)
	return o, err
}

// seal ends the manifest with its hash.
func (o *output) seal() error {
	if err := o.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(o.out, sealLine(o.hash))
	return err
}

// sealPrefix begins the last line.
const sealPrefix = "sha256\t"

// sealLine is the last line after what sum has seen.
func sealLine(sum hash.Hash) string {
	return fmt.Sprintf("%s%x\n", sealPrefix, sum.Sum(nil))
}
