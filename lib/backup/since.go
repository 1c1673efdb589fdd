package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// ErrParent says that a manifest is of no use for a copy since it.
var ErrParent = errors.New("not a backup to go on from")

// An ancestor is an earlier backup, or what is left of an interrupted one, whose
// parts hold files that need not be copied again.
//
// Its files are known by a hash of their path, with what tells whether they
// have changed: 64 bytes each.
type ancestor struct {
	header manifest.Header
	label  string // of the copy, "" for one that is named by its time
	seed   maphash.Seed
	files  []ancestral     // by their key
	parts  []manifest.Part // named as in the new manifest
	bad    map[string][]manifest.BadPage
	// trusted is off when times of modification tell nothing.
	trusted bool

	mu   sync.Mutex
	used map[int32]bool // parts that the new manifest needs
}

// ancestral is a file of an ancestor.
type ancestral struct {
	key         uint64 // a hash of the path
	size, mtime int64  // bytes, seconds
	sum         [sha256.Size]byte
	part        int32
}

// readAncestor reads the manifest of a parent of the backup with this label. If
// it has the same label it is what an interrupted copy has left.
func readAncestor(r io.Reader, label string) (*ancestor, error) {
	m, err := manifest.NewReader(r)
	if err != nil {
		return nil, err
	}
	a := &ancestor{
		header: m.Header(), label: label, seed: maphash.MakeSeed(),
		bad: map[string][]manifest.BadPage{}, used: map[int32]bool{},
	}
	place := map[string]int32{}
	for i, p := range a.header.Parts {
		place[p.Name] = int32(i)
		if !a.resumed() && !strings.Contains(p.Name, "/") {
			p.Name = a.header.Label + "/" + p.Name
		}
		a.parts = append(a.parts, p)
	}
	for _, p := range a.header.BadPages {
		a.bad[p.Path] = append(a.bad[p.Path], p)
	}
	for {
		e, err := m.Next()
		if err == io.EOF {
			slices.SortFunc(a.files, func(x, y ancestral) int { return cmp.Compare(x.key, y.key) })
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if e.Kind != manifest.File || e.Part == "" || stream.IsEnd(e.Path) || pgdata.IsWAL(e.Path) || a.mayBeBad(e.Path) {
			continue
		}
		f := ancestral{key: a.key(e.Path), size: e.Size, mtime: e.MTime.Unix(), part: place[e.Part]}
		if _, err := hex.Decode(f.sum[:], []byte(e.SHA256)); err != nil {
			return nil, err
		}
		if a.files = append(a.files, f); len(a.files) == 1 {
			a.files = slices.Grow(a.files, int(min(a.header.Files, mostGrown)))
		}
	}
}

// mayBeBad holds for files with bad pages that a manifest does not name, because
// there are too many.
func (a *ancestor) mayBeBad(name string) bool {
	return len(a.header.BadPages) >= manifest.MostBadPages && pgdata.RelationDir(path.Dir(name))
}

// mostGrown is for how many files room is made at once, because a header says
// that they will come.
const mostGrown = 8 << 20

func (a *ancestor) key(path string) uint64 { return maphash.String(a.seed, path) }

// resumed reports whether the copy goes on with what is left of itself.
func (a *ancestor) resumed() bool { return a.label != "" && a.header.Label == a.label }

// lastNumber is the highest number among the parts of the copy itself, -1 if
// there are none.
func (a *ancestor) lastNumber() int {
	last := -1
	for _, p := range a.parts {
		last = max(last, ownNumber(p))
	}
	return last
}

// fits makes sure that the ancestor is of the same cluster, and finds out
// whether times of modification can be trusted: the clock has not gone back, and
// the cluster is still on the timeline on which the ancestor ended, and behind
// that.
func (a *ancestor) fits(h manifest.Header, now time.Time) error {
	p := a.header
	switch {
	case p.SystemID != h.SystemID:
		return fmt.Errorf("%s: %w: it is of the cluster %d, not %d", p.Label, ErrParent, p.SystemID, h.SystemID)
	case p.Major != 0 && p.Major != h.Major || p.Catalog != 0 && p.Catalog != h.Catalog:
		return fmt.Errorf("%s: %w: it is of another major version of the server", p.Label, ErrParent)
	case p.Type == manifest.TypeLeftover && !a.resumed():
		return fmt.Errorf("%s: %w: it was interrupted, only a backup of that label can go on with it", p.Label, ErrParent)
	case p.Label == "":
		return fmt.Errorf("%w: its manifest does not name it", ErrParent)
	case a.resumed() && p.Type != manifest.TypeLeftover:
		return fmt.Errorf("%s: %w: it is complete, and another backup cannot have its label", p.Label, ErrParent)
	case p.StartTime.IsZero():
		return fmt.Errorf("%s: %w: its manifest does not say when it began", p.Label, ErrParent)
	}
	timeline, end, endTime := p.StopTimeline, p.StopLSN, p.StopTime
	if end == 0 { // interrupted
		timeline, end, endTime = p.StartTimeline, p.StartLSN, p.StartTime
	}
	// A standby writes its files when it likes: equal times are those of the
	// primary's only by chance, and what is in them may not be.
	primary := p.From == "primary" && h.From == "primary"
	a.trusted = primary && timeline == h.StartTimeline && end <= h.StartLSN && !endTime.After(now)
	return nil
}

// margin is by how much a file must be older than the ancestor's beginning. The
// times of files are whole seconds in a manifest, and may come from the clock of
// a file server.
const margin = 2 * time.Second

// find looks a file up. It is same if it cannot have changed, and worth
// comparing by its hash if it may not have. What was modified while the
// ancestor was copied, or later, proves nothing by its time, nor does a file whose
// inode has changed since: it may have been replaced by one that kept its time.
func (a *ancestor) find(m manifest.Entry, changed, now time.Time) (f ancestral, same, perhaps bool) {
	if a == nil {
		return f, false, false
	}
	i, known := slices.BinarySearchFunc(a.files, a.key(m.Path), func(f ancestral, key uint64) int { return cmp.Compare(f.key, key) })
	if !known || a.files[i].size != m.Size {
		return f, false, false
	}
	f = a.files[i]
	limit := a.header.StartTime.Add(-margin)
	sure := a.trusted && m.MTime.Before(limit) && changed.Before(limit) && !m.MTime.After(now)
	equal := f.mtime == m.MTime.Unix()
	return f, sure && equal, !a.trusted || equal
}

// entry lists a file as it lies in an ancestor's part.
func (a *ancestor) entry(m manifest.Entry, f ancestral) manifest.Entry {
	a.mu.Lock()
	a.used[f.part] = true
	a.mu.Unlock()
	m.Kind, m.SHA256, m.Part = manifest.File, hex.EncodeToString(f.sum[:]), a.parts[f.part].Name
	return m
}

// needed are the ancestor's parts that entries of the copy name.
func (a *ancestor) needed() []manifest.Part {
	if a == nil {
		return nil
	}
	var list []manifest.Part
	for i := range a.parts {
		if a.used[int32(i)] {
			list = append(list, a.parts[i])
		}
	}
	return list
}

// carried are the bad pages of files that are used again.
func (a *ancestor) carried(path string) []manifest.BadPage {
	if a == nil {
		return nil
	}
	return a.bad[path]
}

// reuse lists a file without copying it if an ancestor has it.
func (w *worker) reuse(ctx context.Context, f io.ReaderAt, m stream.Member, info fs.FileInfo) (bool, error) {
	a := w.tree.ancestor
	known, same, perhaps := a.find(m.Entry, changedAt(info), time.Now())
	if !same && perhaps {
		sum, err := w.hash(ctx, f, m.Size)
		if err != nil {
			return false, err
		}
		same = sum == known.sum
	}
	if !same {
		return false, nil
	}
	w.bad.add(a.carried(m.Path)...)
	w.advance(m.Size)
	return true, w.sink.Note(a.entry(m.Entry, known))
}

// changedAt is when the inode of a file was changed, which nobody can set back.
func changedAt(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return time.Now()
}

// hash hashes the first size bytes of a file. Of one that has become shorter it
// is zeros, which is nobody's hash.
func (w *worker) hash(ctx context.Context, f io.ReaderAt, size int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := f.ReadAt(w.buffer, at)
		if err != nil && err != io.EOF {
			return sum, err
		}
		n = int(min(int64(n), size-at))
		if n == 0 { // it shrank
			return sum, nil
		}
		h.Write(w.buffer[:n])
		if err := w.tree.pace.Wait(ctx, n); err != nil {
			return sum, err
		}
		at += int64(n)
	}
	h.Sum(sum[:0])
	return sum, nil
}
