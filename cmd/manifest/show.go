package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"pgpipes/lib/cli"
	"pgpipes/lib/manifest"
)

var showOptions struct {
	JSON   bool `long:"json" description:"print one JSON object a line: the header, then each entry"`
	Header bool `long:"header" description:"print the header alone"`
	Parts  bool `long:"parts" description:"print name, SHA-256, size and key of the stored parts, tab-separated"`
}

var showCommand = cli.Command{
	Name:    "show",
	Summary: "Print a manifest, with -r that of the backup LABEL; status 0 says that it is whole.",
	Options: &showOptions, Action: cli.Action{Operands: "[FILE|LABEL]", Max: 1, Run: runShow},
}

func runShow(ctx context.Context, p *cli.Process, operands []string) error {
	in, err := openManifest(ctx, p, operands)
	if err != nil {
		return err
	}
	defer in.Close()
	m, err := manifest.NewReader(in)
	if err != nil {
		return err
	}
	h := m.Header()
	var form *jsonForm
	switch {
	case showOptions.Parts:
		for _, part := range h.Parts {
			fmt.Fprintf(p.Text, "%s\t%s\t%d\t%s\n", part.Name, part.SHA256, part.Size, part.Key)
		}
	case showOptions.JSON:
		if form, err = newJSONForm(p.Text, h); err != nil {
			return err
		}
	default:
		if _, err := p.Text.Write(h.Text()); err != nil {
			return err
		}
	}
	return showEntries(p, m, form)
}

// openManifest opens a file, standard input, or the manifest of a backup. What
// looks like a file or is one is a file, also when the environment names a
// repository.
func openManifest(ctx context.Context, p *cli.Process, operands []string) (io.ReadCloser, error) {
	if len(operands) == 0 || operands[0] == "-" {
		return io.NopCloser(p.In), p.RefuseTerminalInput()
	}
	name := operands[0]
	_, absent := os.Stat(name)
	if len(options.Locations) == 0 || strings.Contains(name, "/") || absent == nil {
		return cli.OpenFile(ctx, name)
	}
	r, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return r.Manifest(ctx, name)
}

// showEntries reads to the end in any case, where a manifest proves whole.
func showEntries(p *cli.Process, m *manifest.Reader, form *jsonForm) error {
	for {
		e, err := m.Next()
		if err == io.EOF {
			return nil
		}
		switch {
		case err != nil:
		case showOptions.Header || showOptions.Parts:
		case showOptions.JSON:
			err = form.Add(&e)
		default:
			_, err = fmt.Fprintln(p.Text, e)
		}
		if err != nil {
			return err
		}
	}
}
