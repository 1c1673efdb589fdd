package backup

import (
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// owner is who owns a file, by numbers.
type owner struct{ uid, gid uint32 }

func ownerOf(info fs.FileInfo) owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return owner{s.Uid, s.Gid}
	}
	return owner{}
}

// owners remembers names, as nearly all files of a cluster have one owner.
type owners map[owner]string

// name is user:group, by name where there is one and by number where not.
func (all owners) name(o owner) string {
	if name, known := all[o]; known {
		return name
	}
	uid, gid := strconv.Itoa(int(o.uid)), strconv.Itoa(int(o.gid))
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	if g, err := user.LookupGroupId(gid); err == nil {
		gid = g.Name
	}
	all[o] = name + ":" + gid
	return all[o]
}
