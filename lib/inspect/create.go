package inspect

import (
	"context"
	"io"
	"strings"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// onlyPart is the name of the part that a stream is.
var onlyPart = manifest.PartName(0)

// CreateOptions may all be left out.
type CreateOptions struct {
	Label    string           // the name of the backup; by default that in backup_label
	Pass     io.Writer        // where the stream goes, unchanged
	Progress func(done int64) // bytes of file contents
}

// CreateManifest reads a base stream and writes its manifest to out. The stream
// may be one without backup_manifest; then where the backup ends is unknown.
// The manifest is begun only when the whole stream has been read and found
// complete, and to be what its backup_manifest says (else [stream.ErrDiffers]).
func CreateManifest(ctx context.Context, in io.Reader, out io.Writer, o CreateOptions) error {
	if o.Pass != nil {
		in = io.TeeReader(in, o.Pass)
	}
	entries, listed := manifest.NewWriter(""), stream.NewInnerManifest()
	defer entries.Close()
	defer listed.Close()
	t := stream.NewIntake(in)
	t.Bare, t.Part = true, onlyPart
	t.Each, t.Place = listed.Want, listed.Place
	var ended time.Time
	t.Note = func(e manifest.Entry) error {
		if e.Path == pgdata.ManifestFile { // which is made when all else has been sent
			ended = e.MTime
		}
		return entries.Add(e)
	}
	if o.Progress != nil {
		t.Progress = o.Progress
	}
	if err := t.Run(ctx); err != nil {
		return err
	}
	if err := listed.Check(entries.Entries()); err != nil {
		return err
	}
	h, err := header(t, o)
	if err != nil {
		return err
	}
	if ended.Unix() > 0 && !ended.Before(h.StartTime) { // of a file whose time was kept
		h.StopTime = ended
	}
	return entries.Finish(out, h)
}

// header gathers what the files of a stream that has been read say about it.
func header(t *stream.Intake, o CreateOptions) (manifest.Header, error) {
	control, err := t.CheckEnd()
	if err != nil {
		return manifest.Header{}, err
	}
	label, err := pgdata.ParseLabel(t.Kept[pgdata.LabelFile])
	if err != nil {
		return manifest.Header{}, err
	}
	h := manifest.Header{
		Label: label.Label, Type: manifest.TypeFull, SystemID: control.SystemID, Major: control.Major(), Catalog: control.Catalog,
		SegmentSize: control.SegmentSize, BlockSize: int(control.BlockSize), Checksums: control.Checksums,
		StartTimeline: label.Timeline, StartLSN: label.StartLSN, StartTime: labelTime(label.StartTime), From: "primary",
		Parts: []manifest.Part{{Name: onlyPart}},
	}
	if label.From == "standby" {
		h.From = "standby"
	}
	if o.Label != "" {
		h.Label = o.Label
	}
	if n := len(t.Server.WALRanges); n > 0 {
		last := t.Server.WALRanges[0] // the newest is first: pg_basebackup walks back the history
		for _, r := range t.Server.WALRanges[1:] {
			if r.End > last.End {
				last = r
			}
		}
		h.StopTimeline, h.StopLSN = last.Timeline, last.End
	}
	spaces, err := pgdata.ParseTablespaceMap(t.Kept[pgdata.TablespaceMapFile])
	for _, s := range spaces {
		h.Tablespaces = append(h.Tablespaces, manifest.Tablespace{OID: s.OID, Path: s.Path})
	}
	return h, err
}

// labelTime understands the time in a backup_label if it is in UTC; the
// abbreviations of other zones are ambiguous.
func labelTime(s string) time.Time {
	for _, zone := range []string{" UTC", " GMT"} {
		if plain, ok := strings.CutSuffix(s, zone); ok {
			if at, err := time.Parse(time.DateTime, plain); err == nil {
				return at
			}
		}
	}
	return time.Time{}
}
