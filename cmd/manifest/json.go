package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"pgpipes/lib/manifest"
)

// jsonForm is a manifest as one JSON object a line: the header, then each entry.
type jsonForm struct {
	out     *bufio.Writer
	encoder *json.Encoder
}

func newJSONForm(w *bufio.Writer, h manifest.Header) (*jsonForm, error) {
	f := &jsonForm{w, json.NewEncoder(w)}
	return f, f.encoder.Encode(headerJSON(h))
}

func (f *jsonForm) Add(e *manifest.Entry) error {
	return f.encoder.Encode(jsonEntry{
		Kind: string(e.Kind), MTime: utc(e.MTime), Mode: fmt.Sprintf("%04o", uint32(e.Mode)), Owner: e.Owner, Part: e.Part,
		Path: manifest.Escape(e.Path), SHA256: e.SHA256, Size: e.Size, Target: manifest.Escape(e.Target),
	})
}

func (f *jsonForm) Finish() error { return f.out.Flush() }

// jsonEntry is an entry; names are escaped as in the manifest.
type jsonEntry struct {
	Kind   string `json:"kind"`
	Mode   string `json:"mode"`
	MTime  string `json:"mtime"`
	Owner  string `json:"owner"`
	Part   string `json:"part"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Target string `json:"target"`
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

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
