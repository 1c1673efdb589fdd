package manifest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Lines come in the order of their eighth column, whether they have been in
// memory or not.
func TestLines(t *testing.T) {
	for _, limit := range []int{runSize, 100} {
		l := NewLines(t.TempDir())
		l.sorter.limit = limit
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("%d\t-\t-\t-\t-\t-\t-\tbase/%03d\tmore\n", 1000-i, i))
		}
		given := slices.Clone(want)
		r := rand.New(rand.NewPCG(1, 1))
		r.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })
		for _, line := range given {
			if err := l.Add([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for line, err := range l.All() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLinesRefuse(t *testing.T) {
	l := NewLines("")
	eight := strings.Repeat("x\t", 7) + "x"
	for _, line := range []string{"", "\n", "x\n", eight, eight + "\n\n", strings.Repeat("x\t", 6) + "x\n"} {
		if l.Add([]byte(line)) == nil {
			t.Errorf("%q: not refused", line)
		}
	}
}
