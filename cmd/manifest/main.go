// Manifest makes, shows, lists and verifies the manifests of base backups.
package main

import "pgpipes/lib/cli"

var options struct{ cli.Repositories }

func main() {
	cli.Main(cli.Program{
		Name:    "manifest",
		Summary: "Create, seal, show, compare, convert and verify manifests; list the backups of a repository, and watch it.",
		Description: `A manifest is text: a header of key and value, a line for every directory and
file, and as last line the SHA-256 of all before it. Its presence in the
repository, as base/LABEL/manifest, is what makes a backup exist.

  manifest list -r /backup/pg/main
  manifest verify -r /backup/pg/main
  pg_basebackup -Ft -X none -D - | manifest create -o m --pass | compress > base.tar.zst`,
		Options: &options,
		Commands: []cli.Command{
			createCommand, sealCommand, verifyCommand, showCommand, listCommand, diffCommand, convertCommand,
			acceptHoleCommand, keepCommand, unkeepCommand, usingCommand, statusCommand, reportCommand,
		},
	})
}
