package pgdata

import "testing"

func TestClassify(t *testing.T) {
	const space = "pg_tblspc/16393/PG_15_202209061"
	for _, test := range []struct {
		path  string
		isDir bool
		want  Action
	}{
		{".", true, Copy},
		{"PG_VERSION", false, Copy},
		{"base", true, Copy},
		{"base/5", true, Copy},
		{"base/5/16384", false, Copy},
		{"base/5/16384_init", false, Copy},
		{"base/5/PG_VERSION", false, Copy},
		{"global/pg_control", false, Copy},
		{"global/pg_filenode.map", false, Copy},
		{"postgresql.auto.conf", false, Copy},
		{"standby.signal", false, Copy},
		{"current_logfiles", false, Copy},
		{"core", false, Copy},
		{"core.123", false, Copy},
		{"log", true, Copy},
		{"log/postgresql-Sun.log", false, Copy},
		{"my file", false, Copy},

		// Kept empty, and only at the top.
		{"pg_dynshmem", true, EmptyDir},
		{"pg_notify", true, EmptyDir},
		{"pg_replslot", true, EmptyDir},
		{"pg_serial", true, EmptyDir},
		{"pg_snapshots", true, EmptyDir},
		{"pg_stat_tmp", true, EmptyDir},
		{"pg_subtrans", true, EmptyDir},
		{"pg_notify/0000", false, Skip},
		{"pg_replslot/slot", true, Skip},
		{"pg_replslot/slot/state", false, Skip},
		{"pg_stat", true, Copy},
		{"pg_stat/pgstat.stat", false, Copy},
		{"pg_notifyx", true, Copy},
		{"log/pg_notify", true, Copy},
		{"log/pg_notify/0000", false, Copy},
		{"pg_notify", false, Copy},
		{space + "/pg_replslot", true, Copy},

		// pg_wal.
		{"pg_wal", true, Copy},
		{"pg_wal/archive_status", true, EmptyDir},
		{"pg_wal/archive_status/000000010000000000000001.ready", false, Skip},
		{"pg_wal/summaries", true, EmptyDir},
		{"pg_wal/summaries/x.summary", false, Skip},
		{"pg_wal/000000010000000000000001", false, Skip},
		{"pg_wal/00000002.history", false, Skip},
		{"pg_wal/xlogtemp.12", false, Skip},
		{"pg_wal/lost+found", true, Skip},
		{"pg_wal/archive_status", false, Skip},
		{"log/pg_wal", true, Copy},
		{"log/pg_wal/000000010000000000000001", false, Copy},
		{space + "/pg_wal", true, Copy},
		{space + "/log/x", false, Copy},

		// Of the running server or of another backup, and only at the top.
		{"postmaster.pid", false, Skip},
		{"postmaster.opts", false, Skip},
		{"postgresql.auto.conf.tmp", false, Skip},
		{"current_logfiles.tmp", false, Skip},
		{"backup_label", false, Skip},
		{"backup_label.old", false, Skip},
		{"tablespace_map", false, Skip},
		{"tablespace_map.old", false, Skip},
		{"backup_manifest", false, Skip},
		{"log/postmaster.pid", false, Copy},
		{"log/backup_label", false, Copy},
		{"backup_label.mine", false, Copy},
		{"extra.conf.tmp", false, Copy},
		{".DS_Store", false, Skip},
		{"base/5/.DS_Store", false, Skip},

		// Temporary files.
		{"base/pgsql_tmp", true, Skip},
		{"base/pgsql_tmp/pgsql_tmp123.0", false, Skip},
		{"base/pgsql_tmp/pgsql_tmp123.0.sharedfileset/0.0", false, Skip},
		{"base/5/pgsql_tmp123.0", false, Skip},
		{"global/pgsql_tmp", true, Skip},
		{space + "/pgsql_tmp", true, Skip},
		{space + "/pgsql_tmp/pgsql_tmp123.0", false, Skip},
		{space + "/5/pgsql_tmp9", false, Skip},
		{space + "/5/sub/pgsql_tmp9", false, Skip},
		{"pgsql_tmp", true, Copy},
		{"log/pgsql_tmp", true, Copy},
		{"pg_xact/pgsql_tmp", true, Copy},

		// Relation caches and temporary tables.
		{"global/pg_internal.init", false, Skip},
		{"global/pg_internal.init.123", false, Skip},
		{"base/5/pg_internal.init", false, Skip},
		{"base/5/pg_internal.init.123", false, Skip},
		{space + "/5/pg_internal.init", false, Skip},
		{"pg_internal.init", false, Copy},
		{"log/pg_internal.init", false, Copy},
		{"base/5/t3_16384", false, Skip},
		{"base/5/t3_16384_fsm.1", false, Skip},
		{space + "/5/t3_16384", false, Skip},
		{"global/t3_16384", false, Copy},
		{"base/t3_16384", false, Copy},
		{"t3_16384", false, Copy},

		// Tablespaces.
		{"pg_tblspc", true, Copy},
		{"pg_tblspc/16393", true, Copy},
		{space, true, Copy},
		{space + "/5/16384", false, Copy},
		{"pg_tblspc/16393/PG_14_202107181", true, Copy},
		{"pg_tblspc/16393/lost+found", true, Skip},
		{"pg_tblspc/16393/other/file", false, Skip},
		{"pg_tblspc/note", false, Copy},
	} {
		if got := Classify(test.path, test.isDir); got != test.want {
			t.Errorf("%s (directory: %v): action %d, want %d", test.path, test.isDir, got, test.want)
		}
	}
}

func TestRelationDir(t *testing.T) {
	for _, dir := range []string{"global", "base/5", "base/16385", "pg_tblspc/16393/PG_15_202209061/5"} {
		if !RelationDir(dir) {
			t.Errorf("%s holds no relations", dir)
		}
	}
	for _, dir := range []string{
		"", ".", "base", "base/", "base/pgsql_tmp", "base/5/6", "global/5", "5", "pg_xact", "pg_multixact/members",
		"pg_tblspc", "pg_tblspc/16393", "pg_tblspc/16393/5", "pg_tblspc/16393/PG_15_202209061",
		"pg_tblspc/16393/PG_15_202209061/pgsql_tmp", "pg_tblspc/x/PG_15_202209061/5", "x/base/5", "/global",
		"x/pg_tblspc/16393/PG_15_202209061/5",
	} {
		if RelationDir(dir) {
			t.Errorf("%q holds relations", dir)
		}
	}
}

func TestEssential(t *testing.T) {
	for path, want := range map[string]bool{
		"base/5":                              true,
		"base/5/16384":                        true,
		"global/1262":                         true,
		"pg_xact/0000":                        true,
		"pg_multixact/members":                true,
		"pg_multixact/members/0000":           true,
		"pg_tblspc/16393/PG_15_202209061":     true,
		"pg_tblspc/16393/PG_15_202209061/5":   true,
		"pg_tblspc/16393/PG_15_202209061/5/7": true,
		"pg_tblspc/16393":                     false,
		"pg_tblspc/backup":                    false,
		"pg_hba.conf":                         false,
		"pg_xact":                             false,
		"base":                                false,
		"pg_log/current":                      false,
		"conf.d/base/5":                       false,
	} {
		if got := Essential(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
