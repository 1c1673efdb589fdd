package manifest

import (
	"bufio"
	"strings"
)

// NewSumsForm returns the form that sha256sum -c takes in the data directory: a
// line for every file, and nothing of directories and links. Names with a
// backslash, an LF or a CR are written as coreutils does.
func NewSumsForm(w *bufio.Writer) Form { return &sumsForm{w} }

type sumsForm struct{ out *bufio.Writer }

// sumsEscaper is the inverse of filename_unescape in coreutils' digest.c.
var sumsEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)

func (f *sumsForm) Add(e *Entry) error {
	if e.Kind != File {
		return nil
	}
	name := e.Path
	if name == "-" { // which would be standard input
		name = "./-"
	}
	if strings.ContainsAny(name, "\\\n\r") {
		f.out.WriteByte('\\') // the last write tells of its errors
		name = sumsEscaper.Replace(name)
	}
	f.out.WriteString(e.SHA256)
	f.out.WriteString("  ")
	f.out.WriteString(name)
	return f.out.WriteByte('\n')
}

func (f *sumsForm) Finish() error { return f.out.Flush() }
