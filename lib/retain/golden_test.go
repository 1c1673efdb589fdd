package retain_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

var update = flag.Bool("update", false, "write the decisions into testdata instead of comparing them")

// separator parts a golden file's state from the decisions about it.
const separator = "---\n"

// TestGolden decides about the states in testdata. A file is a remark, a state
// and the decisions:
//
//	# remark
//	now      2026-11-22T12:00:00Z
//	segment  16777216
//	keep     last=2 abandoned=48h abandon=LABEL,LABEL
//	history  3 1@0/5000000 2@0/9000000
//	backup   20261120T000000Z 1 0/2000028 0/3000000 [until=TLI] [stopped=TIME] [pin=WHY] [needs=LABEL,LABEL] [tag=TAG] [wal=included] [use=WHO]
//	backup   20261122T110000Z 1 0/8000028 - [stored=TIME]
//	wal      1 1..9
//	partial  1 10..10
//	---
//	keep	backup	…
//
// A backup is its label, which is also the time it began (it takes an hour
// unless stopped= says otherwise), timeline, start and stop; a stop of - is not
// complete. Blanks in a pin are written _.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(b), separator)
			if !ok {
				t.Fatal("no line ---")
			}
			state, policy := parse(t, input)
			var got strings.Builder
			for _, d := range retain.Decide(state, policy) {
				fmt.Fprintln(&got, d)
			}
			if *update {
				err := os.WriteFile(file, []byte(input+separator+got.String()), 0o644)
				if err != nil {
					t.Fatal(err)
				}
			} else if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func parse(t *testing.T, input string) (retain.State, retain.Policy) {
	t.Helper()
	s := retain.State{SegmentSize: 16 << 20, Histories: make(map[wal.Timeline]wal.History)}
	var p retain.Policy
	for line := range strings.Lines(input) {
		field := strings.Fields(line)
		if len(field) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch args := field[1:]; field[0] {
		case "now":
			s.Now = parseTime(t, time.RFC3339, args[0])
		case "segment":
			s.SegmentSize = wal.SegmentSize(number(t, args[0]))
		case "keep":
			p = parsePolicy(t, args)
		case "history":
			s.Histories[timeline(t, args[0])] = parseHistory(t, args[1:])
		case "backup":
			s.Backups = append(s.Backups, parseBackup(t, args))
		case "wal":
			s.WAL = append(s.WAL, parseRange(t, args))
		case "partial":
			s.Partials = append(s.Partials, parseRange(t, args))
		default:
			t.Fatalf("line %q", line)
		}
	}
	return s, p
}

func parseRange(t *testing.T, args []string) retain.WALRange {
	t.Helper()
	first, last, _ := strings.Cut(args[1], "..")
	return retain.WALRange{Timeline: timeline(t, args[0]), First: number(t, first), Last: number(t, last)}
}

func parsePolicy(t *testing.T, args []string) (p retain.Policy) {
	t.Helper()
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "last":
			p.KeepLast = int(number(t, value))
		case "daily":
			p.KeepDaily = int(number(t, value))
		case "weekly":
			p.KeepWeekly = int(number(t, value))
		case "monthly":
			p.KeepMonthly = int(number(t, value))
		case "yearly":
			p.KeepYearly = int(number(t, value))
		case "min":
			p.KeepMin = int(number(t, value))
		case "within":
			p.KeepWithin = duration(t, value)
		case "tag":
			p.KeepTags = append(p.KeepTags, value)
		case "wal":
			p.WAL = retain.WALPolicy{Limited: true, Within: duration(t, value)}
		case "abandoned":
			p.Abandoned = duration(t, value)
		case "abandon":
			p.Abandon = strings.Split(value, ",")
		default:
			t.Fatalf("policy %q", arg)
		}
	}
	return p
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parseHistory(t *testing.T, args []string) wal.History {
	t.Helper()
	h := wal.History{}
	for _, arg := range args {
		parent, at, _ := strings.Cut(arg, "@")
		h = append(h, wal.Switch{Parent: timeline(t, parent), At: lsn(t, at)})
	}
	return h
}

func parseBackup(t *testing.T, args []string) retain.Backup {
	t.Helper()
	b := retain.Backup{Label: args[0], Timeline: timeline(t, args[1]), Start: lsn(t, args[2])}
	b.StartTime = parseTime(t, "20060102T150405Z", args[0][:16])
	if b.Complete = args[3] != "-"; b.Complete {
		b.Stop, b.StopTimeline, b.StopTime = lsn(t, args[3]), b.Timeline, b.StartTime.Add(time.Hour)
	}
	for _, arg := range args[4:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "until":
			b.StopTimeline = timeline(t, value)
		case "stopped":
			b.StopTime = parseTime(t, time.RFC3339, value)
		case "stored":
			b.Stored = parseTime(t, time.RFC3339, value)
		case "pin":
			b.Pin = strings.ReplaceAll(value, "_", " ")
		case "needs":
			b.Needs = strings.Split(value, ",")
		case "tag":
			b.Tags = append(b.Tags, value)
		case "wal":
			b.WAL = value == "included"
		case "use":
			b.InUse = strings.ReplaceAll(value, "_", " ")
		default:
			t.Fatalf("backup %q", arg)
		}
	}
	b.Full = len(b.Needs) == 0
	return b
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func timeline(t *testing.T, s string) wal.Timeline { t.Helper(); return wal.Timeline(number(t, s)) }

func lsn(t *testing.T, s string) wal.LSN {
	t.Helper()
	l, err := wal.ParseLSN(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parseTime(t *testing.T, layout, s string) time.Time {
	t.Helper()
	at, err := time.Parse(layout, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
