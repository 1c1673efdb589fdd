package backup

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
)

// An outlet takes the parts of a copy: each goes through a command of the
// user's, which gets LABEL and PART in its environment and prints the receipt.
type outlet struct {
	command string
	label   string
	stderr  *os.File
	numbers numbers
}

// partOut is a part on its way out. Its command is started by the first byte:
// a part that turns out to be empty is none.
type partOut struct {
	ctx     context.Context
	command filter.Command
	pipe    *filter.Writer
}

// numbers gives the parts theirs, from several goroutines.
type numbers struct{ used atomic.Int32 }

func (n *numbers) next() int { return int(n.used.Add(1)) - 1 }

// after makes n the last number that is taken.
func (n *numbers) after(last int) { n.used.Store(int32(last) + 1) }

// create begins a part.
func (o *outlet) create(ctx context.Context, name string) *partOut {
	env := []string{"LABEL=" + o.label, "PART=" + name}
	return &partOut{ctx: ctx, command: filter.Command{Text: o.command, Env: env, Stderr: o.stderr}}
}

func (p *partOut) Write(b []byte) (n int, err error) {
	if p.pipe == nil {
		if p.pipe, err = p.command.Writer(p.ctx); err != nil {
			return 0, err
		}
	}
	return p.pipe.Write(b)
}

// finish waits until the command has done its work, and returns its receipt.
func (p *partOut) finish(name string) (manifest.Part, error) {
	printed, err := p.pipe.Finish()
	if err != nil || len(printed) == 0 {
		return manifest.Part{Name: name}, err
	}
	part, err := manifest.ParseReceipt(name, string(printed))
	if err != nil {
		err = p.command.Misbehaved(fmt.Sprintf("prints no receipt (SHA256, a tab, SIZE, a tab, KEY) but %q", firstLine(printed)))
	}
	return part, err
}

// abandon kills the command if it has not been waited for.
func (p *partOut) abandon() {
	if p.pipe != nil {
		p.pipe.Abandon()
	}
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return line[:min(len(line), 80)]
}
