package stream

import (
	"io/fs"

	"pgpipes/lib/manifest"
)

// special are the bits beyond rwx, as Go and as Unix number them.
var special = []struct{ mode, bits fs.FileMode }{
	{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000},
}

// Permissions are the bits of a mode that a tar and a manifest hold.
func Permissions(m fs.FileMode) fs.FileMode {
	bits := m.Perm()
	for _, s := range special {
		if m&s.mode != 0 {
			bits |= s.bits
		}
	}
	return bits
}

// FileMode is the inverse of [Permissions].
func FileMode(bits fs.FileMode) fs.FileMode {
	m := bits.Perm()
	for _, s := range special {
		if bits&s.bits != 0 {
			m |= s.mode
		}
	}
	return m
}

// NewEntry describes a file, directory or link of a data directory as far as that
// can be seen from outside, without its owner.
func NewEntry(name string, kind byte, info fs.FileInfo) manifest.Entry {
	e := manifest.Entry{Path: name, Kind: kind, Mode: Permissions(info.Mode()), MTime: info.ModTime()}
	if kind == manifest.File {
		e.Size = info.Size()
	}
	return e
}
