package restore

import (
	"errors"
	"os/user"
	"strconv"
	"testing"

	"pgpipes/lib/stream"
)

func TestIdentities(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(me.Uid)
	gid, _ := strconv.Atoi(me.Gid)
	for _, c := range []struct {
		name     string
		m        stream.Member
		uid, gid int // -2 for an error
	}{
		{"names before numbers", stream.Member{User: me.Username, Group: group.Name, UID: 4711, GID: 4712}, uid, gid},
		{"unknown names", stream.Member{User: "no such user", Group: "no such group", UID: 4711, GID: 4712}, 4711, 4712},
		{"no names", stream.Member{UID: 4711, GID: 4712}, 4711, 4712},
		{"numbers for names", stream.Member{User: "4713", Group: "4714"}, 4713, 4714},
		{"nothing known of the user", stream.Member{User: "no such user", Group: group.Name}, -2, -2},
		{"nothing known of the group", stream.Member{User: me.Username, Group: "no such group"}, -2, -2},
		{"nothing at all", stream.Member{}, -2, -2},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newIdentities()
			i.asRoot = true
			for range 2 { // the second time from memory
				uid, gid, err := i.of(&c.m)
				if c.uid == -2 && !errors.Is(err, ErrTarget) {
					t.Errorf("error %v", err)
				}
				if c.uid != -2 && (uid != c.uid || gid != c.gid || err != nil) {
					t.Errorf("%d:%d %v, want %d:%d", uid, gid, err, c.uid, c.gid)
				}
			}
			i.asRoot = false
			if uid, gid, err := i.of(&c.m); uid != -1 || gid != -1 || err != nil {
				t.Errorf("as an ordinary user: %d:%d %v", uid, gid, err)
			}
		})
	}
}

// A manifest has only names; what their numbers are a stream has told.
func TestIdentitiesLearnNumbers(t *testing.T) {
	i := newIdentities()
	i.asRoot = true
	unnumbered := &stream.Member{User: "no such user", Group: "no such group"}
	if _, _, err := i.of(unnumbered); !errors.Is(err, ErrTarget) {
		t.Errorf("error %v", err)
	}
	numbered := &stream.Member{User: "no such user", Group: "no such group", UID: 12345, GID: 54321}
	for _, m := range []*stream.Member{numbered, unnumbered} { // in this order
		if uid, gid, err := i.of(m); uid != 12345 || gid != 54321 || err != nil {
			t.Errorf("%d %d %v", uid, gid, err)
		}
	}
}
