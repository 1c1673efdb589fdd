package manifest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// NewServerForm returns the form of PostgreSQL's backup_manifest, of version 1
// or 2, which names the same files: those that are not WAL, without
// backup_manifest itself. The WAL that the backup needs is in it if the manifest
// says so and it is of one timeline: where others begin only their history
// tells.
func NewServerForm(w io.Writer, version int, h Header) (Form, error) {
	f := &serverForm{ranges: h.needs()}
	switch {
	case version == 1:
		f.to = NewServerManifestWriter(w)
	case version != 2:
		return nil, fmt.Errorf("backup_manifest has no version %d", version)
	case h.SystemID == 0:
		return nil, errors.New("backup_manifest of version 2 needs a system identifier, and the manifest has none")
	default:
		f.to = NewServerManifestWriter2(w, h.SystemID)
	}
	return f, nil
}

type serverForm struct {
	to     *ServerManifestWriter
	ranges []WALRange
}

// needs is the WAL from the start of the backup to its stop.
func (h *Header) needs() []WALRange {
	if h.StartTimeline == 0 || h.StartTimeline != h.StopTimeline || h.StartLSN == 0 || h.StopLSN < h.StartLSN {
		return nil
	}
	return []WALRange{{h.StartTimeline, h.StartLSN, h.StopLSN}}
}

func (f *serverForm) Add(e *Entry) error {
	if e.Kind != File || e.Path == "backup_manifest" || strings.HasPrefix(e.Path, "pg_wal/") {
		return nil
	}
	mtime := e.MTime
	if mtime.IsZero() {
		mtime = time.Unix(0, 0) // the server wants a value and does not look at it
	}
	return f.to.Add(e.Path, e.Size, mtime, e.SHA256)
}

func (f *serverForm) Finish() error { return f.to.Finish(f.ranges) }

// serverMode is the mode of files in a data directory that initdb has made
// without group access.
const serverMode = 0o600

// ErrHash is in the chain of the error for a file of which backup_manifest has
// another hash than SHA-256, or none. A manifest cannot do without.
var ErrHash = errors.New("no SHA-256")

// FromServer makes a manifest of a backup_manifest. It holds the files alone:
// of directories and links backup_manifest does not tell, nor of owners. The
// mode of files it does not know either, and takes for that which they have
// without group access. w has got no entries before, and is not closed.
func FromServer(in io.Reader, w *Writer, out io.Writer) error {
	said, err := ReadServerManifest(in, func(f ServerFile) error {
		if f.Algorithm != "SHA256" {
			return fmt.Errorf("%s: %w: its checksum is %s", Escape(f.Path), ErrHash, f.Algorithm)
		}
		return w.Add(Entry{Kind: File, Mode: serverMode, Size: f.Size, MTime: f.MTime, SHA256: f.Checksum, Path: f.Path})
	})
	if err != nil {
		return err
	}
	return w.Finish(out, said.header())
}

// header is what the ranges say of the backup: it began in the first timeline
// and ended in the last.
func (m *ServerManifest) header() Header {
	h := Header{SystemID: m.SystemID}
	for _, r := range m.WALRanges {
		if h.StartTimeline == 0 || r.Timeline < h.StartTimeline {
			h.StartTimeline, h.StartLSN = r.Timeline, r.Start
		}
		if r.Timeline > h.StopTimeline {
			h.StopTimeline, h.StopLSN = r.Timeline, r.End
		}
	}
	return h
}
