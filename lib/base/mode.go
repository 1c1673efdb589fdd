package base

import "io/fs"

// special are the bits beyond rwx, as Go and as Unix number them.
var special = []struct{ mode, bits fs.FileMode }{
	{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000},
}

// permissions are the bits of a mode that a tar and a manifest hold.
func permissions(m fs.FileMode) fs.FileMode {
	bits := m.Perm()
	for _, s := range special {
		if m&s.mode != 0 {
			bits |= s.bits
		}
	}
	return bits
}

// fileMode is the inverse of permissions.
func fileMode(bits fs.FileMode) fs.FileMode {
	m := bits.Perm()
	for _, s := range special {
		if bits&s.bits != 0 {
			m |= s.mode
		}
	}
	return m
}
