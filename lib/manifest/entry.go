package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// none stands in a column for what is unknown or does not apply.
const none = "-"

// pathColumn is the index of PATH among the columns of an entry.
const pathColumn = 7

// appendEntry writes an entry that check has accepted, without an LF.
func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, e.Kind, '\t')
	b = append(b, '0'+byte(e.Mode>>9&7), '0'+byte(e.Mode>>6&7), '0'+byte(e.Mode>>3&7), '0'+byte(e.Mode&7), '\t')
	b = append(appendText(b, e.Owner), '\t')
	b = append(strconv.AppendInt(b, e.Size, 10), '\t')
	b = append(appendTime(b, e.MTime), '\t')
	b = append(appendText(b, e.SHA256), '\t')
	b = append(appendText(b, e.Part), '\t')
	b = appendEscaped(b, e.Path)
	if e.Kind == Link {
		b = appendEscaped(append(b, '\t'), e.Target)
	}
	return b
}

// String is the entry as its line in a manifest, without an end.
func (e Entry) String() string { return string(appendEntry(nil, &e)) }

func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, none...)
	}
	return appendEscaped(b, s)
}

// appendTime writes a time to the second. Times that RFC 3339 has no digits
// for are as good as unknown.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if t.Truncate(time.Second).IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return append(b, none...)
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05Z")
}

// parseEntry reads a line without its LF. The strings of the entry share the
// line's memory where they need no unescaping.
func parseEntry(line string) (Entry, error) {
	c, n := splitColumns(line)
	if n < pathColumn+1 || len(c[0]) != 1 {
		return Entry{}, errors.New("not an entry")
	}
	e := Entry{Kind: c[0][0], SHA256: known(c[5]), Part: known(c[6])}
	if wanted := pathColumn + 1; n != wanted && (e.Kind != Link || n != wanted+1) {
		return Entry{}, fmt.Errorf("%d columns", n)
	}
	mode, err1 := strconv.ParseUint(c[1], 8, 16)
	size, err2 := strconv.ParseInt(c[3], 10, 64)
	mtime, err3 := parseTime(c[4])
	owner, err4 := Unescape(known(c[2]))
	name, err5 := Unescape(c[pathColumn])
	target, err6 := Unescape(c[pathColumn+1])
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil || err6 != nil {
		return Entry{}, errors.New("a column is not in its form")
	}
	e.Mode, e.Size, e.MTime, e.Owner, e.Path, e.Target = fs.FileMode(mode), size, mtime, owner, name, target
	return e, e.check()
}

// splitColumns cuts a line at its tabs and counts the columns. What is after
// the last column that an entry can have stays with it, and the count says so.
func splitColumns(line string) (c [pathColumn + 2]string, n int) {
	for n = range c {
		column, rest, more := strings.Cut(line, "\t")
		if c[n] = column; !more {
			return c, n + 1
		}
		line = rest
	}
	return c, len(c) + 1
}

func known(s string) string {
	if s == none {
		return ""
	}
	return s
}

func parseTime(s string) (time.Time, error) {
	if s == none {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, s)
}

// findPath says where in the line of an entry the PATH column, as it is
// written, begins and ends.
func findPath(line []byte) (start, end int) {
	for range pathColumn {
		start += bytes.IndexByte(line[start:], '\t') + 1
	}
	if n := bytes.IndexByte(line[start:], '\t'); n >= 0 {
		return start, start + n
	}
	return start, len(bytes.TrimSuffix(line, []byte{'\n'}))
}

func pathOf(line []byte) []byte {
	start, end := findPath(line)
	return line[start:end]
}

// check says what makes the entry unfit for a manifest, if anything does. A
// file may lack its hash here.
func (e *Entry) check() error {
	var wrong string
	switch isFile := e.Kind == File; {
	case !isFile && e.Kind != Directory && e.Kind != Link:
		wrong = fmt.Sprintf("kind %q is not d, f or l", e.Kind)
	case !validPath(e.Path):
		wrong = "not a clean path inside the data directory"
	case e.Path == "." && e.Kind != Directory:
		wrong = "the data directory is no directory"
	case e.Mode > 0o7777:
		wrong = fmt.Sprintf("mode %#o is above 07777", uint32(e.Mode))
	case e.Size < 0 || !isFile && e.Size != 0:
		wrong = fmt.Sprintf("size %d", e.Size)
	case e.SHA256 != "" && !(isFile && validSHA256(e.SHA256)):
		wrong = "sha256 " + Escape(e.SHA256)
	case e.Part != "" && !ValidPart(e.Part):
		wrong = "part " + Escape(e.Part)
	case (e.Kind == Link) != (e.Target != "") || strings.IndexByte(e.Target, 0) >= 0:
		wrong = "target " + Escape(e.Target)
	default:
		return nil
	}
	return fmt.Errorf("%s: %s", Escape(e.Path), wrong)
}

// validPath holds for names that cannot lead out of the data directory.
func validPath(p string) bool {
	return p != "" && p[0] != '/' && path.Clean(p) == p &&
		p != ".." && !strings.HasPrefix(p, "../") && strings.IndexByte(p, 0) < 0
}

func validSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
