package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"pgpipes/lib/cli"
	"pgpipes/lib/inspect"
	"pgpipes/lib/manifest"
	"pgpipes/lib/stream"
)

var createOptions struct {
	Output string `short:"o" long:"output" value-name:"FILE" description:"write the manifest to FILE; by default to standard output"`
	Pass   bool   `long:"pass" description:"pass the tar through to standard output; needs -o"`
	Label  string `long:"label" value-name:"NAME" description:"name of the backup; by default what backup_label says"`

	Leftover bool     `long:"leftover" description:"of what an interrupted backup LABEL has left in a repository"`
	Jobs     cli.Jobs `short:"j" long:"jobs" env:"PGPIPES_JOBS" value-name:"N" description:"with --leftover: how many parts to read at once; one a core by default"`
	Source   string   `long:"source" value-name:"COMMAND" description:"with --leftover: a shell command that prints a part if that cannot be read as it is stored; gets LABEL, PART and KEY in its environment"`
}

var createCommand = cli.Command{
	Name:    "create",
	Summary: "Make a manifest from the tar of a base backup on standard input, compressed or not.",
	Description: `With --leftover: reads the parts that an interrupted backup has left in a
repository, and makes a manifest of the files in them, for base-copy --since with
the same label. Parts that are not whole are passed over with a note.

  manifest create --leftover -r /backup/pg/main 20261122T101500Z > left
  base-copy --label 20261122T101500Z --since left --filter …`,
	Options: &createOptions, Action: cli.Action{Operands: "[LABEL]", Max: 1, Run: runCreate},
}

func runCreate(ctx context.Context, p *cli.Process, operands []string) error {
	if createOptions.Leftover != (len(operands) == 1) {
		return cli.Usagef("--leftover goes with the LABEL of a backup, and the other way round")
	}
	if createOptions.Leftover {
		return createLeftover(ctx, p, operands[0])
	}
	o := inspect.CreateOptions{Label: createOptions.Label}
	if createOptions.Pass {
		if createOptions.Output == "" {
			return cli.Usagef("--pass needs standard output for the tar: give -o FILE for the manifest")
		}
		if err := p.CheckOutput(); err != nil {
			return err
		}
		o.Pass = p.Out
	}
	p.WidenPipes()
	return verdict(writeManifest(p, func(w io.Writer) error { return inspect.CreateManifest(ctx, p.In, w, o) }))
}

// writeManifest writes to where -o says.
func writeManifest(p *cli.Process, write func(io.Writer) error) error {
	if createOptions.Output == "" {
		return write(p.Text)
	}
	f, err := cli.CreateFile(createOptions.Output)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.ReplaceWith(write)
}

// verdict marks what is a "no".
func verdict(err error) error {
	if errors.Is(err, stream.ErrDiffers) {
		return cli.No(err)
	}
	return err
}

var sealCommand = cli.Command{
	Name:    "seal",
	Summary: "Add the receipts of the stored parts, from standard input, to MANIFEST; print the result.",
	Description: `This makes a backup of the repository of what was copied without base-copy: the name
of a part is that of its key up to the first dot, and the manifest comes last.

  l=$(date -u +%Y%m%dT%H%M%SZ) r=/backup/pg/main
  pg_basebackup -Ft -X none -D - | manifest create --label "$l" -o m --pass |
      repo put -r "$r" -c zstd "base/$l/000.tar.zst" > receipt
  manifest seal m < receipt > sealed && repo put -r "$r" "base/$l/manifest" < sealed
  manifest verify -r "$r" "$l"

Of a tar that is there already, compressed or not:

  manifest create --label "$l" -o m < base.tar.gz
  repo put -r "$r" "base/$l/000.tar.gz" < base.tar.gz > receipt

What was printed is to be believed only if the status is 0.`,
	Action: cli.Action{Operands: "MANIFEST", Min: 1, Max: 1, Run: runSeal},
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
		p, err := manifest.ParseReceipt("", lines.Text())
		if err != nil {
			return nil, cli.Failure(fmt.Errorf("%w: %.100q", err, lines.Text()))
		}
		p.Name, _, _ = strings.Cut(path.Base(p.Key), ".")
		parts = append(parts, p)
	}
	if len(parts) == 0 && lines.Err() == nil {
		return nil, cli.Failure(fmt.Errorf("no receipts on standard input"))
	}
	return parts, lines.Err()
}
