// Package archive is what a repository means: which cluster it belongs to, when
// a file may be stored or delivered, and what is missing. Where things are in it
// is in lib/layout.
//
// # Guarantees
//
// A repository holds the WAL of one cluster. What is stored or delivered has
// been checked against its name and that cluster. A file is called absent only
// when the repository was there, was the right one, and nothing in it proves
// that the file must have existed.
package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

var (
	// ErrNoRepository says that there is no identity at a location: never
	// made, or not mounted.
	ErrNoRepository = errors.New("no repository here")
	// ErrForeign says that something belongs to another cluster.
	ErrForeign = errors.New("belongs to another cluster")
	// ErrFormat says that a repository was made by a newer program.
	ErrFormat = errors.New("unknown repository format")
	// ErrDamaged says that something in the repository is not as it was stored.
	ErrDamaged = errors.New("damaged in the repository")
	// ErrOccupied says that a repository cannot be made where something is.
	ErrOccupied = errors.New("nor can one be made")
	// ErrHole says that a file is missing which must have existed.
	ErrHole = errors.New("hole in the archive")
)

const (
	identityTitle = "pgpipes-repository"
	format        = 1
)

// IdentityLimit is how many bytes the identity, or a note, may be long.
const IdentityLimit = 4096

// Cluster is what a repository is bound to.
type Cluster struct {
	SystemID    uint64
	Major       int
	SegmentSize wal.SegmentSize
}

// String names the three for messages.
func (c Cluster) String() string {
	return fmt.Sprintf("system identifier %d, PostgreSQL %d, segments of %d bytes", c.SystemID, c.Major, c.SegmentSize)
}

// Identity is the contents of the object pgpipes: lines of a key, a tab and a
// value.
type Identity struct {
	ID string // random, names the repository itself
	Cluster
}

// Repo is an opened repository.
type Repo struct {
	store.Store
	Location string
	Identity
}

// Open opens the repository at a location. The error wraps ErrNoRepository if
// there is none.
func Open(ctx context.Context, location string) (*Repo, error) {
	return open(location, func(s store.Store) (Identity, error) { return readIdentity(ctx, s) })
}

// OpenFor opens the repository for a cluster, and makes it when there is none.
func OpenFor(ctx context.Context, location string, c Cluster) (*Repo, error) {
	r, err := open(location, func(s store.Store) (Identity, error) {
		identity, err := readIdentity(ctx, s)
		if errors.Is(err, ErrNoRepository) {
			if err := create(ctx, s, c); err != nil {
				return Identity{}, err
			}
			identity, err = readIdentity(ctx, s)
		}
		return identity, err
	})
	if err != nil {
		return nil, err
	}
	if err := r.Accepts(c); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open opens the store at a location, and closes it unless identify succeeds.
func open(location string, identify func(store.Store) (Identity, error)) (*Repo, error) {
	s, err := store.Open(location)
	if err != nil {
		return nil, err
	}
	r := &Repo{Store: s, Location: location}
	if r.Identity, err = identify(s); err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	return r, nil
}

// Close ends the connection with the repository, if there is one.
func (r *Repo) Close() error {
	if c, able := r.Store.(io.Closer); able {
		return c.Close()
	}
	return nil
}

// Accepts is an error wrapping ErrForeign unless the repository belongs to c.
func (r *Repo) Accepts(c Cluster) error {
	if c != r.Cluster {
		return fmt.Errorf("%s: it %w: %s, not %s", r.Location, ErrForeign, r.Cluster, c)
	}
	return nil
}

// create binds an empty place to a cluster. Several may try at once; one
// succeeds, and the others find its identity. A server that overwrites what is there
// is refused.
func create(ctx context.Context, s store.Store, c Cluster) error {
	if err := refuseOccupied(ctx, s); err != nil {
		if _, ierr := readIdentity(ctx, s); ierr == nil {
			return nil // somebody else has made it meanwhile
		}
		return err
	}
	if p, able := s.(interface {
		Probe(ctx context.Context) error
	}); able {
		if err := p.Probe(ctx); err != nil {
			return err
		}
	}
	id := Identity{rand.Text(), c}
	_, err := s.Put(ctx, layout.Identity, func(w io.Writer) error {
		_, err := io.WriteString(w, id.String())
		return err
	})
	if errors.Is(err, store.ErrDiffers) {
		return nil
	}
	return err
}

// refuseOccupied keeps a repository out of places that hold something else: a
// data directory above all, whose files must be the server's alone.
func refuseOccupied(ctx context.Context, s store.Store) error {
	if d, isDir := s.(interface{ Root() string }); isDir {
		for at := d.Root(); at != filepath.Dir(at); at = filepath.Dir(at) {
			if _, err := os.Stat(filepath.Join(at, "global/pg_control")); err == nil {
				return fmt.Errorf("%w: %w: %s is a data directory", ErrNoRepository, ErrOccupied, at)
			}
		}
	}
	if m, able := s.(interface {
		Made(ctx context.Context) (bool, error)
	}); able {
		if made, err := m.Made(ctx); err != nil || !made {
			return err
		}
	}
	for info, err := range s.List(ctx, "", "") {
		if err != nil {
			return err
		}
		if info.Key != layout.Identity && !strings.HasPrefix(info.Key, "lock/") {
			return fmt.Errorf("%w: %w: it is not empty (%s)", ErrNoRepository, ErrOccupied, info.Key)
		}
	}
	return nil
}

// String is the text of the identity.
func (i Identity) String() string {
	return fmt.Sprintf("%s\t%d\nid\t%s\nsystem-identifier\t%d\npostgresql\t%d\nwal-segment-size\t%d\n",
		identityTitle, format, i.ID, i.SystemID, i.Major, i.SegmentSize)
}

func readIdentity(ctx context.Context, s store.Store) (Identity, error) {
	body, err := s.Get(ctx, layout.Identity, 0, IdentityLimit)
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrNoPlace) {
		return Identity{}, fmt.Errorf("%w (no file %s)", ErrNoRepository, layout.Identity)
	}
	if err != nil {
		return Identity{}, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return Identity{}, err
	}
	return ParseIdentity(text)
}

// ParseIdentity is the inverse of String. What cannot be read is ErrDamaged, or
// ErrFormat if a newer program made it.
func ParseIdentity(text []byte) (Identity, error) {
	damaged := fmt.Errorf("%s: %w", layout.Identity, ErrDamaged)
	value := map[string]string{}
	for line := range bytes.Lines(text) {
		key, v, found := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), "\t")
		if _, twice := value[key]; !found || twice || line[len(line)-1] != '\n' {
			return Identity{}, damaged
		}
		value[key] = v
	}
	if v := value[identityTitle]; v != strconv.Itoa(format) {
		if v == "" {
			return Identity{}, damaged
		}
		return Identity{}, fmt.Errorf("%w %s: this program knows format %d", ErrFormat, v, format)
	}
	system, err1 := strconv.ParseUint(value["system-identifier"], 10, 64)
	major, err2 := strconv.Atoi(value["postgresql"])
	size, err3 := strconv.ParseInt(value["wal-segment-size"], 10, 64)
	id := Identity{value["id"], Cluster{system, major, wal.SegmentSize(size)}}
	if err := errors.Join(err1, err2, err3); err != nil || id.ID == "" || !id.SegmentSize.Valid() {
		return Identity{}, damaged
	}
	return id, nil
}
