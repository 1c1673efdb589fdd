package pgdata

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const serverLabel = "primary-15.backup_label"

func TestParseLabel(t *testing.T) {
	want := Label{
		StartLSN: 0x5000028, CheckpointLSN: 0x5000060, StartFile: "000000010000000000000005",
		Method: "streamed", From: "primary", StartTime: "2026-11-22 09:40:44 UTC",
		Label: "fixture of pgpipes", Timeline: 1,
	}
	if got, err := ParseLabel(fixture(t, serverLabel)); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

const twoLines = "START WAL LOCATION: 1A/5000028 (file 0000000C0000001A00000005)\nCHECKPOINT LOCATION: 1A/05000060\n"

func TestParseLabelForms(t *testing.T) {
	base := Label{StartLSN: 0x1A05000028, CheckpointLSN: 0x1A05000060, StartFile: "0000000C0000001A00000005", Timeline: 12}
	with := func(change func(*Label)) Label {
		l := base
		change(&l)
		return l
	}
	for _, test := range []struct {
		rest string
		want Label
	}{
		{"", base},
		{"BACKUP METHOD: pg_rewind\nBACKUP FROM: standby\n", with(func(l *Label) { l.Method, l.From = "pg_rewind", "standby" })},
		{"LABEL: \nSTART TIMELINE: 12\n", base},
		{"LABEL: \xe9\tSTART\n", with(func(l *Label) { l.Label = "\xe9\tSTART" })},
		{"START TIMELINE: 12\nINCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n", with(func(l *Label) { l.Incremental = true })},
		{"START TIMELINE: 12\nA LINE OF RELEASE 30: x\n", base},
	} {
		if got, err := ParseLabel([]byte(twoLines + test.rest)); err != nil || got != test.want {
			t.Errorf("%q: %+v, %v; want %+v", test.rest, got, err, test.want)
		}
	}
}

func TestParseLabelRefuses(t *testing.T) {
	server := string(fixture(t, serverLabel))
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", "has no end"},
		{"blank", "\n", `line 1 is not "START WAL LOCATION: "`},
		{"cut in the last line", server[:len(server)-1], "has no end"},
		{"cut after the first line", twoLines[:strings.Index(twoLines, "\n")+1], `no "CHECKPOINT LOCATION: "`},
		{"CRLF", strings.ReplaceAll(server, "\n", "\r\n"), "no segment"},
		{"blank line first", "\n" + server, "line 1 is not"},
		{"other order", "CHECKPOINT LOCATION: 0/5000060\n" + server, "line 1 is not"},
		{"unknown line second", strings.Replace(server, "CHECK", "X\nCHECK", 1), "line 2 is not"},
		{"bad LSN", strings.Replace(server, "0/5000028", "5000028", 1), "not an LSN"},
		{"bad checkpoint", strings.Replace(server, "0/5000060", "0/", 1), "line 2: "},
		{"bad segment", strings.Replace(server, "000000010000000000000005", "00000001000000000000000g", 1), "no segment"},
		{"partial segment", strings.Replace(server, "000000010000000000000005", "000000010000000000000005.partial", 1), "no segment"},
		{"no bracket", strings.Replace(server, ")", "", 1), "no segment"},
		{"segment of another log", strings.Replace(server, "000000010000000000000005", "000000010000000100000005", 1), "is not in"},
		{"timelines differ", strings.Replace(server, "TIMELINE: 1", "TIMELINE: 2", 1), "timeline 2, but"},
		{"odd timeline", strings.Replace(server, "TIMELINE: 1", "TIMELINE: x", 1), "not a timeline"},
		{"twice", server + "START TIMELINE: 1\n", "out of place"},
		{"known after unknown", strings.Replace(server, "START TIMELINE", "X\nSTART TIMELINE", 1), "out of place"},
		{"method after label", twoLines + "LABEL: x\nBACKUP METHOD: streamed\n", "out of place"},
	} {
		_, err := ParseLabel([]byte(test.in))
		if !errors.Is(err, ErrLabel) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func FuzzParseLabel(f *testing.F) {
	f.Add(fixture(f, serverLabel))
	f.Add([]byte(twoLines))
	f.Add([]byte(twoLines + "START TIMELINE: 12\nINCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLabel(b)
		if err != nil {
			if !errors.Is(err, ErrLabel) {
				t.Errorf("%v is not ErrLabel", err)
			}
			return
		}
		if !bytes.Contains(b, []byte(l.StartFile)) || len(l.StartFile) != 24 || !bytes.Contains(b, []byte(l.Label)) {
			t.Errorf("%q reads as %+v", b, l)
		}
	})
}
