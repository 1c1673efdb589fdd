// Manifest makes, shows, lists and verifies the manifests of base backups.
package main

import "pgpipes/lib/cli"

var options struct{ cli.Repositories }

func main() {
	cli.Main(cli.Program{
		Name:    "manifest",
		Summary: "Create, seal, show and verify manifests; list the backups of a repository.",
		Description: `A manifest is text: a header of key and value, a line for every directory and
file, and as last line the SHA-256 of all before it. Its presence in the
repository, as base/LABEL/manifest, is what makes a backup exist.

  manifest list -r /backup/pg/main
  manifest verify -r /backup/pg/main
  pg_basebackup -Ft -X none -D - | manifest create -o m --pass | compress > base.tar.zst`,
		Options: &options,
		Commands: []cli.Command{
			{Name: "create", Summary: "Make a manifest from the tar of a base backup on standard input, compressed or not.",
				Description: `With --leftover: reads the parts that an interrupted backup has left in a
repository, and makes a manifest of the files in them, for base-copy --since with
the same label. Parts that are not whole are passed over with a note.

  manifest create --leftover -r /backup/pg/main 20261122T101500Z > left
  base-copy --label 20261122T101500Z --since left --filter …`,
				Options: &createOptions, Action: cli.Action{Operands: "[LABEL]", Max: 1, Run: runCreate}},
			{Name: "seal", Summary: "Add the receipts of the stored parts, from standard input, to MANIFEST; print the result.",
				Action: cli.Action{Operands: "MANIFEST", Min: 1, Max: 1, Run: runSeal}},
			{Name: "verify", Summary: "Verify a directory, a tar on standard input, or backups in a repository with their WAL.",
				Description: `With -D DIR or standard input: against the manifest that -m names. With -r: the
backups named, or all, each with the parts of others that it uses and the WAL
from its start to its stop, unless it holds that itself; with all also that
wal-push --queue-max has dropped nothing that is still missing.
Prints a line for each difference; status 1 if there is one.`,
				Options: &verifyOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runVerify}},
			{Name: "show", Summary: "Print a manifest, with -r that of the backup LABEL; status 0 says that it is whole.",
				Options: &showOptions, Action: cli.Action{Operands: "[FILE|LABEL]", Max: 1, Run: runShow}},
			{Name: "list", Summary: "List the backups of a repository, or those named.",
				Description: `Columns: label, type, start, stop, timeline, start and stop LSN, bytes, stored
bytes, state of the WAL between start and stop (ok, included if the backup holds
it itself, or the first file that is missing, or that wal-push --queue-max has
dropped). A backup without a manifest has the type incomplete; one whose parts,
or those of others that it uses, are not all there, damaged. With --to only those
that can be recovered to the target, the best one first; status 1 if there is
none.`,
				Options: &listOptions, Action: cli.Action{Operands: "[LABEL]…", Max: cli.Many, Run: runList}},
		},
	})
}
