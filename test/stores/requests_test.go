package stores

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/test/s3"
)

// One request stores a segment, and one fetches it. Besides, the identity is read
// before and after: that what was stored is in the right place, now. And the forms
// of the name are listed: before, as nothing is stored beside another form; after,
// as somebody may have stored one meanwhile. What is fetched ahead is looked for
// in the form of the one before.
func TestRequests(t *testing.T) {
	server := s3.Start(t, "bucket")
	p := server.Before(t, nil)
	h := newHost(t)
	repo := p.Location("bucket/pg")
	h.must("repo", "init", "-r", repo, "-D", h.data)
	h.write(1, 6)
	cached := filepath.Join("pg_wal", "RECOVERYXLOG")
	for _, test := range []struct {
		name, want string
		command    []string
	}{
		{"push", "identity, list 1, PUT 1, list 1, identity", []string{"wal-push", "--ahead", "0", h.wal(1)}},
		{"the same again", "identity, list 1, GET 1, identity", []string{"wal-push", "--ahead", "0", h.wal(1)}},
		{"push with two ahead", "identity, list 2, PUT 2, list 2, list 3, PUT 3, list 3, list 4, PUT 4, list 4, identity",
			[]string{"wal-push", "--ahead", "2", "-j", "1", h.wal(2)}},
		{"one that was stored ahead", "identity, HEAD 3", []string{"wal-push", "--ahead", "2", "-j", "1", h.wal(3)}},
		{"get", "identity, list 1, GET 1", []string{"wal-get", "--ahead", "0", segment(1), filepath.Join(h.dir, "got")}},
		{"get of what is absent", "identity, list 9, list pg/hole/00000001, list pg/wal/history/, list pg/gap/00000001, list pg/wal/00000001, list pg/base/, identity",
			[]string{"wal-get", "--ahead", "0", "--retry", "0s", segment(9), filepath.Join(h.dir, "got")}},
		{"fetch ahead", "identity, GET 2, GET 3", []string{"wal-get", "--prefetch", "--ahead", "2", "-j", "1", segment(1)}},
		{"get of what was fetched ahead", "", []string{"wal-get", "--ahead", "1", segment(2), cached}},
	} {
		p.Asked()
		r := h.run(test.command[0], append([]string{"-r", repo}, test.command[1:]...)...)
		absent := strings.Contains(test.name, "absent")
		if r.status != 0 && !absent || r.status != 1 && absent {
			t.Errorf("%s: %+v", test.name, r)
		}
		asked, want := short(p.Asked()), strings.FieldsFunc(test.want, func(r rune) bool { return r == ',' })
		for i := range want {
			want[i] = strings.TrimSpace(want[i])
		}
		if absent || strings.Contains(test.name, "ahead") { // at once
			slices.Sort(asked)
			slices.Sort(want)
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s asks for\n%q, want\n%q", test.name, asked, want)
		}
	}
}

// short names segments by their number.
func short(asked []string) (all []string) {
	for _, one := range asked {
		one = strings.TrimSuffix(strings.Replace(one, "pg/wal/0000000100000000/00000001000000000000000", "", 1), ".zst")
		switch {
		case one == "GET pg/pgpipes":
			one = "identity"
		case strings.HasPrefix(one, "LIST "):
			one = "list " + one[5:]
		}
		all = append(all, one)
	}
	return all
}
