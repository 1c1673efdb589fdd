package guard

import (
	"path"
	"strings"
	"sync"

	"pgpipes/lib/durable"
	"pgpipes/lib/sftpmsg"
)

// rules say what is let through. They know which files are being written.
type rules struct {
	root string // absolute and clean

	mu      sync.Mutex
	asked   map[uint32]string // temporary files whose opening has been asked for, by request
	writing map[string]string // those that are open for writing, by handle
}

func newRules(root string) *rules {
	return &rules{root: path.Clean(root), asked: map[uint32]string{}, writing: map[string]string{}}
}

// judge says why a request is refused, "" if it is let through. What is not
// known is refused.
func (r *rules) judge(kind byte, id uint32, f *sftpmsg.Fields) (why string) {
	switch kind {
	case sftpmsg.Close:
		r.closed(f.Text())
		return ""
	case sftpmsg.Read, sftpmsg.Write, sftpmsg.Fstat, sftpmsg.Readdir: // what is open has been judged
		return ""
	case sftpmsg.Lstat, sftpmsg.Stat, sftpmsg.Opendir, sftpmsg.Realpath, sftpmsg.Readlink:
		return "" // looking harms nothing; the account's own rights count
	case sftpmsg.Open:
		return r.open(id, f.Text(), f.Number())
	case sftpmsg.Mkdir:
		return r.inside(f.Text())
	case sftpmsg.Remove:
		return r.removable(f.Text())
	case sftpmsg.Extended:
		return r.extended(f.Text(), f)
	}
	return "nothing but adding is allowed here"
}

// open lets through reading, and writing of a new temporary file.
func (r *rules) open(id uint32, name string, flags uint32) string {
	if flags == sftpmsg.OpenRead {
		return ""
	}
	if why := r.inside(name); why != "" {
		return why
	}
	if flags != sftpmsg.OpenWrite|sftpmsg.OpenCreat|sftpmsg.OpenExcl || !isTemporary(name) {
		return "only new files may be written, under temporary names"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[id] = r.clean(name)
	return ""
}

// extended lets through what names a temporary file that is complete, and what
// syncs and looks.
func (r *rules) extended(what string, f *sftpmsg.Fields) string {
	switch what {
	case "hardlink@openssh.com":
		return r.link(f.Text(), f.Text())
	case "fsync@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "limits@openssh.com", "expand-path@openssh.com":
		return ""
	}
	return "nothing but adding is allowed here"
}

// link lets a file get its name when nobody can write to it any more. A name
// that is taken is refused by the file system.
func (r *rules) link(from, to string) string {
	for _, name := range []string{from, to} {
		if why := r.inside(name); why != "" {
			return why
		}
	}
	if !isTemporary(from) || isTemporary(to) {
		return "only a temporary file may be given a name"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, open := range r.writing {
		if open == r.clean(from) {
			return "it is still being written"
		}
	}
	if len(r.asked) > 0 { // one of them may be it
		return "a file is just being opened"
	}
	return ""
}

// removable lets temporary files go, and leases, which are put again and again.
func (r *rules) removable(name string) string {
	if why := r.inside(name); why != "" {
		return why
	}
	inLease := strings.HasPrefix(r.clean(name), r.root+"/lease/")
	if !isTemporary(name) && !inLease {
		return "nothing may be removed here"
	}
	return ""
}

// inside refuses paths outside of the repository.
func (r *rules) inside(name string) string {
	if c := r.clean(name); c != r.root && !strings.HasPrefix(c, r.root+"/") {
		return "outside of the repository"
	}
	return ""
}

// clean is an absolute path; the server works in the repository.
func (r *rules) clean(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(r.root, name)
	}
	return path.Clean(name)
}

func isTemporary(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, durable.TemporaryPrefix) && strings.HasSuffix(base, ".tmp")
}

// answered takes note of what the server says to a request.
func (r *rules) answered(p sftpmsg.Message) {
	id, f, ok := p.Parts()
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name, waits := r.asked[id]
	if !waits {
		return
	}
	delete(r.asked, id)
	if handle := f.Text(); p[0] == sftpmsg.Handle && !f.Bad {
		r.writing[handle] = name
	}
}

func (r *rules) closed(handle string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.writing, handle)
}
