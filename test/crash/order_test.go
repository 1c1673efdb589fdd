package crash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Bytes are synced before they get their name, names after they were made, and
// directories before what is in them.
func TestOrderOfSyncs(t *testing.T) {
	for name, s := range scenarios {
		if !s.writes {
			continue
		}
		for system, without := range variants {
			t.Run(name+"/"+system, func(t *testing.T) {
				t.Parallel()
				r := s.set(t, without)
				defer os.RemoveAll(r.dir)
				dir, err := filepath.EvalSymlinks(r.dir)
				if err != nil {
					t.Fatal(err)
				}
				r.dir = dir
				log, err := r.log("-e", "trace=write,fsync,fdatasync,mkdirat,linkat,rename,renameat,renameat2")
				if err != nil {
					t.Fatal(err)
				}
				for final := range s.final {
					if _, before := s.prepare[final]; !before {
						checkName(t, log, filepath.Join(r.dir, final))
					}
				}
				checkDirectories(t, log, r.dir)
			})
		}
	}
}

// find returns the first successful call from i on that has all the texts, or -1.
func find(log []call, i int, names string, texts ...string) int {
next:
	for ; i < len(log); i++ {
		if !strings.Contains(" "+names+" ", " "+log[i].name+" ") || !strings.HasSuffix(log[i].text, "= 0") {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(log[i].text, text) {
				continue next
			}
		}
		return i
	}
	return -1
}

// checkName looks at how a file got its name.
func checkName(t *testing.T, log []call, path string) {
	t.Helper()
	named := find(log, 0, "linkat rename renameat renameat2", `"`+path+`"`)
	if named < 0 {
		t.Errorf("%s never got its name", path)
		return
	}
	dir := filepath.Dir(path)
	synced, wrote := -1, -1
	for i, c := range log[:named] {
		inside := strings.Contains(c.text, "<"+dir+"/#") || strings.Contains(c.text, "<"+dir+"/.pgpipes-")
		switch {
		case inside && c.name == "write":
			wrote = i
		case inside && (c.name == "fsync" || c.name == "fdatasync") && strings.HasSuffix(c.text, "= 0"):
			synced = i
		}
	}
	if wrote < 0 || synced < wrote {
		t.Errorf("%s got its name before its bytes were synced (write %d, sync %d, name %d)", path, wrote, synced, named)
	}
	if find(log, named, "fsync", "<"+dir+">") < 0 {
		t.Errorf("%s: its directory was not synced afterwards", path)
	}
}

// checkDirectories looks at how directories were made: their parents must have
// been synced before anything in them got its name.
func checkDirectories(t *testing.T, log []call, root string) {
	t.Helper()
	made := 0
	for i, c := range log {
		if c.name != "mkdirat" || !strings.HasSuffix(c.text, "= 0") {
			continue
		}
		made++
		path := strings.Split(c.text, `"`)[1]
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		synced := find(log, i, "fsync", "<"+filepath.Dir(path)+">")
		used := find(log, i, "linkat rename renameat renameat2", `"`+path+"/")
		if synced < 0 || used >= 0 && used < synced {
			t.Errorf("%s: its parent was not synced before its use", path)
		}
	}
	if made == 0 {
		t.Error("no directory was made")
	}
}
