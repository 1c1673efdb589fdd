package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/jessevdk/go-flags"
)

// Version of all programs; they are built and installed together.
const Version = "0.1.0"

func (p *Process) printVersion() error {
	fmt.Fprintf(p.Text, "%s (pgpipes) %s\n", p.name, Version)
	return nil
}

// help prints what a reader of only this text needs to use the program or, if
// one was named, the command.
func (g *Program) help(p *Process, parser *flags.Parser) error {
	name, operands, summary, description, statuses := g.Name, g.Operands, g.Summary, g.Description, g.statusHelp()
	if parser.Active != nil {
		c := g.command(parser.Active.Name)
		name, operands = g.Name+" "+c.Name, c.Operands
		summary, description = c.Summary, c.Description
		if c.Unknown != nil {
			statuses = severityHelp
		}
	} else if len(g.Commands) > 0 {
		operands = "COMMAND …"
	}
	fmt.Fprintf(p.Text, "usage: %s\n%s\n", strings.TrimSpace(name+" [OPTION]… "+operands), summary)
	if description != "" {
		fmt.Fprintf(p.Text, "\n%s\n", strings.TrimSpace(description))
	}
	var options bytes.Buffer
	parser.Name = "" // leaves out go-flags' own usage line
	parser.WriteHelp(&options)
	fmt.Fprintf(p.Text, "\n%s\n\n", strings.TrimSpace(options.String()))
	fmt.Fprintln(p.Text, statuses)
	return nil
}

func (g *Program) statusHelp() string {
	if g.Failure != 0 {
		return fmt.Sprintf("Exit status: 0 done; 1 the answer is no; %d any failure; 128+n died of signal n.", g.Failure)
	}
	return "Exit status: 0 done; 1 the answer is no (absent, differs, busy, does not verify);\n" +
		"100 wrong usage or configuration; 111 a failure to look into; 128+n died of signal n."
}
