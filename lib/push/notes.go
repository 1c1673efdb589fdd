package push

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgpipes/lib/archive"
	"pgpipes/lib/durable"
	"pgpipes/lib/layout"
	"pgpipes/lib/state"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// noteLife is how long a note is kept that nobody asks for.
const noteLife = 24 * time.Hour

// notes remember which WAL files a repository has got before they were asked
// for. They are only good for saving time: a note counts while the source is
// the same file, unchanged, and the object it tells of is there. So notes that
// are old, copied from another machine or of another cluster do no harm, and
// those that cannot be written only cost time.
type notes struct{ dir string } // of one repository; "" remembers nothing

// notesOf returns the notes for a repository; a nil state directory has none.
func notesOf(s *state.Dir, r *archive.Repo) notes {
	if s == nil {
		return notes{}
	}
	dir, err := s.Path("push", r.ID)
	if err != nil {
		return notes{}
	}
	return notes{dir}
}

// add notes that the file with this identity is stored as an object.
func (n notes) add(name wal.Name, id string, object store.Info) error {
	if n.dir == "" || id == "" || object.Key == "" {
		return errNoNotes
	}
	path := filepath.Join(n.dir, name.String())
	f, err := durable.Create(path, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s\t%s\t%s\t%d\n", name, id, object.Key, object.Size); err != nil {
		return err
	}
	return f.ReplaceUnsynced() // what it tells of is durable: no need to be so itself
}

var errNoNotes = errors.New("nothing can be noted")

// has reports whether the file is known to be stored in r, and still is.
func (n notes) has(ctx context.Context, r *archive.Repo, name wal.Name, id string) bool {
	if n.dir == "" || id == "" {
		return false
	}
	text, err := archive.ReadSmall(filepath.Join(n.dir, name.String()))
	if err != nil {
		return false
	}
	object, known := strings.CutPrefix(string(text), name.String()+"\t"+id+"\t")
	key, size, _ := strings.Cut(object, "\t")
	if there, _, ok := layout.ParseWALKey(key); !known || !ok || there != name {
		return false
	}
	info, err := r.Stat(ctx, key)
	return err == nil && size == strconv.FormatInt(info.Size, 10)+"\n"
}

// mention reports whether there is a note about a file, true or not.
func (n notes) mention(name wal.Name) bool {
	_, err := os.Stat(filepath.Join(n.dir, name.String()))
	return err == nil
}

// remove forgets a file.
func (n notes) remove(name wal.Name) {
	if n.dir != "" {
		_ = os.Remove(filepath.Join(n.dir, name.String()))
	}
}

// sweep forgets what nobody has asked for in a long time, nor will: it does not wait
// in pg_wal any more.
func (n notes) sweep(dir string) {
	entries, _ := os.ReadDir(n.dir)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > noteLife && !isReady(filepath.Join(dir, e.Name())) {
			_ = os.Remove(filepath.Join(n.dir, e.Name()))
		}
	}
}

// identity tells the file from every other, and from itself after a change: a
// segment that was renamed for new contents has another change time. It is ""
// for what is no file. Take it before the contents are read.
func identity(s *archive.Source) string {
	file, ok := s.Closer.(*os.File)
	if !ok {
		return ""
	}
	var i unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &i); err != nil {
		return ""
	}
	return fmt.Sprintf("%x:%d:%d:%d.%09d:%d.%09d", i.Dev, i.Ino, i.Size, i.Mtim.Sec, i.Mtim.Nsec, i.Ctim.Sec, i.Ctim.Nsec)
}

// unchanged is an error if the file is another one than its identity says: what
// was read may be a mixture then.
func unchanged(s *archive.Source, id string) error {
	if identity(s) != id {
		return fmt.Errorf("the file changed while it was read")
	}
	return nil
}
