package store

import (
	"io"
	"os"

	"pgpipes/lib/durable"
	"pgpipes/lib/wait"
)

// watchedFile is a file in the making, each step of which may take for ever: a
// file system that hangs does not fail.
type watchedFile struct {
	*durable.File
	storing *wait.Operation
}

// Write has the disk begin as it goes. Left to the sync at the end, which is one
// step, all that fits in memory could take longer than any step may.
func (f watchedFile) Write(p []byte) (int, error) {
	f.storing.Begin()
	defer f.storing.End()
	n, err := f.File.Write(p)
	if err == nil {
		f.File.StartSync()
	}
	return n, err
}

func (f watchedFile) Sync() error    { return f.step(f.File.Sync) }
func (f watchedFile) Publish() error { return f.step(f.File.Publish) }
func (f watchedFile) Close() error   { return f.step(f.File.Close) }

func (f watchedFile) step(do func() error) error {
	f.storing.Begin()
	defer f.storing.End()
	return do()
}

// body is the contents of an object.
type body struct {
	io.Reader
	file    *os.File
	reading *wait.Operation
}

func newBody(file *os.File, offset, length int64, reading *wait.Operation) body {
	return body{reading.Reader(io.NewSectionReader(file, offset, length)), file, reading}
}

func (b body) Close() error {
	b.reading.Begin()
	defer b.reading.End()
	return b.file.Close()
}
