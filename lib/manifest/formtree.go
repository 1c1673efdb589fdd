package manifest

import (
	"bufio"
	"strconv"
	"strings"
)

// NewTreeForm returns the form of mtree(5), for NetBSD's mtree and libarchive.
// Every entry has its type; and its mode, owner, size, time, SHA-256 and target
// as far as they are known and mean something: a link has no mode, and of
// directories the time is left out, because whoever restores files into one
// changes it. The part that holds an entry is the tag part:NAME. Directories that
// the manifest does not list come with nothing but their type, because mtree
// wants to know them before what is in them.
//
// To NetBSD's mtree a name with one of *?[ is a pattern, however it is written,
// so of such files it tells differences that are none. No server makes any.
func NewTreeForm(w *bufio.Writer) Form {
	w.WriteString("#mtree\n") // Finish tells of its errors
	return &treeForm{out: w}
}

type treeForm struct {
	out   *bufio.Writer
	line  []byte
	begun bool
	last  string // path of the entry before
	dirs  []int  // lengths of the beginnings of last that are directories
}

func (f *treeForm) Add(e *Entry) error {
	if err := f.addParents(e.Path); err != nil {
		return err
	}
	b := appendTreeName(f.line[:0], e.Path)
	switch e.Kind {
	case Directory:
		b = append(b, " type=dir"...)
		b = appendTreeAccess(b, e)
		f.dirs = append(f.dirs, len(e.Path))
	case Link:
		b = append(b, " type=link link="...)
		b = appendTreeText(b, e.Target)
		b = appendTreeOwner(b, e.Owner)
	default:
		b = append(b, " type=file"...)
		b = appendTreeAccess(b, e)
		if !e.MTime.IsZero() {
			b = append(strconv.AppendInt(append(b, " time="...), e.MTime.Unix(), 10), ".0"...)
		}
		b = strconv.AppendInt(append(b, " size="...), e.Size, 10)
		b = append(append(b, " sha256digest="...), e.SHA256...)
	}
	if e.Part != "" {
		b = append(append(b, " tags=part:"...), e.Part...)
	}
	f.line = append(b, '\n')
	_, err := f.out.Write(f.line)
	return err
}

func (f *treeForm) Finish() error {
	if err := f.addParents(""); err != nil {
		return err
	}
	return f.out.Flush()
}

// addParents writes the directories above a path that have not come, the data
// directory first of all.
func (f *treeForm) addParents(path string) error {
	if !f.begun && path != "." {
		f.out.WriteString(". type=dir\n")
	}
	f.begun = true
	common := commonPrefix([]byte(f.last), []byte(path))
	for len(f.dirs) > 0 && f.dirs[len(f.dirs)-1] > common {
		f.dirs = f.dirs[:len(f.dirs)-1]
	}
	f.last = path
	known := 0
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		for known < len(f.dirs) && f.dirs[known] < i {
			known++
		}
		if known < len(f.dirs) && f.dirs[known] == i {
			continue
		}
		f.dirs = append(f.dirs, i)
		f.line = append(appendTreeName(f.line[:0], path[:i]), " type=dir\n"...)
		if _, err := f.out.Write(f.line); err != nil {
			return err
		}
	}
	return nil
}

func appendTreeAccess(b []byte, e *Entry) []byte {
	b = append(b, " mode="...)
	b = append(b, '0'+byte(e.Mode>>9&7), '0'+byte(e.Mode>>6&7), '0'+byte(e.Mode>>3&7), '0'+byte(e.Mode&7))
	return appendTreeOwner(b, e.Owner)
}

// appendTreeOwner writes user and group, by number if they are one.
func appendTreeOwner(b []byte, owner string) []byte {
	user, group, _ := strings.Cut(owner, ":")
	b = appendTreeAccount(b, " u", user)
	return appendTreeAccount(b, " g", group)
}

func appendTreeAccount(b []byte, key, name string) []byte {
	if name == "" {
		return b
	}
	b = append(b, key...)
	if strings.Trim(name, "0123456789") == "" {
		return append(append(b, "id="...), name...)
	}
	return appendTreeText(append(b, "name="...), name)
}

// appendTreeName writes a path: "." itself, or below it.
func appendTreeName(b []byte, path string) []byte {
	if path == "." {
		return append(b, '.')
	}
	return appendTreeText(append(b, "./"...), path)
}

// appendTreeText writes all that is not plain in octal, the only escape that
// both readers understand.
func appendTreeText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c > ' ' && c <= '~' && c != '\\' && c != '#' {
			b = append(b, c)
		} else {
			b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		}
	}
	return b
}
