package restore

import (
	"os"
	"os/user"
	"strconv"
	"sync"

	"pgpipes/lib/stream"
)

// identities finds the numbers for the owners that a stream names. Names come
// first, because numbers mean different people on different hosts; root is
// never made an owner only because a name is unknown.
type identities struct {
	asRoot        bool // otherwise what is written keeps the owner it gets
	mu            sync.Mutex
	users, groups map[string]int
}

func newIdentities() *identities {
	return &identities{asRoot: os.Geteuid() == 0, users: map[string]int{}, groups: map[string]int{}}
}

// of returns the owner of a member, -1 for a number that is not to be set.
func (i *identities) of(m *stream.Member) (uid, gid int, err error) {
	if !i.asRoot {
		return -1, -1, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	uid, err = resolve("user", m.User, m.UID, i.users, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return 0, 0, err
	}
	gid, err = resolve("group", m.Group, m.GID, i.groups, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid, err
}

func resolve(what, name string, id int, known map[string]int, lookup func(string) (string, error)) (int, error) {
	key := name + "\x00" + strconv.Itoa(id)
	if n, ok := known[key]; ok {
		return n, nil
	}
	n := id
	if number, err := lookup(name); name != "" && err == nil {
		if n, err = strconv.Atoi(number); err != nil {
			return 0, err
		}
	} else if number, err := strconv.Atoi(name); err == nil && number > 0 { // a name that was unknown where it was copied
		n = number
	} else if id == 0 {
		err := badTarget("%s %s of the backup is unknown here", what, strconv.Quote(name))
		return 0, err.Advise("create it, or restore as the user that will run the server")
	}
	known[key] = n
	if name != "" { // a manifest has only that
		known[name+"\x000"] = n
	}
	return n, nil
}

// chown gives a name in a target to the owner of a member.
func (i *identities) chown(t *target, name string, m *stream.Member) error {
	uid, gid, err := i.of(m)
	if err != nil || uid < 0 {
		return err
	}
	return t.root.Lchown(name, uid, gid)
}

// chownFile is chown for an open file.
func (i *identities) chownFile(f *os.File, m *stream.Member) error {
	uid, gid, err := i.of(m)
	if err != nil || uid < 0 {
		return err
	}
	return f.Chown(uid, gid)
}
