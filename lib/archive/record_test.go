package archive

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/store"
)

// The oldest record comes first; what is damaged, of another kind or no record
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
	all, err := r.Records(t.Context(), KindDrill)
	if err != nil {
		t.Fatal(err)
	}
	oldest := order(all...)
	if oldest != "a b c" || !all[2].Began.Equal(day.AddDate(0, 0, 2)) {
		t.Errorf("%s; %v", oldest, all)
	}
}

// A record that is removed while they are read is none.
func TestRecordIsRemovedMeanwhile(t *testing.T) {
	r := repository(t)
	began := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for hours := range 2 {
		if err := r.PutRecord(t.Context(), KindVerify, began.Add(time.Duration(hours)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	r.Store = forgetful{r.Store, recordKey(KindVerify, began)}
	if all, err := r.Records(t.Context(), KindVerify); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// A forgetful store loses an object between listing and reading it.
type forgetful struct {
	store.Store
	key string
}

func (f forgetful) Get(ctx context.Context, key string, from, n int64) (io.ReadCloser, error) {
	if key == f.key {
		return nil, store.ErrNotExist
	}
	return f.Store.Get(ctx, key, from, n)
}

func order(records ...Record) string {
	var names []string
	for _, r := range records {
		names = append(names, r.Values["n"])
	}
	return strings.Join(names, " ")
}
