package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/durable"
	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wait"
	"pgpipes/lib/wal"
)

// DeliveredMode is that of files delivered into pg_wal, less the umask.
const DeliveredMode fs.FileMode = 0o600

// Get fetches a WAL file from the first repository that has it whole and
// returns it as a file in the making, to be named path or only read. The caller
// closes it. If cluster is not nil, a repository of another one is an error.
//
// The next one is asked too when one has not served within slowRepository, which
// might hang. Then it is the one asked last that may not take too long.
//
// The error wraps store.ErrNotExist only if every repository was reached and
// proved to lack the file with no hole (ErrHole). What was wrong with a
// repository while another one served is given to warn.
func Get(ctx context.Context, locations []string, cluster *Cluster, n wal.Name, path string, warn func(error)) (*durable.File, error) {
	var failed, absent []error
	answers := make(chan answer, len(locations))
	var asked []*question // and not answered
	next := 0
	ask := func() {
		if next < len(locations) {
			q := &question{location: locations[next]}
			next++
			asked = append(asked, q)
			var spared context.Context
			spared, q.blame = wait.Spared(ctx)
			go func() {
				f, err := getFrom(spared, q.location, cluster, n, path, warn)
				answers <- answer{q, f, err}
			}()
		}
		if next == len(locations) && len(asked) > 0 {
			asked[len(asked)-1].blame()
		}
	}
	for ask(); len(asked) > 0; ask() {
		select {
		case a := <-answers:
			asked = slices.DeleteFunc(asked, func(q *question) bool { return q == a.to })
			switch {
			case a.err == nil:
				for _, err := range failed {
					warn(err)
				}
				return a.file, nil
			case errors.Is(a.err, store.ErrNotExist):
				absent = append(absent, a.err)
			default:
				failed = append(failed, a.err)
			}
		case <-time.After(slowRepository):
		}
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return nil, errors.Join(absent...)
}

// slowRepository is how long one may take to answer before another is asked too.
const slowRepository = 2 * time.Second

// A question is what one repository is asked.
type question struct {
	location string
	blame    func() // whoever waits too long is waiting for this one
}

// An answer is that of one repository.
type answer struct {
	to   *question
	file *durable.File
	err  error
}

func getFrom(ctx context.Context, location string, cluster *Cluster, n wal.Name, path string, warn func(error)) (*durable.File, error) {
	r, err := Open(ctx, location)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if cluster != nil {
		if err := r.Accepts(*cluster); err != nil {
			return nil, err
		}
	}
	f, err := r.get(ctx, n, path, warn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	return f, nil
}

func (r *Repo) get(ctx context.Context, n wal.Name, path string, warn func(error)) (*durable.File, error) {
	there, err := r.Forms(ctx, n)
	if err != nil {
		return nil, err
	}
	if len(there) == 0 {
		if err := r.ProveEnd(ctx, n); err != nil {
			return nil, err
		}
		if err := r.StillThere(ctx); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", n, store.ErrNotExist)
	}
	slices.SortFunc(there, CompareForms)
	var failed []error
	for _, form := range there {
		f, err := r.fetchForm(ctx, form.Key, n, path)
		if err == nil {
			for _, err := range failed {
				warn(err)
			}
			return f, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// fetchForm fetches an object, a history only if the place in it can be right.
func (r *Repo) fetchForm(ctx context.Context, key string, n wal.Name, path string) (*durable.File, error) {
	f, err := r.Fetch(ctx, key, n, path)
	if err != nil || n.Kind != wal.TimelineHistory {
		return f, err
	}
	if err := r.checkBeginning(ctx, key, n.Timeline, f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkBeginning finds a history that says that its timeline began behind a segment
// that is there of it: it would have a server follow the parent too far.
func (r *Repo) checkBeginning(ctx context.Context, key string, tli wal.Timeline, f *durable.File) error {
	text, err := Content{f, f.Size()}.text()
	if err != nil {
		return err
	}
	h, err := wal.ParseHistory(tli, text)
	if err != nil {
		return err
	}
	first, err := r.firstFile(ctx, layout.Timeline(tli), "")
	if err != nil || first == "" {
		return err
	}
	if at := h[len(h)-1].At; first < r.SegmentSize.Name(tli, r.SegmentSize.Number(at)) {
		return damagedHistory{fmt.Errorf("%s: %w: it says that timeline %d began at %s, but there is %s", key, ErrDamaged, uint32(tli), at, first)}
	}
	return nil
}

// StillThere makes sure that the lists that were read were those of this
// repository: a file system that went away meanwhile leaves an empty directory.
func (r *Repo) StillThere(ctx context.Context) error {
	now, err := readIdentity(ctx, r.Store)
	if err == nil && now != r.Identity {
		err = fmt.Errorf("the repository was exchanged while it was read")
	}
	return err
}

// Fetch decodes the object of a key that holds a WAL file into a file in the making,
// to be named path, and checks it. The caller closes it. What is not what the name
// says, or of another cluster, is ErrDamaged. An object that is not there is an
// error too, but no proof that the file is absent.
func (r *Repo) Fetch(ctx context.Context, key string, n wal.Name, path string) (*durable.File, error) {
	f, err := durable.Create(path, DeliveredMode)
	if err != nil {
		return nil, err
	}
	limit := int64(r.SegmentSize)
	if n.Kind == wal.TimelineHistory || n.Kind == wal.BackupHistory {
		limit = TextLimit
	}
	if err = r.decode(ctx, key, f, limit); err == nil {
		err = r.check(key, n, Content{f, f.Size()})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// check finds an object whose contents are not those of its name.
func (r *Repo) check(key string, n wal.Name, content Content) error {
	c, err := Inspect(n, content)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", key, ErrDamaged, strings.TrimPrefix(err.Error(), "wal: "))
	}
	if c != (Cluster{}) && c != r.Cluster {
		return fmt.Errorf("%s: %w: it is of the cluster with system identifier %d", key, ErrDamaged, c.SystemID)
	}
	return nil
}
