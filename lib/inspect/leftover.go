package inspect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/codec"
	"pgpipes/lib/filter"
	"pgpipes/lib/manifest"
	"pgpipes/lib/pgdata"
	"pgpipes/lib/stream"
)

// Leftover says what an interrupted backup has left, and how to get at it.
type Leftover struct {
	// Header is what is known of it: label, cluster, and where and when the
	// first of its runs began.
	Header manifest.Header
	Parts  []manifest.Part // those stored, by name and key
	// Open opens what is stored under a key.
	Open func(ctx context.Context, key string) (io.ReadCloser, error)
	// Source is needed if the parts cannot be read as they are stored: it
	// prints one, compressed or not, and gets LABEL, PART and KEY in its
	// environment.
	Source filter.Command
	// Parent is the manifest of the backup since which this one was to be
	// made. May be nil.
	Parent io.Reader
	Jobs   int                              // parts to read at once, 1 at least
	Warn   func(format string, args ...any) // for parts that are passed over
}

// WriteManifest reads all parts to their ends and writes a manifest of the files
// in them, of each path the latest. It is for a copy since it, with the same
// label. Files that the interrupted copy has not got to are listed as they are
// in the parent.
//
// A part that is not a whole tar is passed over: its files are not listed, but
// its receipt is, so that its number is known to be taken. What ends a stream,
// and WAL, is left out. Errors are those of the repository and of temporary
// files.
func (l Leftover) WriteManifest(ctx context.Context, out io.Writer) error {
	s := &salvage{Leftover: l, layers: manifest.NewLayers(""), bad: map[location][]manifest.BadPage{}}
	defer s.layers.Close()
	if err := s.readParts(ctx); err != nil {
		return err
	}
	if l.Parent != nil {
		if err := s.addParent(); err != nil {
			return err
		}
	}
	return s.write(out)
}

// salvage is a Leftover while it is read.
type salvage struct {
	Leftover
	mu     sync.Mutex
	layers *manifest.Layers
	bad    map[location][]manifest.BadPage
}

// readParts reads several at once.
func (s *salvage) readParts(ctx context.Context) error {
	s.Parts = slices.Clone(s.Parts)
	slices.SortFunc(s.Parts, func(a, b manifest.Part) int {
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.Jobs)
	for i := range s.Parts {
		group.Go(func() error { return s.readPart(ctx, &s.Parts[i]) })
	}
	return group.Wait()
}

// readPart completes the receipt of a part, and adds its files if it is whole.
func (s *salvage) readPart(ctx context.Context, p *manifest.Part) error {
	body, err := s.Open(ctx, p.Key)
	if err != nil {
		return err
	}
	defer body.Close()
	stored := &summed256{from: body, hash: sha256.New()}
	files, pages := manifest.NewWriter(""), newStoredPages(s.Header, p.Name)
	defer files.Close()
	if s.Source.Text == "" {
		err = readMembers(ctx, stored, pages, files.Add)
	} else {
		err = s.readSource(ctx, *p, pages, files.Add)
	}
	if _, rest := io.Copy(io.Discard, stored); rest != nil {
		return rest
	}
	p.SHA256, p.Size = hex.EncodeToString(stored.hash.Sum(nil)), stored.size
	if err == nil {
		err = s.add(files, pages)
	}
	if ctx.Err() == nil && isBadPart(err) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Warn("part %s: %s is passed over: %v", p.Name, p.Key, err)
		return nil
	}
	return err
}

// isBadPart holds for errors due to what is in a part.
func isBadPart(err error) bool {
	return errors.Is(err, stream.ErrBad) || errors.Is(err, codec.ErrCorrupt) || errors.Is(err, filter.ErrFailed)
}

func (s *salvage) readSource(ctx context.Context, p manifest.Part, pages *storedPages, note func(manifest.Entry) error) error {
	c := s.Source
	c.Env = append(slices.Clone(c.Env), "LABEL="+s.Header.Label, "PART="+p.Name, "KEY="+p.Key)
	r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	defer r.Abandon()
	err = readMembers(ctx, r, pages, note)
	if err == nil || isBadPart(err) { // how the command ended says more
		_, _ = io.Copy(io.Discard, r)
		err = cmp.Or(r.Finish(), err)
	}
	return err
}

// readMembers reads a part and notes the files in it that another copy can use.
func readMembers(ctx context.Context, in io.Reader, pages *storedPages, note func(manifest.Entry) error) error {
	t := stream.NewIntake(in)
	t.Bare, t.Part, t.Place, t.Note = true, pages.part, pages.place, note
	t.Wants = func(m stream.Member) bool { return m.Kind == manifest.File && isUsable(m.Path) }
	return t.Run(ctx)
}

func isUsable(path string) bool { return !stream.IsEnd(path) && !pgdata.IsWAL(path) }

// add takes the files of a part that has been read to its end. A part that has a
// path twice is none of ours.
func (s *salvage) add(files *manifest.Writer, pages *storedPages) error {
	if err := manifest.Each(files.Entries(), func(manifest.Entry) error { return nil }); err != nil {
		return stream.Bad("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.bad, pages.bad)
	return manifest.Each(files.Entries(), s.layers.Add)
}

// addParent adds the files of the parent, which all parts take precedence over,
// and its receipts. Times of files tell only what they told about both.
func (s *salvage) addParent() error {
	m, err := manifest.NewReader(s.Parent)
	if err != nil {
		return err
	}
	h := m.Header()
	here := func(name string) string {
		if label, _ := manifest.SplitPart(name); label == "" {
			return h.Label + "/" + name
		}
		return name
	}
	for _, p := range h.Parts {
		p.Name = here(p.Name)
		s.Parts = append(s.Parts, p)
	}
	bad := map[string][]manifest.BadPage{}
	for _, b := range h.BadPages {
		bad[b.Path] = append(bad[b.Path], b)
	}
	if h.StartTime.Before(s.Header.StartTime) {
		s.Header.StartTime = h.StartTime
	}
	if h.StopTimeline != s.Header.StartTimeline || h.StopLSN > s.Header.StartLSN || h.From != s.Header.From {
		s.Header.StartTimeline = 0
	}
	return manifest.Each(m, func(e manifest.Entry) error {
		if e.Kind != manifest.File || e.Part == "" || !isUsable(e.Path) {
			return nil
		}
		e.Part = here(e.Part)
		if pages := bad[e.Path]; pages != nil {
			s.bad[location{e.Part, e.Path}] = pages
		}
		return s.layers.Add(e)
	})
}

// write writes the manifest.
func (s *salvage) write(out io.Writer) error {
	files := manifest.NewWriter("")
	defer files.Close()
	err := manifest.Each(s.layers.Latest(), func(e manifest.Entry) error {
		bad := s.bad[location{e.Part, e.Path}]
		room := manifest.MostBadPages - len(s.Header.BadPages)
		s.Header.BadPages = append(s.Header.BadPages, bad[:min(len(bad), room)]...)
		return files.Add(e)
	})
	if err != nil {
		return err
	}
	s.Header.Type, s.Header.Parts = manifest.TypeLeftover, s.Parts
	return files.Finish(out, s.Header)
}

// summed256 hashes and counts what is read.
type summed256 struct {
	from io.Reader
	hash hash.Hash
	size int64
}

func (s *summed256) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}
