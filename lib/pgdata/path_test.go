package pgdata

import "testing"

func TestSplitTablespace(t *testing.T) {
	tests := []struct {
		name, inner string
		oid         uint32
		ok          bool
	}{
		{"pg_tblspc/16393", ".", 16393, true},
		{"pg_tblspc/16393/PG_15_202209061/5/1", "PG_15_202209061/5/1", 16393, true},
		{"pg_tblspc", "", 0, false},
		{"pg_tblspc/0", "", 0, false},
		{"pg_tblspc/016393/x", "", 0, false},
		{"pg_tblspc/4294967296", "", 0, false},
		{"pg_tblspc/note", "", 0, false},
		{"base/16393", "", 0, false},
	}
	for _, test := range tests {
		oid, inner, ok := SplitTablespace(test.name)
		if ok != test.ok || ok && (oid != test.oid || inner != test.inner) {
			t.Errorf("%s: %d, %q, %t", test.name, oid, inner, ok)
		}
	}
}

func TestUnlisted(t *testing.T) {
	for name, want := range map[string]bool{
		"pg_wal/000000010000000000000001": true, "backup_manifest": true, "standby.signal": true, "postgresql.auto.conf": true,
		"pg_wal": false, "pg_wal.note": false, "postgresql.conf": false, "backup_label": false, "base/standby.signal": false,
	} {
		if got := Unlisted(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestFirstBlock(t *testing.T) {
	c := Control{Checksums: true, RelationSegmentBlocks: 131072}
	for name, want := range map[string]uint32{"base/5/16384": 0, "base/5/16384.2": 262144, "global/1260_fsm.1": 131072} {
		if got, checked := c.FirstBlock(name); got != want || !checked {
			t.Errorf("%s: %d, %t", name, got, checked)
		}
	}
	for _, name := range []string{"base/5/PG_VERSION", "PG_VERSION", "base/16384", "base/5/16384.32768"} {
		if got, checked := c.FirstBlock(name); checked {
			t.Errorf("%s: %d", name, got)
		}
	}
	c.Checksums = false
	if _, checked := c.FirstBlock("base/5/16384"); checked {
		t.Error("without checksums")
	}
}
