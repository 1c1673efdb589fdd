package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"pgpipes/lib/cli"
	"pgpipes/lib/manifest"
)

var convertOptions struct {
	To   string `long:"to" value-name:"FORM" description:"print it in this form: sha256sum, mtree, backup_manifest, backup_manifest-v2 or json"`
	From string `long:"from" value-name:"FORM" description:"make a manifest of what PostgreSQL has written: backup_manifest"`
}

var convertCommand = cli.Command{
	Name:    "convert",
	Summary: "Print a manifest in another form, with -r that of the backup LABEL, or make one of another form.",
	Description: `sha256sum: what sha256sum -c takes in the restored directory: its files alone.
mtree: what mtree -p DIR takes, and bsdtar; it also has directories, links, modes,
owners and the files' times. NetBSD's mtree tells of files that are missing or too
many, but ends in 0 all the same: what it prints counts.
backup_manifest: what pg_verifybackup -m takes; -v2 is the form that PostgreSQL 17
and later want from whoever asks for an increment, and that earlier tools refuse.
json: as manifest show --json prints it.

The first two fit a directory as it was copied. A restore that adds recovery
settings or moves tablespaces has changed postgresql.auto.conf, tablespace_map and
backup_manifest since, and a server that has run in it nearly all. Tablespaces
lie in pg_tblspc: mtree needs -L to follow the links there.

--from backup_manifest makes a manifest of the files alone: directories, links
and owners are not in it, and the mode 0600 is a guess. Files of which it has no
SHA-256 are refused: a manifest cannot do without.

What was printed is to be believed only if the status is 0.`,
	Options: &convertOptions, Action: cli.Action{Operands: "[FILE|LABEL]", Max: 1, Run: runConvert},
}

func runConvert(ctx context.Context, p *cli.Process, operands []string) error {
	if (convertOptions.To == "") == (convertOptions.From == "") {
		return cli.Usagef("convert to what, or from what? --to FORM or --from FORM")
	}
	form, known := forms[convertOptions.To]
	if !known {
		return cli.Usagef("--to %s: not a form known here", convertOptions.To)
	}
	if convertOptions.From != "" && convertOptions.From != "backup_manifest" {
		return cli.Usagef("--from %s: not a form known here", convertOptions.From)
	}
	in, err := openManifest(ctx, p, operands)
	if err != nil {
		return err
	}
	defer in.Close()
	if convertOptions.From != "" {
		return convertFrom(in, p.Text)
	}
	return manifest.Convert(in, func(h manifest.Header) (manifest.Form, error) { return form(p.Text, h) })
}

// forms are what --to can name; "" is for --from.
var forms = map[string]func(*bufio.Writer, manifest.Header) (manifest.Form, error){
	"":          nil,
	"sha256sum": func(w *bufio.Writer, _ manifest.Header) (manifest.Form, error) { return manifest.NewSumsForm(w), nil },
	"mtree":     func(w *bufio.Writer, _ manifest.Header) (manifest.Form, error) { return manifest.NewTreeForm(w), nil },
	"backup_manifest": func(w *bufio.Writer, h manifest.Header) (manifest.Form, error) {
		return manifest.NewServerForm(w, 1, h)
	},
	"backup_manifest-v2": func(w *bufio.Writer, h manifest.Header) (manifest.Form, error) {
		return manifest.NewServerForm(w, 2, h)
	},
	"json": func(w *bufio.Writer, h manifest.Header) (manifest.Form, error) { return newJSONForm(w, h) },
}

func convertFrom(in io.Reader, out io.Writer) error {
	w := manifest.NewWriter("")
	defer w.Close()
	err := manifest.FromServer(in, w, out)
	if errors.Is(err, manifest.ErrHash) {
		err = cli.Hint(err, "pg_basebackup --manifest-checksums=SHA256 has them; of a tar manifest create makes a manifest in any case")
	}
	return err
}
