// Package retain decides which base backups and which WAL a repository keeps.
//
// It is a pure function: a state and a policy go in, decisions with reasons
// come out, and nothing is touched. So a dry run is the run itself without its
// last step, and every rule can be tested by a table.
//
// # Guarantees
//
// Whatever the policy:
//
//   - Without a rule nothing is dropped.
//   - The newest complete backup is never dropped, nor is the newest complete
//     backup from which the newest timeline can be reached: after a recovery
//     into the past that may be an older one.
//   - A backup that any rule keeps is kept, and so is all WAL that a kept
//     backup, or one in progress, needs to be restored and to be rolled
//     forward to the end of any timeline that can be reached from it; with a
//     limit for WAL, that an older kept backup needs to be restored to its own
//     end.
//   - A backup whose parts are used by one that is kept, or in progress, is
//     kept, and so are those whose parts that one uses.
//   - What is said to be abandoned is dropped only if it is neither complete nor
//     pinned nor being restored, and no other one that is kept uses its parts.
//   - WAL on a timeline whose history is unknown is kept, and as long as there
//     is no complete backup, all WAL is.
//   - Deciding again about what was kept drops nothing more.
//
// Files of timeline histories are no matter of retention: they are small and
// are never removed, because a missing one makes recovery take the wrong
// branch.
package retain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// Backup is a base backup in the repository.
type Backup struct {
	Label               string
	Timeline            wal.Timeline // where it started
	StopTimeline        wal.Timeline // another one if it was taken from a standby that followed a switch; 0 if unknown
	Start, Stop         wal.LSN      // Stop is 0 while it is not complete
	StartTime, StopTime time.Time
	Stored              time.Time // when the last of what is there of it was stored; zero if unknown
	Complete            bool      // it has its manifest
	Full                bool      // it uses parts of no other
	WAL                 bool      // it holds the WAL that it needs to be restored
	Tags                []string
	Pin                 string // why somebody pinned it; "" if nobody did
	InUse               string // who is restoring it; "" if nobody is
	// Needs are the labels of other backups whose parts it uses.
	Needs []string
}

// WALRange is a run of consecutive segments, all of them present.
type WALRange struct {
	Timeline    wal.Timeline
	First, Last uint64 // segment numbers
}

// State is what a repository holds.
type State struct {
	Backups     []Backup
	WAL         []WALRange
	Partials    []WALRange // the .partial files of segments, which may be there whole or not
	Histories   map[wal.Timeline]wal.History
	SegmentSize wal.SegmentSize // 0 if unknown: then all WAL is kept
	Now         time.Time
}

// Kinds of things that are decided about.
const (
	KindBackup  = "backup"
	KindWAL     = "wal"
	KindPartial = "partial" // the last segment of a timeline that was left
)

// NoRule is the reason for everything when nothing may go.
const NoRule = "no rule"

// Decision is the fate of one backup or of one run of WAL segments.
type Decision struct {
	Keep   bool
	Kind   string   // one of the above
	Name   string   // the backup's label; the segment's name, or "first..last"
	Reason string   // for people
	WAL    WALRange // the segments, for KindWAL and KindPartial
	// NeededBy is the label of the backup for which they are kept, for KindWAL;
	// of several the one that needs them the longest back.
	NeededBy string
}

// String is the decision as one line: keep or drop, kind, name, reason, parted
// by tabs.
func (d Decision) String() string {
	verb := "drop"
	if d.Keep {
		verb = "keep"
	}
	return strings.Join([]string{verb, d.Kind, d.Name, d.Reason}, "\t")
}

// Decide decides about every backup, in the order of labels, and then about
// every segment, by timeline and number. A range of which only a part is
// needed comes as several decisions. At last come the partial segments, which
// stay as long as a whole one of their number would.
//
// Whoever carries the decisions out removes backups before WAL, so that no
// backup is left that looks complete and cannot be restored.
func Decide(s State, p Policy) []Decision {
	backups := decideBackups(s, p)
	rest := kept(s, backups)
	whole, partials := decideWAL(s.WAL, s, p, rest), decideWAL(s.Partials, s, p, rest)
	for i := range partials {
		partials[i].Kind, partials[i].Name = KindPartial, partials[i].Name+".partial"
	}
	return slices.Concat(backups, whole, partials)
}

// kept are the backups that the decisions keep.
func kept(s State, decisions []Decision) []Backup {
	keep := make(map[string]bool)
	for _, d := range decisions {
		keep[d.Name] = d.Keep
	}
	return slices.DeleteFunc(byLabel(s.Backups), func(b Backup) bool { return !keep[b.Label] })
}

func byLabel(backups []Backup) []Backup {
	return slices.SortedFunc(slices.Values(backups), func(a, b Backup) int { return cmp.Compare(a.Label, b.Label) })
}
