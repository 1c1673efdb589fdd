package pgdata

import (
	"path"
	"slices"
	"strconv"
	"testing"
)

func TestParseRelation(t *testing.T) {
	for in, want := range map[string]Relation{
		"1":               {1, "", 0},
		"16384":           {16384, "", 0},
		"16384.1":         {16384, "", 1},
		"16384.131":       {16384, "", 131},
		"16384_fsm":       {16384, "fsm", 0},
		"16384_fsm.2":     {16384, "fsm", 2},
		"16384_vm":        {16384, "vm", 0},
		"16384_init":      {16384, "init", 0},
		"4294967295.4000": {4294967295, "", 4000},
	} {
		if got, ok := ParseRelation(in); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "0", "016384", "4294967296", "16384.", "16384.0", "16384.01", "16384.x", "16384.1.2", "16384.4294967296",
		"16384_", "16384_main", "16384_FSM", "16384_fsm_vm", "16384_fsm.", "16384.1_fsm", "_fsm", ".1", "-1", "+1", "1 ",
		"t3_16384", "PG_VERSION", "pg_filenode.map", "pg_internal.init", "pg_control", "16384_vm~", "１",
	} {
		if got, ok := ParseRelation(in); ok {
			t.Errorf("%q is taken for a relation: %+v", in, got)
		}
	}
}

func TestIsTemporaryRelation(t *testing.T) {
	for _, name := range []string{"t3_16384", "t3_16384.1", "t123_16384_fsm", "t0_1_vm.2", "t3_16384_init"} {
		if !IsTemporaryRelation(name) {
			t.Errorf("%s is not taken for temporary", name)
		}
	}
	for _, name := range []string{
		"", "t", "t_", "t3", "t3_", "t_16384", "3_16384", "t3_16384_", "t3_16384_x", "t3_16384.", "t3_16384.x",
		"t3_16384_fsm_vm", "T3_16384", "t3_16384.1_fsm", "tx_1", "t1_x", "tt1_2", "t3_16384.bak", "16384",
	} {
		if IsTemporaryRelation(name) {
			t.Errorf("%q is taken for temporary", name)
		}
	}
}

func TestUnlogged(t *testing.T) {
	names := []string{
		"100", "100.1", "100_fsm", "100_vm", // an ordinary table
		"200", "200.1", "200_fsm", "200_fsm.1", "200_vm", "200_init", "200_init.1", // an unlogged one
		"300_init",                                              // only the init fork
		"2000", "20", "PG_VERSION", "pg_filenode.map", "t3_200", // others
	}
	u := FindUnlogged(names)
	var dropped []string
	for _, name := range names {
		if u.Drops(name) {
			dropped = append(dropped, name)
		}
	}
	want := []string{"200", "200.1", "200_fsm", "200_fsm.1", "200_vm"}
	if !slices.Equal(dropped, want) {
		t.Errorf("dropped %q, want %q", dropped, want)
	}
	if (Unlogged)(nil).Drops("200") {
		t.Error("the empty set drops something")
	}
}

func TestParseRelationPath(t *testing.T) {
	for in, want := range map[string]struct {
		database uint32
		relation Relation
	}{
		"global/1260":    {0, Relation{1260, "", 0}},
		"global/1260_vm": {0, Relation{1260, "vm", 0}},
		"base/5/16384.1": {5, Relation{16384, "", 1}},
		"pg_tblspc/16385/PG_15_202209061/5/16386_fsm": {5, Relation{16386, "fsm", 0}},
	} {
		database, r, ok := ParseRelationPath(in)
		if !ok || database != want.database || r != want.relation {
			t.Errorf("%s: %d, %+v, %v; want %+v", in, database, r, ok, want)
		}
	}
	for _, in := range []string{
		"", "16384", "base/16384", "base/5/pg_filenode.map", "base/05/16384", "base/x/16384", "base/5/16384/1",
		"/base/5/16384", "pg_tblspc/16385/16386", "pg_xact/0000", "base/4294967296/1", "pg_wal/1",
	} {
		if _, r, ok := ParseRelationPath(in); ok {
			t.Errorf("%q is taken for a relation: %+v", in, r)
		}
	}
}

// What a path says of a relation is all that its name holds: it can be written
// again.
func FuzzParseRelationPath(f *testing.F) {
	for _, s := range []string{"global/1260_vm", "base/5/16384.1", "pg_tblspc/16385/PG_15_202209061/5/16386_fsm.2", "base/05/1", "base/5/1_main"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		database, r, ok := ParseRelationPath(name)
		if !ok {
			return
		}
		file := strconv.FormatUint(uint64(r.Number), 10)
		if r.Fork != "" {
			file += "_" + r.Fork
		}
		if r.Segment > 0 {
			file += "." + strconv.FormatUint(uint64(r.Segment), 10)
		}
		dir, base := path.Split(name)
		if base != file || dir != "global/" && path.Base(dir) != strconv.FormatUint(uint64(database), 10) {
			t.Errorf("%q: database %d, %+v", name, database, r)
		}
	})
}
