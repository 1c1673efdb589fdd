package guard

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"pgpipes/lib/durable"
	"pgpipes/lib/sftpmsg"
)

// rules say what is let through. They know which files are being written.
type rules struct {
	root string // absolute and clean

	mu      sync.Mutex
	waiting map[uint32]bool   // requests without an answer
	asked   map[uint32]string // names of temporary files whose opening has been asked for, by request
	writing map[string]string // of those that are open for writing, by handle
}

func newRules(root string) *rules {
	return &rules{root: path.Clean(root), waiting: map[uint32]bool{}, asked: map[uint32]string{}, writing: map[string]string{}}
}

// begin takes note of a request, and reports whether its answer will be told from
// those of others.
func (r *rules) begin(id uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] {
		return false
	}
	r.waiting[id] = true
	return true
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
		return r.open(id, f.Text(), f.Number(), f)
	case sftpmsg.Mkdir:
		return r.mkdir(f.Text(), f)
	case sftpmsg.Remove:
		return r.removable(f.Text())
	case sftpmsg.Extended:
		return r.extended(f.Text(), f)
	}
	return "nothing but adding is allowed here"
}

// open lets through reading, and writing of a new temporary file.
func (r *rules) open(id uint32, name string, flags uint32, f *sftpmsg.Fields) string {
	if flags == sftpmsg.OpenRead {
		return ""
	}
	if why := r.inside(name); why != "" {
		return why
	}
	if flags != sftpmsg.OpenWrite|sftpmsg.OpenCreat|sftpmsg.OpenExcl || !isTemporary(name) {
		return "only new files may be written, under temporary names"
	}
	if !plain(f) {
		return notPlain
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[id] = path.Base(name)
	return ""
}

const notPlain = "only the rights to read, write and execute may be set"

func (r *rules) mkdir(name string, f *sftpmsg.Fields) string {
	if why := r.inside(name); why != "" {
		return why
	}
	if !plain(f) {
		return notPlain
	}
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
// that is taken is refused by the file system. There may be several ways to one
// directory, so files are told apart by their names alone, which are random.
func (r *rules) link(from, to string) string {
	for _, name := range []string{from, to} {
		if why := r.inside(name); why != "" {
			return why
		}
	}
	if !isTemporary(from) || isTemporary(to) {
		return "only a temporary file may be given a name"
	}
	if r.writes(path.Base(from)) || isWritten(r.clean(from)) {
		return "it is still being written"
	}
	return ""
}

// writes reports whether a temporary file is open in this conversation.
func (r *rules) writes(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, open := range []iter.Seq[string]{maps.Values(r.asked), maps.Values(r.writing)} {
		for one := range open {
			if one == name {
				return true
			}
		}
	}
	return false
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

// inside refuses paths outside of the repository, and those that the server may
// understand in another way: the parent of a directory behind a link is elsewhere.
func (r *rules) inside(name string) string {
	if slices.Contains(strings.Split(name, "/"), "..") || strings.Contains(name, "\x00") {
		return "not a plain path"
	}
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
	if !ok || p[0] == sftpmsg.Version {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
	name, opens := r.asked[id]
	if !opens {
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
