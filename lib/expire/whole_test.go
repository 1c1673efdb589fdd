package expire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/test/fixture"
	"pgpipes/test/repository"
)

// family is a repository of three backups: alone, full, and child, which uses the
// part of full.
func family(t *testing.T) *archive.Repo {
	t.Helper()
	r := repository.New(t)
	fixture.Mark(t, r.Location, mib.Name(1, 1), mib.Name(1, 2), mib.Name(1, 3))
	placeBackup(t, r, "alone", 1, 1, time.Now().Add(-48*time.Hour))
	placeBackup(t, r, "full", 1, 2, time.Now().Add(-24*time.Hour))
	increment(t, r, "child", "full", 3)
	return r
}

// damageTail damages a manifest where a header does not tell.
func damageTail(t *testing.T, r *archive.Repo, label string, damage func([]byte) []byte) {
	t.Helper()
	key := layout.BaseKey(label, layout.Manifest)
	text, err := os.ReadFile(filepath.Join(r.Location, key))
	if err != nil {
		t.Fatal(err)
	}
	fixture.Place(t, r.Location, key, damage(text))
	if _, err := r.Header(t.Context(), label); err != nil {
		t.Fatalf("its header tells: %v", err)
	}
}

func cutOff(text []byte) []byte { return text[:len(text)-20] }

func flipped(text []byte) []byte {
	return bytes.Replace(text, []byte("\t0600\t"), []byte("\t0640\t"), 1)
}

// Nothing goes for the sake of a backup that is kept and whose manifest is damaged
// behind its header, or of one whose parent's is.
func TestDamagedManifestOfOneThatStays(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{"cut": cutOff, "flipped": flipped} {
		for _, label := range []string{"child", "full"} {
			t.Run(name+" "+label, func(t *testing.T) {
				r := family(t)
				damageTail(t, r, label, damage)
				_, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1}, time.Now())
				var broken *NotWhole
				if !errors.As(err, &broken) || broken.Label != label || !broken.Complete || !errors.Is(err, archive.ErrDamaged) {
					t.Fatalf("error %v", err)
				}
				if label == "full" && !slices.Equal(broken.NeededBy, []string{"child"}) {
					t.Errorf("needed by %v", broken.NeededBy)
				}
			})
		}
	}
}

// WAL alone goes no more than a backup does.
func TestDamagedManifestKeepsWAL(t *testing.T) {
	r := family(t)
	fixture.Mark(t, r.Location, mib.Name(1, 4), mib.Name(1, 5))
	placeBackup(t, r, "newest", 1, 5, time.Now())
	damageTail(t, r, "newest", cutOff)
	policy := retain.Policy{KeepLast: 9, WAL: retain.WALPolicy{Limited: true}}
	var broken *NotWhole
	if _, err := Decide(t.Context(), r, policy, time.Now()); !errors.As(err, &broken) || broken.Label != "newest" {
		t.Errorf("error %v", err)
	}
}

// One that goes itself may be damaged.
func TestDamagedManifestGoes(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{"cut": cutOff, "flipped": flipped} {
		t.Run(name, func(t *testing.T) {
			r := family(t)
			damageTail(t, r, "alone", damage)
			expire(t, r, retain.Policy{KeepLast: 1}, time.Now())
			same(t, "backups", labels(t, r), []string{"child", "full"})
		})
	}
}

// counting is a store that counts how often an object is read, and of which one
// breaks where its last line would come.
type counting struct {
	store.Store
	reads  map[string]int
	broken string
}

var errBroken = errors.New("input/output error")

func (c *counting) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	c.reads[key]++
	body, err := c.Store.Get(ctx, key, offset, length)
	if err != nil || key != c.broken {
		return body, err
	}
	text, err := io.ReadAll(body)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(cutOff(text)), failing{}), body}, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// A manifest is read to its end once, and only if it is of one that stays and
// something else goes.
func TestManifestsAreReadWhenSomethingGoes(t *testing.T) {
	tests := map[string]struct {
		policy             retain.Policy
		alone, full, child int
	}{
		"nothing goes":   {retain.Policy{KeepLast: 3}, 1, 1, 1},
		"no rule":        {retain.Policy{}, 1, 1, 1},
		"something goes": {retain.Policy{KeepLast: 1}, 1, 2, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := family(t)
			c := &counting{Store: r.Store, reads: map[string]int{}}
			r.Store = c
			if _, err := Decide(t.Context(), r, test.policy, time.Now()); err != nil {
				t.Fatal(err)
			}
			for label, want := range map[string]int{"alone": test.alone, "full": test.full, "child": test.child} {
				if got := c.reads[layout.BaseKey(label, layout.Manifest)]; got != want {
					t.Errorf("the manifest of %s was opened %d times, want %d", label, got, want)
				}
			}
		})
	}
}

// What was abandoned goes whatever the rest of a manifest says: of the others
// nothing is counted on but what they name.
func TestAbandonBesideDamage(t *testing.T) {
	r := family(t)
	left(t, r, "dead", "", time.Now())
	damageTail(t, r, "child", flipped)
	expire(t, r, retain.Policy{Abandon: []string{"dead"}}, time.Now())
	same(t, "backups", labels(t, r), []string{"alone", "child", "full"})
}

// A manifest that cannot be read to its end is not said to be damaged, and counts
// for nothing either.
func TestManifestThatCannotBeRead(t *testing.T) {
	r := family(t)
	r.Store = &counting{r.Store, map[string]int{}, layout.BaseKey("full", layout.Manifest)}
	_, err := Decide(t.Context(), r, retain.Policy{KeepLast: 1}, time.Now())
	var broken *NotWhole
	if !errors.As(err, &broken) || broken.Label != "full" || !errors.Is(err, errBroken) || errors.Is(err, archive.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	if err != nil && !strings.HasPrefix(err.Error(), "nothing is removed while a backup is not whole: full: base/full/manifest: ") {
		t.Errorf("error %v", err)
	}
}

// unreachable is a store that answers nothing about an object.
type unreachable struct{ store.Store }

func (unreachable) Stat(context.Context, string) (store.Info, error) { return store.Info{}, errBroken }

// Parts that others have put elsewhere are missing if the store says so, and only
// then is the backup one to be given up.
func TestPartsThatCannotBeLookedAt(t *testing.T) {
	r := repository.New(t)
	away := &archive.Repo{Store: unreachable{r.Store}, Location: r.Location, Identity: r.Identity}
	elsewhere := []manifest.Part{{Name: "000", Size: 1, Key: "tapes/000.tar"}}
	for name, test := range map[string]struct {
		repo    *archive.Repo
		parts   []manifest.Part
		damaged bool
	}{
		"missing": {r, elsewhere, true}, "away": {away, elsewhere, false}, "none named": {r, nil, true},
	} {
		b := archive.Backup{Label: "b", Complete: true, Header: manifest.Header{Label: "b", Parts: test.parts}}
		err := checkWhole(t.Context(), test.repo, b, archive.Coverage{}, nil)
		if err == nil || errors.Is(err, archive.ErrDamaged) != test.damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}
