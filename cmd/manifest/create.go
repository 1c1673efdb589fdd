package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"pgpipes/lib/base"
	"pgpipes/lib/cli"
	"pgpipes/lib/durable"
	"pgpipes/lib/manifest"
)

var createOptions struct {
	Output string `short:"o" long:"output" value-name:"FILE" description:"write the manifest to FILE; by default to standard output"`
	Pass   bool   `long:"pass" description:"pass the tar through to standard output; needs -o"`
	Label  string `long:"label" value-name:"NAME" description:"name of the backup; by default what backup_label says"`
}

func runCreate(ctx context.Context, p *cli.Process, _ []string) error {
	o := base.CreateOptions{Label: createOptions.Label}
	if createOptions.Pass {
		if createOptions.Output == "" {
			return cli.Usagef("--pass needs standard output for the tar: give -o FILE for the manifest")
		}
		if err := p.RefuseTerminal(); err != nil {
			return err
		}
		o.Pass = p.Out
	}
	p.WidenPipes()
	write := func(w io.Writer) error { return base.CreateManifest(ctx, p.In, w, o) }
	if createOptions.Output == "" {
		return verdict(write(p.Text))
	}
	return verdict(durable.WriteFile(createOptions.Output, 0o640, write))
}

// verdict marks what is a "no".
func verdict(err error) error {
	if errors.Is(err, base.ErrDiffers) {
		return cli.No(err)
	}
	return err
}

func runSeal(ctx context.Context, p *cli.Process, operands []string) error {
	parts, err := readReceipts(p.In)
	if err != nil {
		return err
	}
	in, err := cli.OpenFile(ctx, operands[0])
	if err != nil {
		return err
	}
	defer in.Close()
	return manifest.Seal(in, parts, p.Text)
}

// readReceipts reads lines as repo put prints them. The name of a part is that
// of its key up to the first dot.
func readReceipts(r io.Reader) ([]manifest.Part, error) {
	var parts []manifest.Part
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		column := strings.Split(lines.Text(), "\t")
		if len(column) != 3 {
			return nil, cli.Failure(fmt.Errorf("not a receipt: %.100q", lines.Text()))
		}
		size, err := strconv.ParseInt(column[1], 10, 64)
		if err != nil {
			return nil, cli.Failure(fmt.Errorf("not a receipt: %.100q", lines.Text()))
		}
		name, _, _ := strings.Cut(path.Base(column[2]), ".")
		parts = append(parts, manifest.Part{Name: name, SHA256: column[0], Size: size, Key: column[2]})
	}
	if len(parts) == 0 && lines.Err() == nil {
		return nil, cli.Failure(fmt.Errorf("no receipts on standard input"))
	}
	return parts, lines.Err()
}
