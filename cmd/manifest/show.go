package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

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
	switch {
	case showOptions.Parts:
		for _, part := range h.Parts {
			fmt.Fprintf(p.Text, "%s\t%s\t%d\t%s\n", part.Name, part.SHA256, part.Size, part.Key)
		}
	case showOptions.JSON:
		if err := json.NewEncoder(p.Text).Encode(headerJSON(h)); err != nil {
			return err
		}
	default:
		if _, err := p.Text.Write(h.Text()); err != nil {
			return err
		}
	}
	return showEntries(p, m)
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
func showEntries(p *cli.Process, m *manifest.Reader) error {
	encoder := json.NewEncoder(p.Text)
	for {
		e, err := m.Next()
		if err == io.EOF {
			return nil
		}
		switch {
		case err != nil:
		case showOptions.Header || showOptions.Parts:
		case showOptions.JSON:
			err = encoder.Encode(entryJSON(e))
		default:
			_, err = fmt.Fprintln(p.Text, e)
		}
		if err != nil {
			return err
		}
	}
}

// headerJSON names the values as the lines of the manifest do.
func headerJSON(h manifest.Header) map[string]any {
	return map[string]any{
		"label": h.Label, "type": h.Type, "parent": h.Parent, "system-identifier": strconv.FormatUint(h.SystemID, 10),
		"postgresql": h.Major, "catalog": h.Catalog, "wal-segment-size": h.SegmentSize, "block-size": h.BlockSize,
		"checksums": h.Checksums, "start-timeline": uint32(h.StartTimeline), "start-lsn": h.StartLSN.String(),
		"start-time": utc(h.StartTime), "stop-timeline": uint32(h.StopTimeline), "stop-lsn": h.StopLSN.String(),
		"stop-time": utc(h.StopTime), "from": h.From, "wal": h.WAL, "files": h.Files, "bytes": h.Bytes,
		"tablespaces": h.Tablespaces, "bad-pages": h.BadPages, "parts": h.Parts,
	}
}

func entryJSON(e manifest.Entry) map[string]any {
	return map[string]any{
		"kind": string(e.Kind), "mode": fmt.Sprintf("%04o", uint32(e.Mode)), "owner": e.Owner, "size": e.Size,
		"mtime": utc(e.MTime), "sha256": e.SHA256, "part": e.Part, "path": manifest.Escape(e.Path), "target": manifest.Escape(e.Target),
	}
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
