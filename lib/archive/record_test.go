package archive

import (
	"strings"
	"testing"
	"time"
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

func order(records ...Record) string {
	var names []string
	for _, r := range records {
		names = append(names, r.Values["n"])
	}
	return strings.Join(names, " ")
}
