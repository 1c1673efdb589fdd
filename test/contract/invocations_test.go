package contract

// An invocation is what a program can do in a directory where there is a
// repository r with a few objects, the backup b in it, and a segment in s.
type invocation struct {
	output string   // writes to stdout; --help if there is nothing better
	early  string   // its status when the reader leaves early and nobody ignores SIGPIPE; "" if it writes too little
	blocks []string // wait for standard input; NEW is a directory that is not there
}

var invocations = map[string]invocation{
	"compress": {
		output: "compress -c none -j 1", early: "141",
		blocks: []string{"compress", "compress -c gzip", "compress -c xz", "compress -c lz4", "compress -c none", "compress -d", "compress -d -c none"},
	},
	"repo": {
		output: "repo get -r r large", early: "141",
		blocks: []string{"repo put -r r new/key", "repo lock -r r NEW cat"},
	},
	"wal-push": {
		blocks: []string{"wal-push -r r --name 000000010000000000000002 -", "wal-push -r r2 --name 00000002.history -"},
	},
	"wal-get":      {output: "wal-get -r r 000000010000000000000001 -", early: "141"},
	"expire":       {output: "expire -r r --dry-run"},
	"manifest":     {output: "manifest show r/base/b/manifest", blocks: []string{"manifest create", "manifest show -", "manifest diff r/base/b/manifest -", "manifest convert --to mtree", "manifest seal r/base/b/manifest"}},
	"base-restore": {blocks: []string{"base-restore -D NEW"}},
}
