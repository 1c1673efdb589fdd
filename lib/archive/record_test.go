package archive

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/store"
)

// The newest record comes first; what is damaged, of another kind or no record
// does not come.
func TestRecords(t *testing.T) {
	r := repository(t)
	day := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, n := range []int{0, 2, 1} {
		if err := r.PutRecord(t.Context(), KindDrill, day.AddDate(0, 0, n), "result", "ok", "n", string(rune('a'+n))); err != nil {
			t.Fatal(err)
		}
	}
	r.place(t, "drill/20261125T100000Z", []byte("pgpipes-record\t1\nkind\tdrill\nresult"))
	r.place(t, "drill/20261126T100000Z", []byte("pgpipes-record\t1\nkind\tverify\n"))
	r.place(t, "drill/notes", []byte("of the operator"))
	all := taken(t, r, 9)
	if order(all...) != "c b a" || !all[0].Began.Equal(day.AddDate(0, 0, 2)) {
		t.Errorf("%s; %v", order(all...), all)
	}

	// Two of one second are both there.
	if err := r.PutRecord(t.Context(), KindDrill, day, "result", "failed", "n", "d"); err != nil {
		t.Fatal(err)
	}
	if got := order(taken(t, r, 9)...); got != "c b d a" {
		t.Error(got)
	}

	// Only those are read that are asked for, and one that has just been removed is
	// passed over.
	counted := &opened{Store: r.Store, gone: "drill/20261122T100000Z"}
	r.Store = counted
	if got := order(taken(t, r, 1)...); got != "b" || counted.count != 4 {
		t.Errorf("%s, having read %d", got, counted.count)
	}
}

// taken are so many of the newest drills.
func taken(t *testing.T, r *Repo, most int) (all []Record) {
	t.Helper()
	for record, err := range r.Records(t.Context(), KindDrill) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, record); len(all) == most {
			break
		}
	}
	return all
}

// opened counts the objects that are opened, of which one is not there any more.
type opened struct {
	store.Store
	count int
	gone  string
}

func (o *opened) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o.count++
	if key == o.gone {
		return nil, store.ErrNotExist
	}
	return o.Store.Get(ctx, key, offset, length)
}

func order(records ...Record) string {
	var names []string
	for _, r := range records {
		names = append(names, r.Values["n"])
	}
	return strings.Join(names, " ")
}
