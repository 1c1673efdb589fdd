package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// layOut makes what needs no contents: all directories, and the files of
// databases that are not wanted.
func (r *restorer) layOut(ctx context.Context) error {
	return r.plan.each(func(e manifest.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, name := r.targets.find(e.Path)
		switch {
		case e.Kind == manifest.Directory:
			return errors.Join(r.layDirectory(t, name, memberOf(e)), r.add(e))
		case e.Kind == manifest.Link && (t == r.targets.data || name != "."):
			return stream.Bad("%s: a tablespace that the manifest does not know", manifest.Escape(e.Path))
		case e.Kind == manifest.Link:
			return r.add(e)
		case r.plan.excludes(e.Path):
			return r.makeHole(t, name, memberOf(e))
		}
		return nil
	})
}

// layDirectory makes a directory. Who owns it is seen to at the end, when the
// streams have told what the names mean.
func (r *restorer) layDirectory(t *target, name string, m stream.Member) error {
	if m.Path == "global" {
		r.global = m
	}
	if name == "." {
		t.top = &m
		return nil
	}
	err := t.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) && (t.inPlace || m.Path == pgdata.TablespaceDir) {
		return nil
	}
	return err
}

// makeHole makes a file of the right size with nothing in it. Replay of WAL
// finds it, and so has neither to make nor to lengthen it; every page that it
// needs comes as a whole image, as in any recovery from a backup.
func (r *restorer) makeHole(t *target, name string, m stream.Member) error {
	w, err := r.makeFile(t, name, m, os.O_EXCL)
	if err != nil {
		return err
	}
	f := w.(*placed).File // settleListed dresses it
	return errors.Join(f.Truncate(m.Size), f.Sync(), f.Close())
}

// memberOf is what a manifest knows of a member.
func memberOf(e manifest.Entry) stream.Member {
	m := stream.Member{Entry: e}
	m.User, m.Group, _ = strings.Cut(e.Owner, ":")
	return m
}

// settleListed gives all directories, and the files that no stream had, their
// owners, modes and times. By now nothing is written into them any more.
func (r *restorer) settleListed() error {
	return r.plan.each(func(e manifest.Entry) error {
		t, name := r.targets.find(e.Path)
		m := memberOf(e)
		switch {
		case e.Kind == manifest.Directory && name == "." && t != r.targets.data:
			return r.chown(r.targets.data, e.Path, &m) // the link
		case e.Kind == manifest.Directory && name != ".":
			return errors.Join(r.chown(t, name, &m), t.dress(name, e.Mode, e.MTime))
		case e.Kind == manifest.File && r.plan.index.find(e.Path).state != received:
			return r.tidy(t, name, &m)
		}
		return nil
	})
}

// chown gives a name to the owner that a manifest knows, if it does.
func (r *restorer) chown(t *target, name string, m *stream.Member) error {
	if m.Owner == "" {
		return nil
	}
	return r.ids.chown(t, name, m)
}

// tidy makes owner, mode and time of a file right, if they are not.
func (r *restorer) tidy(t *target, name string, m *stream.Member) error {
	info, err := t.root.Lstat(name)
	if err != nil {
		return err
	}
	uid, gid, err := -1, -1, error(nil)
	if m.Owner != "" {
		uid, gid, err = r.ids.of(m)
	}
	if err != nil {
		return err
	}
	had, _ := info.Sys().(*syscall.Stat_t)
	if uid >= 0 && (had == nil || int(had.Uid) != uid || int(had.Gid) != gid) {
		if err := t.root.Lchown(name, uid, gid); err != nil {
			return err
		}
	} else if stream.Permissions(info.Mode()) == m.Mode && info.ModTime().Truncate(time.Second).Equal(m.MTime) {
		return nil
	}
	return t.dress(name, m.Mode, m.MTime)
}
