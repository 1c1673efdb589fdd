package archive

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	acceptedTitle  = "pgpipes-accepted-hole"
	acceptedFormat = 1
)

// An Accepted hole is a run of missing segments that somebody knows of: an
// operator, so that monitoring turns green honestly, or expire, which has
// removed them. Recovery cannot go past it all the same, and wal-get says so.
// It is the object hole/FIRST-LAST, a note:
//
//	pgpipes-accepted-hole  1
//	time                   2026-11-22T10:15:00Z
//	host                   db1
//	by                     operator, or expire
//	reason                 the disk of the archive was full
type Accepted struct {
	Span
	Segments uint64 // how many
	Time     time.Time
	Host     string
	By       string
	Reason   string
}

// The values of Accepted.By.
const (
	ByOperator = "operator"
	ByExpire   = "expire"
)

// Accept records that a hole is known. One that has been accepted before stays
// as it was.
func (r *Repo) Accept(ctx context.Context, a Accepted) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return r.putNote(ctx, layout.Hole+a.Span.String(), note.Text(acceptedTitle, acceptedFormat,
		"time", a.Time.UTC().Format(time.RFC3339), "host", host, "by", a.By, "reason", a.Reason))
}

// AcceptedHoles lists the holes that have been accepted, in the order of their
// keys. They may overlap, and segments of them may be there again.
func (r *Repo) AcceptedHoles(ctx context.Context) ([]Accepted, error) {
	return r.acceptedHoles(ctx, layout.Hole, func(Span) bool { return true })
}

func (r *Repo) acceptedHoles(ctx context.Context, prefix string, wanted func(Span) bool) ([]Accepted, error) {
	var all []Accepted
	for info, err := range r.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		span, segments, ok := r.parseSpan(strings.TrimPrefix(info.Key, layout.Hole))
		if !ok || span.First.Kind != wal.Segment || !wanted(span) {
			continue
		}
		text, err := r.Text(ctx, info.Key)
		if errors.Is(err, store.ErrNotExist) { // expire has just removed it
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, parseAccepted(span, segments, text))
	}
	return all, nil
}

// parseAccepted adds what the text says. If that is damaged the name still
// counts.
func parseAccepted(span Span, segments uint64, text []byte) Accepted {
	a := Accepted{Span: span, Segments: segments, Reason: "the record is damaged"}
	if value, ok := note.Parse(text, acceptedTitle, acceptedFormat); ok {
		a.Time, _ = time.Parse(time.RFC3339, value["time"])
		a.Host, a.By, a.Reason = value["host"], value["by"], value["reason"]
	}
	return a
}
