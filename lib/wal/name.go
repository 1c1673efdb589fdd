package wal

import (
	"errors"
	"fmt"
	"strings"
)

// ErrName is wrapped by the error of a name that no WAL file has.
var ErrName = errors.New("wal: not the name of a WAL file")

// Kind says which of the four kinds of files a name belongs to.
type Kind int

// The kinds of files that a server offers to its archive.
const (
	Segment         Kind = iota // a finished segment
	Partial                     // the last, unfinished segment of a timeline that was left
	BackupHistory               // notes on a base backup, for people
	TimelineHistory             // the ancestors of a timeline; recovery cannot do without
)

// Name is the name of a WAL file, taken apart.
type Name struct {
	Kind     Kind
	Timeline Timeline
	Log, Low uint32 // high and low word of the segment number; 0 for a timeline history
	Offset   uint32 // of a backup history: where in the segment the backup began, in bytes
}

const (
	baseLength = 24 // hexadecimal digits of a segment's name

	partialSuffix = ".partial"
	backupSuffix  = ".backup"
	historySuffix = ".history"
)

// ParseName takes a file name apart. It accepts exactly the four kinds that
// pgarch.c:pgarch_readyXlog can offer, in upper case, without a directory;
// anything else is ErrName. It looks at the form alone: whether a segment of
// this name can exist is for [SegmentSize.Split] to say.
func ParseName(s string) (Name, error) {
	if n, ok := parseName(s); ok {
		return n, nil
	}
	return Name{}, fmt.Errorf("%.80q: %w", s, ErrName)
}

func parseName(s string) (Name, bool) {
	if digits, ok := strings.CutSuffix(s, historySuffix); ok {
		tli, ok := parseWord(digits)
		return Name{Kind: TimelineHistory, Timeline: Timeline(tli)}, ok
	}
	if len(s) < baseLength {
		return Name{}, false
	}
	n, ok := parseBase(s[:baseLength])
	if !ok {
		return Name{}, false
	}
	switch rest := s[baseLength:]; rest {
	case "":
		n.Kind = Segment
	case partialSuffix:
		n.Kind = Partial
	default:
		offset, isBackup := strings.CutSuffix(rest, backupSuffix)
		if !isBackup || !strings.HasPrefix(offset, ".") {
			return Name{}, false
		}
		n.Kind = BackupHistory
		n.Offset, ok = parseWord(offset[1:])
	}
	return n, ok
}

func parseBase(s string) (Name, bool) {
	tli, ok1 := parseWord(s[:8])
	log, ok2 := parseWord(s[8:16])
	low, ok3 := parseWord(s[16:])
	return Name{Timeline: Timeline(tli), Log: log, Low: low}, ok1 && ok2 && ok3
}

// parseWord reads exactly eight upper-case hexadecimal digits.
func parseWord(s string) (uint32, bool) {
	if len(s) != 8 || strings.ContainsAny(s, "abcdef") {
		return 0, false
	}
	return parseHex(s)
}

// String is the file name.
func (n Name) String() string {
	switch n.Kind {
	case Partial:
		return n.Base() + partialSuffix
	case BackupHistory:
		return fmt.Sprintf("%s.%08X%s", n.Base(), n.Offset, backupSuffix)
	case TimelineHistory:
		return n.Timeline.String() + historySuffix
	default:
		return n.Base()
	}
}

// Base is the name of the segment that the file is or speaks of: 24 digits. A
// timeline history has none, its Base is empty.
func (n Name) Base() string {
	if n.Kind == TimelineHistory {
		return ""
	}
	return fmt.Sprintf("%08X%08X%08X", uint32(n.Timeline), n.Log, n.Low)
}
